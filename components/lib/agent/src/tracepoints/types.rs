use std::time::Duration;

use ids::{TracepointId, Upid};

/// What a script deploys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// As the script calls it.
    pub name: String,
    /// How long it lives from now on; `None`: until it is taken away.
    pub ttl: Option<Duration>,
    /// Which processes.
    pub target: Target,
    /// One for each kind of node; those that fit are deployed.
    pub programs: Vec<Program>,
}

/// Which processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// None was named.
    None,
    /// One.
    Process(Upid),
    /// A library that one has loaded.
    SharedObject {
        /// Its file's name.
        name: String,
        /// Who has loaded it.
        process: Upid,
    },
    /// Those of pods.
    Pods {
        /// `namespace/name`, or the beginning of it.
        pods: Vec<String>,
        /// Only in containers of this name; empty: in all.
        container: String,
        /// Only whose command line has this; empty: all.
        process: String,
    },
}

/// What a program demands of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// At least this kernel.
    KernelMin(u32, u32, u32),
    /// At most this kernel.
    KernelMax(u32, u32, u32),
    /// This machine.
    Host(String),
}

/// What is deployed on nodes that fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Where its rows go.
    pub table: String,
    /// All of them must be met.
    pub selectors: Vec<Selector>,
    /// What it does.
    pub body: Body,
}

/// What a program does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Logs calls of a function.
    Probe(Probe),
    /// Is in bpftrace's language.
    BpfTrace(String),
}

/// What is read of each call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The function.
    pub symbol: String,
    /// Names of variables and what they are: expressions over the arguments.
    pub arguments: Vec<(String, String)>,
    /// The same over what is returned.
    pub returns: Vec<(String, String)>,
    /// The variable that has the time that the call took.
    pub latency: Option<String>,
    /// Columns of the table, and the variables that go there.
    pub columns: Vec<(String, String)>,
}

/// Whose fault it is. Numbers: reference `statuspb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// What was asked for cannot be.
    InvalidArgument,
    /// The function or file is not there.
    NotFound,
    /// Not here: the process is on another node, or the node does not fit.
    FailedPrecondition,
    /// There are too many.
    ResourceUnavailable,
    /// Nobody can do that yet.
    Unimplemented,
    /// The agent's own.
    Internal,
}

/// Why something was not deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whose fault it is.
    pub code: Code,
    /// For people.
    pub text: String,
}

/// What became of a tracepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It writes rows; its table is there.
    Running,
    /// It does not.
    Failed(Failure),
    /// It was taken away.
    Removed,
}

/// Where a tracepoint stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// It is being deployed.
    Pending,
    /// It writes rows.
    Running,
    /// It does not.
    Failed(Failure),
    /// It is there no more.
    Terminated,
}

/// What others are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which one.
    pub id: TracepointId,
    /// Where it stands.
    pub stage: Stage,
}
