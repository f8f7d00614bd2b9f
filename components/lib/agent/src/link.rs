use std::error::Error as _;

use api::internal::EndQueryRequest;
use api::internal::agent_control_client::AgentControlClient;
use async_trait::async_trait;
use datafusion::common::DataFusionError;
use datafusion_distributed::{WorkerChannel, grpc};
use engine::distributed::{AgentLink, AgentReads};
use ids::QueryId;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use crate::hub::with_causes;

/// One connection that an agent has dialled.
#[derive(Clone)]
pub(crate) struct PeerLink {
    pub(crate) channel: Channel,
    /// Cancelled when the connection is over.
    pub(crate) closed: CancellationToken,
}

#[async_trait]
impl AgentLink for PeerLink {
    fn worker_channel(&self) -> Box<dyn WorkerChannel> {
        grpc::create_worker_client(grpc::BoxCloneSyncChannel::new(self.channel.clone()))
    }

    fn transport_failure(&self, error: &DataFusionError) -> Option<String> {
        let DataFusionError::External(cause) = error.find_root() else { return None };
        let status = cause.downcast_ref::<Status>()?;
        // A status that the agent has sent has no cause on this side.
        status.source().map(|cause| format!("its connection broke: {}", with_causes(cause)))
    }

    async fn end_query(&self, query: QueryId) -> Option<AgentReads> {
        let request = EndQueryRequest { query_id: query.to_bytes().to_vec() };
        let answer = AgentControlClient::new(self.channel.clone()).end_query(request).await.ok()?.into_inner();
        answer.known.then_some(AgentReads { batches: answer.batches_read, rows: answer.rows_read, bytes: answer.bytes_read })
    }
}
