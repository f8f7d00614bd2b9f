use std::sync::Arc;

use api::internal::agent_control_server::AgentControl;
use api::internal::{EndQueryRequest, EndQueryResponse};
use engine::distributed::AgentQueries;
use ids::QueryId;
use tonic::{Request, Response, Status};

/// What Kelvin may ask of an agent besides rows.
pub(crate) struct Control {
    pub(crate) queries: Arc<AgentQueries>,
}

#[tonic::async_trait]
impl AgentControl for Control {
    async fn end_query(&self, request: Request<EndQueryRequest>) -> Result<Response<EndQueryResponse>, Status> {
        let id: [u8; 16] =
            request.get_ref().query_id.as_slice().try_into().map_err(|_| Status::invalid_argument("query_id: not 16 bytes"))?;
        let query = QueryId::from_bytes(id);
        let ended = self.queries.end(query);
        tracing::debug!(%query, known = ended.is_some(), "a query has ended");
        let reads = ended.unwrap_or_default();
        Ok(Response::new(EndQueryResponse {
            known: ended.is_some(),
            batches_read: reads.batches,
            rows_read: reads.rows,
            bytes_read: reads.bytes,
            tables: Vec::new(),
        }))
    }
}
