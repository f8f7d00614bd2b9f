//! How many nodes have an agent, as the metadata service knows.

use std::sync::Arc;
use std::time::Duration;

use api::vizier::services::metadata::metadata_service_client::MetadataServiceClient;
use api::vizier::services::metadata::{AgentInfoRequest, AgentInfoResponse};
use api::vizier::services::shared::agent::AgentState;
use auth::Bearer;
use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::condition::{Agents, Condition};

/// How often metadata is asked. Reference: vizier.md, section 3.2.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// How long it may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Asks until `stop`. While metadata does not answer, what it said last stands.
pub(crate) async fn watch(channel: Channel, bearer: Bearer, condition: Arc<Mutex<Condition>>, stop: CancellationToken) {
    let mut metadata = MetadataServiceClient::with_interceptor(channel, bearer).max_decoding_message_size(api::MESSAGE_BYTES_MAX);
    let mut period = interval(ASK_EVERY);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
        }
        match timeout(ANSWER_MAX, metadata.get_agent_info(AgentInfoRequest::default())).await {
            Ok(Ok(answer)) => condition.lock().agents = count(answer.into_inner()),
            Ok(Err(status)) => tracing::debug!(%status, "metadata does not say which agents there are"),
            Err(_) => tracing::debug!("metadata does not answer"),
        }
    }
}

/// There is one agent on each node, and one that comes back is the same.
fn count(answer: AgentInfoResponse) -> Agents {
    let mut agents = Agents::default();
    for metadata in answer.info {
        let info = metadata.agent.and_then(|agent| agent.info).unwrap_or_default();
        if info.capabilities.is_some_and(|capabilities| capabilities.collects_data) {
            let heard = metadata.status.is_some_and(|status| status.state == AgentState::Healthy as i32);
            agents.nodes += 1;
            agents.instrumented_nodes += i32::from(heard);
        }
    }
    agents
}
