//! What the query broker, the cloud connector and Kelvins call.

mod agents;
mod scripts;
mod settings;
mod tracepoints;

use api::statuspb;
use api::vizier::services::metadata::cron_script_store_service_server::CronScriptStoreServiceServer;
use api::vizier::services::metadata::metadata_config_service_server::MetadataConfigServiceServer;
use api::vizier::services::metadata::metadata_service_server::MetadataServiceServer;
use api::vizier::services::metadata::metadata_tracepoint_service_server::MetadataTracepointServiceServer;
use k8s_state::Snapshot;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::service::{Interceptor, Routes};

use crate::Error;
use crate::io::office::{Handle, Refusal};
use crate::wire::Malformed;

/// Scripts and their programs come with one call: all scripts of a cluster fit.
const MESSAGE_BYTES_MAX: usize = api::MESSAGE_BYTES_MAX;

/// Answers while this process is the leader.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) leader: watch::Receiver<Option<Handle>>,
    pub(crate) kubernetes: watch::Receiver<Option<Snapshot>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Desk {
    /// # Errors
    /// This process is not the leader: another replica answers, or will.
    fn leader(&self) -> Result<Handle, Status> {
        let leader = self.leader.borrow().clone();
        leader.ok_or_else(|| Status::unavailable("this metadata service is not the leader: another one answers, or will soon"))
    }
}

/// All services, behind `guard`.
pub(crate) fn routes<G: Interceptor + Clone + Send + Sync + 'static>(desk: &Desk, guard: &G) -> Routes {
    let agents = MetadataServiceServer::new(agents::Service(desk.clone())).max_encoding_message_size(MESSAGE_BYTES_MAX);
    let tracepoints = MetadataTracepointServiceServer::new(tracepoints::Service(desk.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let settings = MetadataConfigServiceServer::new(settings::Service(desk.clone()));
    let scripts = CronScriptStoreServiceServer::new(scripts::Service(desk.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    Routes::new(InterceptedService::new(agents, guard.clone()))
        .add_service(InterceptedService::new(tracepoints, guard.clone()))
        .add_service(InterceptedService::new(settings, guard.clone()))
        .add_service(InterceptedService::new(scripts, guard.clone()))
}

fn refused(refusal: Refusal) -> Status {
    Status::unavailable(refusal.to_string())
}

fn malformed(reason: Malformed) -> Status {
    Status::invalid_argument(reason.to_string())
}

fn store_failed(error: &Error) -> Status {
    tracing::warn!(error = error as &dyn std::error::Error, "the store cannot be read");
    Status::unavailable("the store cannot be read now: ask again later")
}

fn status(code: statuspb::Code, message: impl Into<String>) -> statuspb::Status {
    statuspb::Status { err_code: code.into(), msg: message.into(), context: None }
}
