use api::internal::agent_control_server::AgentControl;
use api::internal::{
    EndQueryRequest, EndQueryResponse, MayMatterRequest, MayMatterResponse, QueryRunsRequest, QueryRunsResponse, TableQuality,
};
use engine::distributed::AgentWorker;
use ids::QueryId;
use tonic::{Request, Response, Status};

use crate::wire::decode_wanted;

/// What Kelvin may ask of an agent besides rows.
pub(crate) struct Control {
    pub(crate) worker: AgentWorker,
}

#[tonic::async_trait]
impl AgentControl for Control {
    async fn end_query(&self, request: Request<EndQueryRequest>) -> Result<Response<EndQueryResponse>, Status> {
        let query = query_id(&request.get_ref().query_id)?;
        let ended = self.worker.queries().end(query);
        let known = ended.is_some();
        tracing::debug!(%query, known, "a query has ended");
        let reads = ended.unwrap_or_default();
        Ok(Response::new(EndQueryResponse {
            known,
            batches_read: reads.batches,
            rows_read: reads.rows,
            bytes_read: reads.bytes,
            tables: reads.tables.into_iter().map(quality).collect(),
        }))
    }

    async fn may_matter(&self, request: Request<MayMatterRequest>) -> Result<Response<MayMatterResponse>, Status> {
        let may_matter = self.worker.may_matter(&decode_wanted(request.into_inner()));
        Ok(Response::new(MayMatterResponse { may_matter }))
    }

    async fn query_runs(&self, request: Request<QueryRunsRequest>) -> Result<Response<QueryRunsResponse>, Status> {
        let runs = self.worker.queries().runs(query_id(&request.get_ref().query_id)?);
        Ok(Response::new(QueryRunsResponse { runs }))
    }
}

fn query_id(bytes: &[u8]) -> Result<QueryId, Status> {
    bytes.try_into().map(QueryId::from_bytes).map_err(|_| Status::invalid_argument("query_id: not 16 bytes"))
}

fn quality(quality: engine::TableQuality) -> TableQuality {
    let engine::TableQuality { table, asked_from, oldest, rows_expired, expired_in_range, rows_truncated, events_lost } = quality;
    TableQuality {
        table,
        asked_from_ns: asked_from.map_or(0, |time| time.0),
        oldest_ns: oldest.map_or(0, |time| time.0),
        rows_expired,
        expired_in_range,
        rows_truncated,
        events_lost,
    }
}
