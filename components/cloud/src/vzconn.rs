//! What Viziers call: registration, and the bridge that carries messages both ways. Reference: vizier.md, sections 3.1 and 3.6.

mod register;
mod session;

use std::sync::Arc;

use api::services::vz_conn_service_server::VzConnService;
use api::services::{C2vBridgeMessage, RegisterVizierDeploymentRequest, RegisterVizierDeploymentResponse, V2cBridgeMessage};
use service::Shell;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::bridges::{Bridges, OUTBOX_MESSAGES_MAX};
use crate::caller::Callers;
use crate::metrics::Metrics;
use crate::store::Store;

pub(crate) use session::{change_id, message};

/// `px.services.VZConnService`.
#[derive(Debug, Clone)]
pub(crate) struct VzConn {
    store: Store,
    callers: Callers,
    bridges: Bridges,
    metrics: Metrics,
    shell: Shell,
    /// Two registrations of one cluster at the same time make one cluster.
    registering: Arc<Mutex<()>>,
}

impl VzConn {
    pub(crate) fn new(store: Store, callers: Callers, bridges: Bridges, metrics: Metrics, shell: Shell) -> Self {
        Self { store, callers, bridges, metrics, shell, registering: Arc::default() }
    }
}

#[tonic::async_trait]
impl VzConnService for VzConn {
    type NATSBridgeStream = ReceiverStream<Result<C2vBridgeMessage, Status>>;

    async fn register_vizier_deployment(
        &self,
        request: Request<RegisterVizierDeploymentRequest>,
    ) -> Result<Response<RegisterVizierDeploymentResponse>, Status> {
        let key = self.callers.deploy_key(request.metadata()).await?;
        self.register(key.org, request.into_inner()).await.map(Response::new)
    }

    async fn nats_bridge(&self, request: Request<Streaming<V2cBridgeMessage>>) -> Result<Response<Self::NATSBridgeStream>, Status> {
        let key = self.callers.deploy_key(request.metadata()).await?;
        let (outbox, stream) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        let own = self.clone();
        self.shell.tasks.spawn(async move { own.session(key.org, request.into_inner(), outbox).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
