//! What the end of a query says about its completeness, in our own terms.

use std::collections::{BTreeMap, BTreeSet};

use api::internal::{QueryEnd, TableQuality as WireQuality};
use engine::TableQuality;
use ids::{AgentId, UnixNs};

use crate::quality::{Node, Quality, What};
use crate::tracker::ClusterView;

/// Everything that is known to be missing. `refused`: agents that were not asked, with the reason.
pub(crate) fn quality(end: &QueryEnd, view: &ClusterView, asked: &[AgentId], refused: &BTreeMap<AgentId, String>) -> Quality {
    let node = |agent: AgentId| Node { agent, hostname: view.hostname(agent).to_owned() };
    let mut quality = Quality { agents: end.agents_counted, troubles: Vec::new() };
    let mut missing = refused.clone();
    missing.extend(end.missing.iter().filter_map(|agent| Some((id(&agent.agent_id)?, agent.reason.clone()))));
    for (agent, reason) in missing {
        quality.add(&node(agent), What::AgentMissing, ("", 0, reason));
    }
    for told in &end.qualities {
        let Some(agent) = id(&told.agent_id) else { continue };
        quality.add_tables(&node(agent), &told.tables.iter().map(table).collect::<Vec<_>>());
    }
    let asked: BTreeSet<_> = asked.iter().copied().collect();
    for (agent, known) in view.collecting().filter(|(agent, _)| asked.contains(agent)) {
        quality.add_collectors(&node(agent), &known.collectors);
    }
    quality.in_order()
}

fn table(told: &WireQuality) -> TableQuality {
    let time = |ns: i64| (ns != 0).then_some(UnixNs(ns));
    TableQuality {
        table: told.table.clone(),
        asked_from: time(told.asked_from_ns),
        oldest: time(told.oldest_ns),
        rows_expired: told.rows_expired,
        expired_in_range: told.expired_in_range,
        rows_truncated: told.rows_truncated,
        events_lost: told.events_lost,
    }
}

fn id(bytes: &[u8]) -> Option<AgentId> {
    bytes.try_into().ok().map(AgentId::from_bytes)
}
