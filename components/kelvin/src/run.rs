use std::sync::Arc;
use std::time::Duration;

use agent::{Compute, DIAL_PROTOCOL, Hub, HubArgs};
use api::internal::kelvin_server::KelvinServer;
use engine::distributed::{Coordinator, PLAN_BYTES_MAX};
use rpc::{MutualTls, PeerIdentity, Security};
use service::Shell;
use tokio::net::TcpListener;

use crate::{Args, Error, KelvinService, KelvinServiceArgs};

/// Runs Kelvin until it is told to stop.
///
/// # Errors
/// A certificate, a listener or the spill folder cannot be used.
pub async fn run(args: Args, shell: Shell) -> Result<(), Error> {
    let identity = PeerIdentity::read(&args.tls_ca_cert, &args.tls_cert, &args.tls_key)?;
    let tls = MutualTls::new(&identity, DIAL_PROTOCOL)?;
    let compute = Compute::new(args.compute_threads)?;
    let hub = Hub::new(HubArgs::default());
    let functions = Arc::new(funcs::registry(&funcs::Environment::default()));
    let coordinator = Arc::new(Coordinator::new(functions, Arc::new(hub.clone()), args.coordinator())?);

    let listening = |source| Error::Listen { address: args.agents_listen, source };
    let agents = TcpListener::bind(args.agents_listen).await.map_err(listening)?;
    let agents_address = agents.local_addr().map_err(listening)?;
    let security = Security::Mutual(Box::new(identity));
    let listener = rpc::bind(args.listen, &security).await?;
    let address = listener.address();
    if let Some(path) = &args.ready_file {
        tokio::fs::write(path, format!("{address}\n{agents_address}\n"))
            .await
            .map_err(|source| Error::ReadyFile { path: path.clone(), source })?;
    }
    tracing::info!(%address, agents = %agents_address, "serving");

    let hub_stop = shell.stop.clone();
    shell.tasks.spawn(async move { hub.serve(agents, tls.server(), hub_stop).await });
    let service_args = KelvinServiceArgs { query_time_max: Duration::from_millis(args.query_time_max_ms) };
    let service = KelvinService::new(coordinator, compute.handle().clone(), service_args);
    // The plan and what is around it.
    let service = KelvinServer::new(service).max_decoding_message_size(2 * PLAN_BYTES_MAX);
    let served =
        rpc::server(&security)?.add_service(service).serve_with_incoming_shutdown(listener.into_incoming(), shell.stop.cancelled());
    served.await.map_err(Error::Serve)
}
