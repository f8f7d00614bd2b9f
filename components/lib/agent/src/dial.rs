use std::sync::Arc;
use std::time::Duration;

use api::internal::Hello;
use api::internal::agent_control_server::AgentControlServer;
use engine::distributed::{AgentWorker, PLAN_VERSION};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ids::AgentId;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::compute::OnCompute;
use crate::control::Control;
use crate::hello::{read_reply, write_hello};
use crate::hub::with_causes;
use crate::io::{BoxIo, Connect, TlsOverTcp};
use crate::{Backoff, Error, KeepAlive};

/// From dialling to taken.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// Calls at a time on one connection: two for each task that a Kelvin may have here, and those that end queries.
const CALLS_MAX: u32 = 1024;
/// What runs when the agent stops has this long to end.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// One Kelvin, and how to stay connected to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialArgs {
    /// Host and port. Looked up again with each attempt.
    pub address: String,
    /// The name that Kelvin's certificate must carry.
    pub server_name: String,
    /// When a silent Kelvin is given up.
    pub keep_alive: KeepAlive,
    /// Between attempts.
    pub backoff: Backoff,
}

/// How the connection to one Kelvin is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DialState {
    /// Whether queries can come.
    pub connected: bool,
    /// Attempts since the last one that succeeded.
    pub failed: u32,
    /// Why the last connection ended, or did not begin.
    pub reason: Option<String>,
}

/// Offers an agent's tables to the Kelvins that it dials.
#[derive(Debug, Clone)]
pub struct Dialer {
    agent: AgentId,
    worker: AgentWorker,
    compute: Handle,
    connect: Arc<dyn Connect>,
    /// Of the pauses.
    seed: u64,
}

impl Dialer {
    /// `compute`: where rows are made; another runtime than the one that dials. All Kelvins are served the same worker.
    pub fn new(agent: AgentId, worker: AgentWorker, compute: Handle, tls: Arc<ClientConfig>) -> Self {
        Self::over(agent, worker, compute, (Arc::new(TlsOverTcp(tls)), rand::random()))
    }

    /// As [`Self::new`], over connections that are made otherwise, with pauses that come from a seed.
    pub fn over(agent: AgentId, worker: AgentWorker, compute: Handle, (connect, seed): (Arc<dyn Connect>, u64)) -> Self {
        Self { agent, worker, compute, connect, seed }
    }

    /// Dials and serves, and dials again whenever the connection is over, until it is stopped.
    ///
    /// # Errors
    /// The server name cannot be one. Nothing else ends it: what goes wrong is logged, and told through `state`.
    pub async fn run(&self, args: &DialArgs, state: &watch::Sender<DialState>, stop: &CancellationToken) -> Result<(), Error> {
        ServerName::try_from(args.server_name.as_str()).map_err(|_| Error::ServerName { name: args.server_name.clone() })?;
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut failed: u32 = 0;
        loop {
            let attempt = tokio::time::timeout(GREETING_MAX, self.greet(args));
            let greeted = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                greeted = attempt => greeted.unwrap_or_else(|_| Err(Error::Late { peer: args.address.clone() })),
            };
            let over = match greeted {
                Ok(stream) => {
                    failed = 0;
                    tracing::info!(agent = %self.agent, kelvin = args.address, "connected to Kelvin");
                    state.send_replace(DialState { connected: true, ..DialState::default() });
                    self.serve(stream, args, stop).await
                }
                Err(error) => Err(error),
            };
            if stop.is_cancelled() {
                return Ok(());
            }
            failed = failed.saturating_add(1);
            let reason = over.err().map_or_else(|| "Kelvin closed the connection".to_owned(), |error| with_causes(&error));
            tracing::warn!(agent = %self.agent, kelvin = args.address, failed, reason, "no connection to Kelvin");
            state.send_replace(DialState { connected: false, failed, reason: Some(reason) });
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(args.backoff.delay(failed, &mut random)) => {}
            }
        }
    }

    async fn greet(&self, args: &DialArgs) -> Result<BoxIo, Error> {
        let peer = || args.address.clone();
        let mut stream = self.connect.connect(&args.address, &args.server_name).await?;
        let hello = Hello { agent_id: self.agent.to_bytes().to_vec(), plan_version: PLAN_VERSION.to_owned() };
        let broken = |source| Error::Greeting { peer: peer(), source };
        write_hello(&mut stream, &hello).await.map_err(broken)?;
        let reply = read_reply(&mut stream).await.map_err(broken)?;
        if reply.refusal.is_empty() { Ok(stream) } else { Err(Error::Refused { peer: peer(), reason: reply.refusal }) }
    }

    /// Until the connection is over.
    async fn serve(&self, stream: BoxIo, args: &DialArgs, stop: &CancellationToken) -> Result<(), Error> {
        let control = Control { worker: self.worker.clone() };
        let routes = Routes::new(self.worker.worker().into_worker_server()).add_service(AgentControlServer::new(control)).prepare();
        let service = TowerToHyperService::new(OnCompute { inner: routes, handle: self.compute.clone() });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(args.keep_alive.every))
            .keep_alive_timeout(args.keep_alive.answer_max)
            .max_concurrent_streams(CALLS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let over = tokio::select! {
            over = &mut connection => over,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(STOP_GRACE, connection).await.unwrap_or(Ok(()))
            }
        };
        over.map_err(|source| Error::Connection { peer: args.address.clone(), source: source.into() })
    }
}
