use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agent::life::Profile;
use agent::names::{ClusterNames, NamesHandle, run_names};
use agent::{Compute, DIAL_PROTOCOL, Hub, HubArgs, MemberHandle, Membership, MembershipArgs, Request, Requests, WallClock};
use api::internal::kelvin_server::KelvinServer;
use bus::{Bus, Selector, TlsFiles};
use engine::Functions;
use engine::distributed::{Coordinator, PLAN_BYTES_MAX};
use funcs::Environment;
use otel::Exporter;
use rpc::{MutualTls, Security};
use service::{Health, Metrics, Shell};
use tokio::net::TcpListener;

use crate::own::Own;
use crate::{Args, Error, KelvinService, KelvinServiceArgs, metrics};

/// Runs Kelvin until it is told to stop: serves the broker and the agents, and registers, so that both know where.
///
/// # Errors
/// A certificate, a listener, the bus' settings or the spill folder cannot be used, or the metadata service says that this process must not
/// go on.
pub async fn run(args: Args, shell: Shell) -> Result<(), Error> {
    let identity = args.tls.identity()?;
    let tls = MutualTls::new(&identity, DIAL_PROTOCOL)?;
    let compute = Compute::new(args.compute_threads)?;
    let hub = Hub::new(HubArgs::default());

    let listening = |source| Error::Listen { address: args.agents_listen, source };
    let agents = TcpListener::bind(args.agents_listen).await.map_err(listening)?;
    let agents_address = agents.local_addr().map_err(listening)?;
    let security = Security::Mutual(Box::new(identity));
    let listener = rpc::bind(args.listen, &security).await?;
    let address = listener.address();

    let (health, metrics) = (Health::new(), Metrics::new());
    metrics::register(&metrics, hub.clone());
    let exporter = Exporter::default();
    metrics::register_exports(&metrics, exporter.clone());
    let joined = join(&args, [address, agents_address], &health, &metrics, &shell).await?;
    let kubernetes = joined.as_ref().map(|joined| ClusterNames::new(joined.names.clone(), joined.member.cluster(), None));
    let environment = environment(&args, kubernetes);
    let functions = Functions::each(move || Arc::new(funcs::registry(&environment)));
    let own = joined.as_ref().map(|joined| Own {
        member: joined.member.clone(),
        names: joined.names.clone(),
        pod_name: args.node.pod_name.clone(),
        functions: functions.clone(),
        tls: tls.clone(),
        compute: compute.handle().clone(),
    });
    let coordinator = Arc::new(Coordinator::new(functions, Arc::new(hub.clone()), args.coordinator())?);
    let http = args.http.start(&health, &metrics, &shell).await?;
    write_ready_file(&args, [Some(address), Some(agents_address), http]).await?;
    tracing::info!(%address, agents = %agents_address, "serving");

    if let Some(own) = own {
        let stop = shell.stop.clone();
        shell.tasks.spawn(async move { own.serve(&stop).await });
    }
    let hub_stop = shell.stop.clone();
    shell.tasks.spawn(async move { hub.serve(agents, tls.server(), hub_stop).await });
    let service_args = KelvinServiceArgs { query_time_max: Duration::from_millis(args.query_time_max_ms) };
    let service = KelvinService::new(coordinator, compute.handle().clone(), service_args).exporting(exporter);
    // The plan and what is around it.
    let service = KelvinServer::new(service).max_decoding_message_size(2 * PLAN_BYTES_MAX);
    let served =
        rpc::server(&security)?.add_service(service).serve_with_incoming_shutdown(listener.into_incoming(), shell.stop.cancelled());
    let served = async { served.await.map_err(Error::Serve) };
    match joined {
        None => served.await,
        Some(Joined { bus, membership, names, .. }) => {
            let wall: WallClock = Arc::new(agent::wall_clock);
            let registered = async { membership.run(&shell.stop).await.map_err(Error::from) };
            let followed = async { run_names(&bus, Selector::All, &names, &wall, &shell.stop).await.map_err(Error::from) };
            tokio::try_join!(served, registered, followed).map(|_| ())
        }
    }
}

/// What belongs to the Vizier of a bus.
struct Joined {
    bus: Bus,
    membership: Membership,
    member: MemberHandle,
    names: NamesHandle,
}

/// What functions know of where they run.
fn environment(args: &Args, kubernetes: Option<ClusterNames>) -> Environment {
    let mut environment = Environment { hostname: args.node.hostname(), cpus: agent::host::cpus(), ..Environment::default() };
    if let Some(kubernetes) = kubernetes {
        environment.kubernetes = Arc::new(kubernetes);
    }
    environment
}

/// Begins to belong to the Vizier of a bus, if there is one.
async fn join(
    args: &Args,
    [address, agents_address]: [SocketAddr; 2],
    health: &Health,
    metrics: &Metrics,
    shell: &Shell,
) -> Result<Option<Joined>, Error> {
    let Some(nats) = &args.nats else {
        tracing::warn!("no bus: only those who know its addresses will find this Kelvin");
        return Ok(None);
    };
    let files = TlsFiles { ca: args.tls.tls_ca_cert.clone(), certificate: args.tls.tls_cert.clone(), key: args.tls.tls_key.clone() };
    let profile = profile(args, address, agents_address);
    let bus = nats.settings(&format!("kelvin/{}", profile.rpc_address), files)?.connect().await?;
    let (membership, member, requests) = Membership::new(bus.clone(), MembershipArgs::new(profile));
    let names = NamesHandle::default();
    agent::register_metrics(metrics, bus.clone(), (member.clone(), names.clone()), None);
    let (pushed_bus, pushed, pod_name, stop) = (bus.clone(), metrics.clone(), args.node.pod_name.clone(), shell.stop.clone());
    shell.tasks.spawn(async move { agent::push_metrics(&pushed_bus, &pushed, &pod_name, &stop).await });
    shell.tasks.spawn(watch(bus.clone(), member.clone(), health.clone(), shell.clone()));
    shell.tasks.spawn(refuse_requests(requests));
    Ok(Some(Joined { bus, membership, member, names }))
}

/// What is said of it where it registers.
fn profile(args: &Args, address: SocketAddr, agents_address: SocketAddr) -> Profile {
    let reached = |listener: SocketAddr| {
        let own = if listener.ip().is_unspecified() { args.node.host_ip() } else { listener.ip() };
        SocketAddr::new(args.pod_ip.unwrap_or(own), listener.port())
    };
    Profile {
        collects_data: false,
        ip_address: reached(agents_address).ip().to_string(),
        rpc_address: reached(agents_address).to_string(),
        query_address: reached(address).to_string(),
        tls_server_name: args.tls_server_name.clone(),
        ..args.node.profile()
    }
}

async fn watch(bus: Bus, member: MemberHandle, health: Health, shell: Shell) {
    agent::watch_readiness(&bus, &member, None, &health, &shell.stop).await;
}

/// Nothing can be deployed or set on a Kelvin: whoever asks is told so in its log.
async fn refuse_requests(mut requests: Requests) {
    while let Some(request) = requests.next().await {
        let what = match request {
            Request::Tracepoint(_) => "a tracepoint",
            Request::Config(_) => "a setting",
        };
        tracing::warn!(what, "asked of a Kelvin, which has none");
    }
}

async fn write_ready_file(args: &Args, addresses: [Option<SocketAddr>; 3]) -> Result<(), Error> {
    let Some(path) = &args.ready_file else { return Ok(()) };
    let lines: Vec<String> = addresses.into_iter().flatten().map(|address| address.to_string()).collect();
    let text = lines.join("\n") + "\n";
    tokio::fs::write(path, text).await.map_err(|source| Error::ReadyFile { path: path.clone(), source })
}
