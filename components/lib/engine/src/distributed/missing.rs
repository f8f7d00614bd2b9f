use std::collections::BTreeMap;

use ids::AgentId;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// An agent whose rows are not, or not all, in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingAgent {
    /// Which.
    pub agent: AgentId,
    /// For people; the first reason that was seen.
    pub reason: String,
}

/// A reason is cut to this many bytes: it is shown to people, once for each agent.
const REASON_BYTES_MAX: usize = 300;

/// The agents that one query has lost.
#[derive(Debug, Default)]
pub(crate) struct MissingAgents {
    agents: Mutex<BTreeMap<AgentId, String>>,
}

impl MissingAgents {
    /// Once for each agent, however many of its streams break.
    pub(crate) fn note(&self, agent: AgentId, mut reason: String, lost: &CancellationToken) {
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        lost.cancel();
        self.agents.lock().entry(agent).or_insert_with(|| {
            tracing::warn!(%agent, reason, "an agent is missing in an answer");
            reason
        });
    }

    pub(crate) fn list(&self) -> Vec<MissingAgent> {
        self.agents.lock().iter().map(|(agent, reason)| MissingAgent { agent: *agent, reason: reason.clone() }).collect()
    }
}
