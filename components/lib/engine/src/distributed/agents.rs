//! Agents as the worker protocol names them: by URL.

use std::sync::Arc;

use datafusion::common::{Result, plan_datafusion_err};
use ids::AgentId;
use url::Url;

/// The agents of one query, in the order of their tasks. Never changes once the query is planned.
pub(crate) type Agents = Arc<[AgentId]>;

/// Nothing listens there: connections are those that the agents have dialled.
pub(crate) fn url_of(agent: AgentId) -> Result<Url> {
    Url::parse(&format!("http://{agent}")).map_err(|error| plan_datafusion_err!("agent {agent} has no URL: {error}"))
}

pub(crate) fn agent_of(url: &Url) -> Option<AgentId> {
    url.host_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_found_by_its_url() {
        for bits in [0, 1, 0x1234_5678_9abc_def0, u64::MAX] {
            let agent = AgentId::from_halves(bits, !bits);
            assert_eq!(agent_of(&url_of(agent).unwrap()), Some(agent));
        }
    }
}
