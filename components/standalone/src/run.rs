use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use agent::ProcessTables;
use auth::ApiKeys;
use collectors::{State, Status};
use engine::{AgentFacts, Engine, EngineArgs};
use funcs::{Environment, ProcessNames};
use ids::{Asid, UnixNs, Upid};
use pem::{Pem, Processes};
use query_broker::{Access, Broker, BrokerArgs, ClusterIdentity, ClusterState, LocalEngine};
use rpc::{CertificateAuthority, Security};
use service::Shell;
use tokio_util::sync::CancellationToken;

use crate::args::{Args, Command, RunArgs};
use crate::error::Error;
use crate::facts::{self, Machine};
use crate::identity;
use crate::ready::ReadyFile;

/// The only agent there is.
const ASID: Asid = Asid(1);

/// Within the state folder.
const TLS_FOLDER: &str = "tls";

/// Does what the arguments say.
///
/// # Errors
/// See [`Error`].
pub async fn run(args: Args, shell: Shell) -> Result<(), Error> {
    match args.command {
        Command::Run(args) => serve(args, shell).await,
    }
}

async fn serve(args: RunArgs, shell: Shell) -> Result<(), Error> {
    let identity = identity::open(&args.state_dir)?;
    let access = match &args.direct_keys_file {
        Some(path) => Access::keys(ApiKeys::open(path)?),
        None => Access::anyone(),
    };
    // First of all the address: whether it is free is known at once, and costs nothing.
    let security = security(&args)?;
    let listener = rpc::bind(args.listen, &security).await?;
    let address = listener.address();

    let pem = pem::start(&args.pem, ASID, &shell.stop, &shell.tasks)?;
    let functions = Arc::new(funcs::registry(&environment(&pem, &identity)));
    let facts =
        AgentFacts { asid: ASID, tables: vec![Arc::new(ProcessTables { asid: ASID, collects_data: true })], ..AgentFacts::default() };
    let engine = Arc::new(Engine::of_agent(Arc::clone(pem.store()), functions, facts, engine_args(&args)));
    let machine = Machine { asid: ASID, identity: identity.clone(), store: Arc::clone(pem.store()), started: now() };
    let agent = facts::agent(&identity.name, pem.statuses());
    let engine = LocalEngine::new(engine, now).facts(Arc::new(machine)).agent(agent);
    let broker_args = BrokerArgs { access, ..BrokerArgs::default() };
    let broker = Broker::with(broker_args, (Arc::new(engine), identity), shell.stop.clone(), shell.tasks.clone());
    broker.set_state(state(pem.statuses()));

    let _ready = args.ready_file.as_deref().map(|path| ReadyFile::write(path, address)).transpose()?;
    tracing::info!(%address, tls = args.tls, "scripts are answered");
    shell.tasks.spawn(give_memory_back(shell.stop.clone()));
    Ok(query_broker::serve(broker, listener, security).await?)
}

/// At once, for what the start needed, and again and again.
async fn give_memory_back(stop: CancellationToken) {
    let mut period = tokio::time::interval(service::GIVE_BACK_PERIOD);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
        }
        if let Err(error) = tokio::task::spawn_blocking(service::give_back).await {
            tracing::error!(%error, "giving memory back ended");
        }
    }
}

fn security(args: &RunArgs) -> Result<Security, Error> {
    if !args.tls {
        return Ok(Security::Plaintext);
    }
    let authority = CertificateAuthority::open(&args.state_dir.join(TLS_FOLDER), &args.tls_names, SystemTime::now())?;
    tracing::info!(ca = %authority.ca_path().display(), "clients trust this authority");
    Ok(Security::Tls(Box::new(authority)))
}

/// What functions know of this machine.
fn environment(pem: &Pem, identity: &ClusterIdentity) -> Environment {
    Environment {
        asid: ASID,
        hostname: identity.name.clone(),
        cpus: std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        vizier_id: identity.id.to_string(),
        vizier_name: identity.name.clone(),
        vizier_namespace: String::new(),
        processes: Arc::new(Names(pem.processes().clone())),
        ..Environment::default()
    }
}

/// The node agent's processes as functions ask for them.
#[derive(Debug)]
struct Names(Processes);

impl ProcessNames for Names {
    fn cmdline(&self, upid: Upid) -> Option<String> {
        self.0.cmdline(upid).map(|line| line.as_ref().to_owned())
    }
}

fn now() -> UnixNs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNs(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

fn engine_args(args: &RunArgs) -> EngineArgs {
    EngineArgs {
        query_memory_bytes_max: args.query_memory_bytes_max,
        memory_bytes_max: args.query_memory_bytes_max,
        ..EngineArgs::default()
    }
}

/// How this machine does as a cluster, from what its collectors came to.
fn state(statuses: &[Status]) -> ClusterState {
    let failures: Vec<_> = statuses.iter().filter(|status| matches!(status.state, State::Failed { .. })).map(ToString::to_string).collect();
    match failures.len() {
        0 => ClusterState::Healthy,
        n if n == statuses.len() => ClusterState::Unhealthy(failures.join("; ")),
        _ => ClusterState::Degraded(failures.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collectors::Collector;

    #[test]
    fn one_failed_collector_degrades_and_all_are_unhealthy() {
        let status = |collector, failed| Status {
            collector,
            state: if failed {
                State::Failed { reason: "no hook".to_owned(), remedy: "upgrade".to_owned() }
            } else {
                State::Running { way: None }
            },
        };
        let of = |a, b| state(&[status(Collector::SocketData, a), status(Collector::Process, b)]);
        assert_eq!(of(false, false), ClusterState::Healthy);
        assert_eq!(of(true, false), ClusterState::Degraded("socket data: failed: no hook; upgrade".to_owned()));
        assert!(matches!(of(true, true), ClusterState::Unhealthy(_)));
    }
}
