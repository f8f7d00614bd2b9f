//! What the end of a query says about its completeness and its making, in our own terms.

use std::collections::{BTreeMap, BTreeSet};

use api::internal::plan_step::At;
use api::internal::{OutputPlan, PlanStep, QueryEnd, TableQuality as WireQuality};
use engine::TableQuality;
use ids::{AgentId, UnixNs};

use crate::plan_graph::{Step, plan_graph};
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
    // What those do not capture that have no such rows anyway makes the answer no less complete.
    let left_out: BTreeSet<_> = end.left_out.iter().filter_map(|agent| id(agent)).collect();
    let asked: BTreeSet<_> = asked.iter().copied().filter(|agent| !left_out.contains(agent)).collect();
    for (agent, known) in view.collecting().filter(|(agent, _)| asked.contains(agent)) {
        quality.add_collectors(&node(agent), &known.collectors);
    }
    quality.in_order()
}

/// How the outputs of these names were made, as GraphViz text.
pub(crate) fn plan(plans: &[OutputPlan], names: &[String], view: &ClusterView, kelvin: &str) -> String {
    let step = |step: &PlanStep| Step {
        depth: step.depth as usize,
        place: match &step.at {
            None => kelvin.to_owned(),
            Some(At::EachAgent(_)) => "each agent".to_owned(),
            Some(At::AgentId(bytes)) => id(bytes).map_or_else(|| "an agent".to_owned(), |agent| place(agent, view)),
        },
        text: step.text.clone(),
    };
    let plans = plans.iter().filter_map(|plan| Some((names.get(plan.output as usize)?, plan)));
    plan_graph(plans.map(|(name, plan)| (name.as_str(), plan.steps.iter().map(step).collect())))
}

/// An agent, for people: several of one node are told apart.
fn place(agent: AgentId, view: &ClusterView) -> String {
    match view.hostname(agent) {
        "" => agent.to_string(),
        hostname => format!("{hostname} ({agent})"),
    }
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
