//! What a script wants changed: tracepoints, and settings of agents.

use std::collections::BTreeMap;
use std::time::Duration;

use ids::Upid;

/// One change that a script asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutation {
    /// Deploy this tracepoint, or let it live longer if it is there.
    UpsertTracepoint(Tracepoint),
    /// Take the tracepoint of this name away.
    DeleteTracepoint {
        /// Its name.
        name: String,
    },
    /// Change a setting of an agent.
    ConfigUpdate(ConfigUpdate),
}

/// A setting of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigUpdate {
    /// The agent's pod.
    pub agent_pod_name: String,
    /// Which setting.
    pub key: String,
    /// What it shall be.
    pub value: String,
}

/// A tracepoint: programs at a place, and the tables that they fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracepoint {
    /// Unique among those that live.
    pub name: String,
    /// How long it lives unless it is asked for again; more than zero.
    pub ttl: Duration,
    /// Where.
    pub target: Target,
    /// At least one; each agent runs those whose selectors it fits.
    pub programs: Vec<Program>,
}

/// Which processes a tracepoint is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// None in particular: it is for the kernel of every node.
    Kernel,
    /// This one.
    Process(Upid),
    /// A library that this one has loaded.
    SharedObject {
        /// The library, as its file is named: `libc`.
        name: String,
        /// Who has loaded it.
        process: Upid,
    },
    /// Those of pods.
    Pods {
        /// `namespace/name`, or the beginning of it.
        pods: Vec<String>,
        /// Name of the container; empty for any.
        container: String,
        /// A regular expression for the command line; empty for any.
        process: String,
    },
    /// Those of pods that have labels.
    Labels {
        /// All of them.
        labels: BTreeMap<String, String>,
        /// Namespace of the pods.
        namespace: String,
        /// Name of the container; empty for any.
        container: String,
        /// A regular expression for the command line; empty for any.
        process: String,
    },
}

/// One program of a tracepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The table that it fills.
    pub table: String,
    /// What it does.
    pub source: Source,
    /// What it demands of the node, all of it.
    pub selectors: Vec<Selector>,
}

/// What a program does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Reads at a function.
    Probe(Probe),
    /// A program in bpftrace's language.
    BpfTrace(String),
}

/// What is read where a function begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The function's symbol.
    pub symbol: String,
    /// Arguments, by variable: `arg0`, `arg1`, ….
    pub args: Vec<Captured>,
    /// What it returns, by variable: `ret0`, ….
    pub returns: Vec<Captured>,
    /// The variable that has how long it took: `lat0`.
    pub latency: Option<String>,
    /// The table's columns, each with the variable it has; at least one.
    pub columns: Vec<(String, String)>,
}

/// An expression over arguments or over what is returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// The variable that has its value.
    pub id: String,
    /// `req.URL.Path`; of what is returned, `$0.field`.
    pub expr: String,
}

/// What a program demands of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// A kernel of this version or newer.
    MinKernel(String),
    /// A kernel of this version or older.
    MaxKernel(String),
    /// This host name.
    HostName(String),
}
