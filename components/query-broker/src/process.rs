use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use auth::{ApiKeys, SigningKey};
use bus::{Bus, TlsFiles};
use ids::{ClusterId, UnixNs};
use rpc::Security;
use service::{Check, Health, Metrics, Shell};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::access::Access;
use crate::args::Args;
use crate::broker::{Broker, BrokerArgs, ClusterIdentity};
use crate::delivery::ReattachArgs;
use crate::distributed::{DistributedArgs, DistributedEngine};
use crate::metadata::{Metadata, SERVICE};
use crate::serve::serve;
use crate::status::status;
use crate::tracker::{Tracker, TrackerHandle};
use crate::{Error, cron, metrics};

/// Runs the query broker until it is told to stop.
///
/// # Errors
/// A certificate, a key, a listener or a setting cannot be used.
pub async fn run(args: Args, shell: Shell) -> Result<(), Error> {
    let key = args.signing_key.key()?;
    let keys = args.direct_keys_file.as_deref().map(ApiKeys::open).transpose()?;
    let security = if args.plaintext { Security::Plaintext } else { Security::Shown(Box::new(args.tls.identity()?)) };
    let listener = rpc::bind(args.listen, &security).await?;
    let address = listener.address();
    let (health, numbers) = (Health::new(), Metrics::new());
    let http = args.http.start(&health, &numbers, &shell).await?;

    let bus = connect(&args).await?;
    let metadata = Metadata::new(&args.metadata_address, &args.metadata_tls_server_name, &args.tls.identity()?, key.clone())?;
    let (tracker, known) = Tracker::new(metadata.clone());
    let access = Access::checked(key.clone(), keys);
    let broker = broker(&args, (&known, &metadata), (&access, key), &shell)?;
    metrics::register(&numbers, &broker, &known);
    let ready = Readiness { agents: health.ready("metadata"), bus: health.ready("bus"), health };
    shell.tasks.spawn(tracker.run(shell.stop.clone()));
    broker.connect(bus.clone());
    if !args.no_cron_scripts {
        shell.tasks.spawn(cron::serve(broker.clone(), metadata, bus.clone()));
    }
    shell.tasks.spawn(tell(broker.clone(), known, bus, ready, shell.stop.clone()));

    if let Some(path) = &args.ready_file {
        let lines: Vec<_> = [Some(address), http].into_iter().flatten().map(|address| address.to_string()).collect();
        write_ready(path, &(lines.join("\n") + "\n")).await?;
    }
    tracing::info!(%address, plaintext = args.plaintext, "scripts are answered");
    serve(broker, listener, security).await
}

/// Whoever reads the file sees all of it: it is written beside and renamed.
async fn write_ready(path: &Path, lines: &str) -> Result<(), Error> {
    let failed = |source| Error::ReadyFile { path: path.to_owned(), source };
    let beside = path.with_extension("tmp");
    tokio::fs::write(&beside, lines).await.map_err(failed)?;
    tokio::fs::rename(&beside, path).await.map_err(failed)
}

async fn connect(args: &Args) -> Result<Bus, Error> {
    let tls = TlsFiles { ca: args.tls.tls_ca_cert.clone(), certificate: args.tls.tls_cert.clone(), key: args.tls.tls_key.clone() };
    Ok(args.nats.settings(SERVICE, tls)?.connect().await?)
}

fn broker(
    args: &Args,
    (known, metadata): (&TrackerHandle, &Metadata),
    (access, key): (&Access, SigningKey),
    shell: &Shell,
) -> Result<Broker, Error> {
    let identity = ClusterIdentity {
        id: args.cluster_id.unwrap_or_else(|| ClusterId::from_bytes(Uuid::new_v4().into_bytes())),
        name: args.cluster_name.clone().unwrap_or_else(rpc::host_name),
        vizier_version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster_version: String::new(),
    };
    let environment =
        funcs::Environment { vizier_id: identity.id.to_string(), vizier_name: identity.name.clone(), ..funcs::Environment::default() };
    let engine = DistributedEngine::new(
        (known.clone(), metadata.clone()),
        Arc::new(funcs::registry(&environment)),
        (args.tls.identity()?, key),
        DistributedArgs { query_time_max: args.query_time_max(), now: unix_now },
    );
    let reattach = ReattachArgs { wait_max: args.reattach_max(), waiting_max: args.reattach_queries_max };
    let broker_args = BrokerArgs { access: access.clone(), reattach };
    Ok(Broker::with(broker_args, (Arc::new(engine), identity), shell.stop.clone(), shell.tasks.clone()))
}

struct Readiness {
    agents: Check,
    bus: Check,
    health: Health,
}

/// Passes on how the cluster does, whenever that changes.
async fn tell(broker: Broker, mut known: TrackerHandle, bus: Bus, ready: Readiness, stop: CancellationToken) {
    let mut link = bus.link();
    loop {
        let without_metadata = match (known.view(), known.stale()) {
            (Some(view), stale) => {
                let (state, nodes) = status(&view);
                broker.set_state(state);
                broker.set_nodes(nodes);
                ready.agents.ok();
                stale.is_some()
            }
            (None, why) => {
                ready.agents.failing(why.unwrap_or_default());
                true
            }
        };
        let without_bus = match &*link.borrow_and_update() {
            bus::Link::Connected => {
                ready.bus.ok();
                false
            }
            bus::Link::Disconnected { reason, .. } => {
                ready.bus.failing(reason);
                true
            }
        };
        ready.health.set_reason(match (without_metadata, without_bus) {
            (true, _) => Some("MetadataUnavailable"),
            (false, true) => Some(bus::UNAVAILABLE),
            (false, false) => None,
        });
        let news = async {
            tokio::select! {
                more = known.changed() => more,
                changed = link.changed() => changed.is_ok(),
            }
        };
        if stop.run_until_cancelled(news).await != Some(true) {
            return;
        }
    }
}

/// What relative times of scripts count from.
pub(crate) fn unix_now() -> UnixNs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNs(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
