//! How the cluster does, from what the tracker knows. Pure.

use std::collections::BTreeMap;

use crate::broker::{ClusterState, Nodes};
use crate::tracker::{ClusterView, CollectorState};

/// Collectors that are named in a status; the rest is a number.
const COLLECTORS_NAMED_MAX: usize = 5;

/// How the cluster does, and how many nodes it has.
pub(crate) fn status(view: &ClusterView) -> (ClusterState, Nodes) {
    let collecting: Vec<_> = view.collecting().collect();
    let instrumented = collecting
        .iter()
        .filter(|(_, agent)| {
            agent.collectors.is_empty() || agent.collectors.iter().any(|collector| collector.state == CollectorState::Running)
        })
        .count();
    let nodes = Nodes { all: collecting.len() as i32, instrumented: instrumented as i32 };
    if view.kelvins().next().is_none() {
        return (ClusterState::Unhealthy("no Kelvin is alive: no script can run".to_owned()), nodes);
    }
    if collecting.is_empty() {
        return (ClusterState::Degraded("no agent is alive: there are no rows".to_owned()), nodes);
    }
    if instrumented == 0 {
        let why = failures(view);
        let why = if why.is_empty() { "every collector is off" } else { &why };
        return (ClusterState::Degraded(format!("no agent captures anything: {why}")), nodes);
    }
    let failed = failures(view);
    (if failed.is_empty() { ClusterState::Healthy } else { ClusterState::Degraded(failed) }, nodes)
}

/// Which collectors failed, each with how many nodes and the reason of one of them.
fn failures(view: &ClusterView) -> String {
    let mut failed: BTreeMap<&str, (usize, &str, &str)> = BTreeMap::new();
    for (_, agent) in view.collecting() {
        for collector in agent.collectors.iter().filter(|collector| collector.state == CollectorState::Failed) {
            failed.entry(&collector.name).or_insert((0, agent.hostname.as_str(), collector.detail.as_str())).0 += 1;
        }
    }
    let text = |(name, (nodes, hostname, detail)): (&&str, &(usize, &str, &str))| {
        let others = if *nodes > 1 { format!(" and {} more", nodes - 1) } else { String::new() };
        format!("{name} failed on {hostname}{others}: {detail}")
    };
    let mut texts: Vec<_> = failed.iter().take(COLLECTORS_NAMED_MAX).map(text).collect();
    if failed.len() > COLLECTORS_NAMED_MAX {
        texts.push(format!("{} more collectors failed", failed.len() - COLLECTORS_NAMED_MAX));
    }
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use ids::AgentId;

    use super::*;
    use crate::tracker::{KnownAgent, KnownCollector};

    fn pem(number: u64, state: CollectorState) -> (AgentId, KnownAgent) {
        let collector = KnownCollector { name: "socket data".to_owned(), state, detail: "no ring".to_owned() };
        let agent =
            KnownAgent { collects_data: true, hostname: format!("n{number}"), collectors: vec![collector], ..KnownAgent::default() };
        (AgentId::from_halves(0, number), agent)
    }

    fn kelvin() -> (AgentId, KnownAgent) {
        (AgentId::from_halves(9, 9), KnownAgent { query_address: "k:1".to_owned(), ..KnownAgent::default() })
    }

    fn of(agents: &[(AgentId, KnownAgent)]) -> (ClusterState, i32, i32) {
        let (state, nodes) = status(&ClusterView::new(agents.iter().cloned().collect(), BTreeMap::new()));
        (state, nodes.all, nodes.instrumented)
    }

    #[test]
    fn a_cluster_needs_a_kelvin_to_be_asked_and_agents_that_capture_to_be_healthy() {
        let (good, bad) = (pem(1, CollectorState::Running), pem(2, CollectorState::Failed));
        assert_eq!(of(&[good.clone(), kelvin()]), (ClusterState::Healthy, 1, 1));
        assert!(matches!(of(std::slice::from_ref(&good)), (ClusterState::Unhealthy(_), 1, 1)));
        let degraded = |why: &str| ClusterState::Degraded(why.to_owned());
        assert_eq!(of(&[kelvin()]), (degraded("no agent is alive: there are no rows"), 0, 0));
        let why = "no agent captures anything: socket data failed on n2: no ring";
        assert_eq!(of(&[bad.clone(), kelvin()]), (degraded(why), 1, 0));
        let off = pem(1, CollectorState::Off);
        assert_eq!(of(&[off, kelvin()]), (degraded("no agent captures anything: every collector is off"), 1, 0));
        let (state, all, instrumented) = of(&[good, bad, pem(3, CollectorState::Failed), kelvin()]);
        let why = "socket data failed on n2 and 1 more: no ring";
        assert_eq!((state, all, instrumented), (ClusterState::Degraded(why.to_owned()), 3, 1));
    }
}
