use std::error::Error as _;

use api::internal::agent_control_client::AgentControlClient;
use api::internal::{EndQueryRequest, QueryRunsRequest};
use async_trait::async_trait;
use datafusion::common::DataFusionError;
use datafusion_distributed::{WorkerChannel, grpc};
use engine::TableQuality;
use engine::distributed::{AgentLink, AgentReads, Wanted};
use ids::{QueryId, UnixNs};
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
        let (batches, rows, bytes) = (answer.batches_read, answer.rows_read, answer.bytes_read);
        let tables = answer.tables.into_iter().map(quality).collect();
        answer.known.then_some(AgentReads { batches, rows, bytes, tables })
    }

    async fn may_matter(&self, wanted: &Wanted) -> bool {
        let request = crate::wire::encode_wanted(wanted);
        let answer = AgentControlClient::new(self.channel.clone()).may_matter(request).await;
        answer.map_or(true, |answer| answer.into_inner().may_matter)
    }

    async fn runs_query(&self, query: QueryId) -> bool {
        let request = QueryRunsRequest { query_id: query.to_bytes().to_vec() };
        let answer = AgentControlClient::new(self.channel.clone()).query_runs(request).await;
        answer.is_ok_and(|answer| answer.into_inner().runs)
    }
}

fn quality(quality: api::internal::TableQuality) -> TableQuality {
    let time = |ns: i64| (ns != 0).then_some(UnixNs(ns));
    TableQuality {
        asked_from: time(quality.asked_from_ns),
        oldest: time(quality.oldest_ns),
        table: quality.table,
        rows_expired: quality.rows_expired,
        expired_in_range: quality.expired_in_range,
        rows_truncated: quality.rows_truncated,
        events_lost: quality.events_lost,
    }
}
