use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use ids::{AgentId, TracepointId, UnixNs};

use crate::agents::{Incarnation, KernelVersion};

/// What a program demands of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// This kernel or a newer one.
    KernelMin(KernelVersion),
    /// This kernel or an older one.
    KernelMax(KernelVersion),
    /// This host name.
    Host(String),
}

/// One program, for the nodes that it fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The table that it fills.
    pub table: String,
    /// All of them must hold.
    pub selectors: Vec<Selector>,
    /// The program itself, encoded: for the agent, unread here.
    pub body: Vec<u8>,
}

/// What a script deploys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Which processes, encoded: for the agent, unread here. Labels were resolved to pods before.
    pub target: Vec<u8>,
    /// Programs. An agent is sent those that fit its node.
    pub programs: Vec<Program>,
}

/// What is wanted of a tracepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// It is to run on every agent that it fits.
    Running,
    /// It is to go from all of them.
    Gone,
}

/// Where a tracepoint stands, on one agent or over all. Reference: `LifeCycleState` of `statuspb/status.proto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It is on its way.
    Pending,
    /// It delivers rows.
    Running,
    /// It could not be deployed.
    Failed,
    /// It is gone.
    Terminated,
}

/// What came of something, as agents say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Reference: `Code` of `statuspb/status.proto`.
    pub code: i32,
    /// For people.
    pub message: String,
}

/// The process to be traced is not on the agent's node: no mistake of anybody's.
pub const FAILED_PRECONDITION: i32 = 13;

/// What an agent says of a tracepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which run of the agent's process said so: another one knows nothing of it.
    pub incarnation: Incarnation,
    /// Where it stands there.
    pub state: State,
    /// Why.
    pub status: Status,
}

/// A tracepoint, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracepoint {
    /// Its id.
    pub id: TracepointId,
    /// Unique among those that are to run.
    pub name: String,
    /// What is deployed.
    pub deployment: Arc<Deployment>,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// When it is to go by itself. Wall clock, as it survives a restart.
    pub expires: UnixNs,
    /// What agents said last.
    pub reports: BTreeMap<AgentId, Report>,
}

/// A live agent, as far as tracepoints are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The agent.
    pub agent: AgentId,
    /// Which run of its process.
    pub incarnation: Incarnation,
    /// Of its machine.
    pub kernel: KernelVersion,
    /// Of its machine.
    pub hostname: String,
}

impl Selector {
    fn holds(&self, node: &Node) -> bool {
        match self {
            Selector::KernelMin(least) => node.kernel >= *least,
            Selector::KernelMax(most) => node.kernel <= *most,
            Selector::Host(name) => node.hostname == *name,
        }
    }
}

impl Program {
    /// Whether it can run there.
    pub fn fits(&self, node: &Node) -> bool {
        self.selectors.iter().all(|selector| selector.holds(node))
    }
}

impl Deployment {
    /// Whether it has anything for this node.
    pub fn fits(&self, node: &Node) -> bool {
        self.programs.iter().any(|program| program.fits(node))
    }

    /// The tables that it fills, each once.
    pub fn tables(&self) -> BTreeSet<&str> {
        self.programs.iter().map(|program| program.table.as_str()).collect()
    }
}

impl Tracepoint {
    /// What this run of the agent's process said.
    pub fn report_of(&self, node: &Node) -> Option<&Report> {
        self.reports.get(&node.agent).filter(|report| report.incarnation == node.incarnation)
    }

    /// Over all agents: terminated if it is on one, else running if it is on one, else pending if it is on one or nobody has said anything, else failed.
    pub fn state(&self) -> State {
        let any = |state| self.reports.values().any(|report| report.state == state);
        if self.reports.is_empty() {
            State::Pending
        } else {
            [State::Terminated, State::Running, State::Pending].into_iter().find(|state| any(*state)).unwrap_or(State::Failed)
        }
    }

    /// Why it failed where it did. That a process is not on a node is told only if there is nothing else to tell.
    pub fn failures(&self) -> Vec<&Status> {
        let failed = || self.reports.values().filter(|report| report.state == State::Failed).map(|report| &report.status);
        let mut told: Vec<&Status> = Vec::new();
        for status in failed().filter(|status| status.code != FAILED_PRECONDITION) {
            if !told.contains(&status) {
                told.push(status);
            }
        }
        if told.is_empty() && self.state() == State::Failed {
            told.extend(failed().next());
        }
        told
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Pending => "pending",
            State::Running => "running",
            State::Failed => "failed",
            State::Terminated => "terminated",
        })
    }
}
