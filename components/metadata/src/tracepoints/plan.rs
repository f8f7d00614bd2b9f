//! From what is known to what is to be done. An empty plan is the fixed point.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ids::{AgentId, TracepointId};

use super::book::Book;
use super::types::{Node, State, Tracepoint, Wanted};
use crate::agents::{Incarnation, Now};

/// How long an agent has to answer before it is asked again.
pub const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How long one that has answered that it is under way has, before it is asked whether its last word was lost. Uprobes of large binaries take seconds.
pub const ASK_PENDING_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// One thing to do. Doing it twice does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Its time is over: it is to go.
    Expire {
        /// Which.
        id: TracepointId,
    },
    /// Tell an agent to deploy it.
    Deploy {
        /// Which.
        id: TracepointId,
        /// Whom.
        agent: AgentId,
        /// Which run of its process.
        incarnation: Incarnation,
    },
    /// Tell an agent to take it away.
    Remove {
        /// Which.
        id: TracepointId,
        /// Whom.
        agent: AgentId,
        /// Which run of its process.
        incarnation: Incarnation,
    },
    /// What an agent said counts no longer: it is gone, or another process.
    ForgetReport {
        /// Which.
        id: TracepointId,
        /// Whose.
        agent: AgentId,
    },
    /// No agent has it any more.
    Forget {
        /// Which.
        id: TracepointId,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Expire { id } => write!(f, "expire {id}"),
            Action::Deploy { id, agent, .. } => write!(f, "deploy {id} on {agent}"),
            Action::Remove { id, agent, .. } => write!(f, "remove {id} from {agent}"),
            Action::ForgetReport { id, agent } => write!(f, "forget what {agent} said of {id}"),
            Action::Forget { id } => write!(f, "forget {id}"),
        }
    }
}

/// What is to be done now, given the live agents that have nodes.
pub fn plan(book: &Book, nodes: &[Node], now: Now) -> Vec<Action> {
    let by_agent: BTreeMap<AgentId, &Node> = nodes.iter().map(|node| (node.agent, node)).collect();
    let mut actions = Vec::new();
    for tracepoint in book.all() {
        let stale = tracepoint.reports.keys().filter(|agent| by_agent.get(agent).is_none_or(|node| tracepoint.report_of(node).is_none()));
        actions.extend(stale.map(|agent| Action::ForgetReport { id: tracepoint.id, agent: *agent }));
        match tracepoint.wanted {
            Wanted::Running if tracepoint.expires <= now.wall => actions.push(Action::Expire { id: tracepoint.id }),
            Wanted::Running => actions.extend(nodes.iter().filter_map(|node| deploy(book, tracepoint, node, now))),
            Wanted::Gone => remove(book, tracepoint, nodes, now, &mut actions),
        }
    }
    actions
}

fn deploy(book: &Book, tracepoint: &Tracepoint, node: &Node, now: Now) -> Option<Action> {
    let again = match tracepoint.report_of(node).map(|report| report.state) {
        None => ASK_AGAIN_AFTER,
        Some(State::Pending) => ASK_PENDING_AGAIN_AFTER,
        Some(State::Running | State::Failed | State::Terminated) => return None,
    };
    let due = is_due(book, tracepoint, node, again, now) && tracepoint.deployment.fits(node);
    due.then_some(Action::Deploy { id: tracepoint.id, agent: node.agent, incarnation: node.incarnation })
}

fn remove(book: &Book, tracepoint: &Tracepoint, nodes: &[Node], now: Now, actions: &mut Vec<Action>) {
    let is_gone = |node: &Node| tracepoint.report_of(node).is_some_and(|report| report.state == State::Terminated);
    let mut left = nodes.iter().filter(|node| tracepoint.deployment.fits(node) && !is_gone(node)).peekable();
    if left.peek().is_none() {
        actions.push(Action::Forget { id: tracepoint.id });
    }
    let due = left.filter(|node| is_due(book, tracepoint, node, ASK_AGAIN_AFTER, now));
    actions.extend(due.map(|node| Action::Remove { id: tracepoint.id, agent: node.agent, incarnation: node.incarnation }));
}

/// Whether this run of the agent's process was not asked for this yet, or long ago.
fn is_due(book: &Book, tracepoint: &Tracepoint, node: &Node, again: Duration, now: Now) -> bool {
    let asked = book.asked.get(&(tracepoint.id, node.agent));
    let asked = asked.filter(|asked| asked.wanted == tracepoint.wanted && asked.incarnation == node.incarnation);
    asked.is_none_or(|asked| now.mono.since(asked.at) >= again)
}
