use std::collections::BTreeMap;
use std::fmt;

use ids::{AgentId, Asid, MonoNs, UnixNs, Upid};
use tables::{DataType, PatternType, SemanticType};

/// What time it is, by both clocks: intervals are measured on the one that never steps, others are told the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Of this process.
    pub mono: MonoNs,
    /// Wall clock.
    pub wall: UnixNs,
}

/// One run of an agent's process: the wall clock's nanoseconds at its start. Of two at one place the larger is the newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incarnation(pub u64);

/// The running kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kernel {
    /// 6 of 6.1.112.
    pub version: u32,
    /// 1 of 6.1.112.
    pub major: u32,
    /// 112 of 6.1.112.
    pub minor: u32,
    /// As uname says it.
    pub release: String,
    /// Tells a new boot from a new process.
    pub boot_id: String,
    /// Whether the machine has its headers.
    pub headers_installed: bool,
}

/// What an agent says of itself. Reference: `AgentInfo` and `HostInfo` of `agentpb/agent.proto`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Of its machine.
    pub hostname: String,
    /// `namespace/name`; whatever tells two Kelvins of one machine apart outside of Kubernetes.
    pub pod_name: String,
    /// Of its machine.
    pub host_ip: String,
    /// Where others reach it: its machine's for an agent without a listener.
    pub ip_address: String,
    /// Of its machine.
    pub kernel: Kernel,
    /// Whether it has tables of its own.
    pub collects_data: bool,
    /// Milliseconds from one stack to the next; -1: it takes none.
    pub profiler_period_ms: i32,
    /// Of the build.
    pub version: String,
    /// host:port that agents dial; empty without such a listener.
    pub rpc_address: String,
    /// host:port that the query broker calls; empty without such a listener.
    pub query_address: String,
    /// The name in the certificate at those addresses.
    pub tls_server_name: String,
}

/// Who an agent is, as the metadata service has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: AgentId,
    /// Its number, in the UPIDs of its rows.
    pub asid: Asid,
}

/// An agent's first word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Under which it asks.
    pub id: AgentId,
    /// Which run of its process.
    pub incarnation: Incarnation,
    /// The number that it had.
    pub asid: Option<Asid>,
    /// About itself.
    pub profile: Profile,
}

/// A table that an agent has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSchema {
    /// Its name in scripts.
    pub name: String,
    /// For people.
    pub text: String,
    /// In the order of its rows.
    pub columns: Vec<ColumnSchema>,
}

/// A column of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSchema {
    /// Its name in scripts.
    pub name: String,
    /// What values are made of.
    pub data_type: DataType,
    /// What they mean.
    pub semantic_type: SemanticType,
    /// How they behave.
    pub pattern_type: PatternType,
    /// For people.
    pub text: String,
}

/// How a collector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectorState {
    /// It collects.
    Running,
    /// Nobody asked for it.
    Off,
    /// It was asked for, and does not.
    Failed,
}

/// How a collector is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// How it is.
    pub state: CollectorState,
    /// Which of several ways it takes; empty if it has but one.
    pub way: String,
    /// Why it failed; empty if it runs.
    pub reason: String,
    /// What someone can do about it.
    pub remedy: String,
}

/// Something that happened to a process of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessEvent {
    /// It was seen first.
    Created {
        /// Which.
        upid: Upid,
        /// When it started.
        started: UnixNs,
        /// Its arguments, with spaces between them.
        cmdline: String,
        /// Of its container; empty if it is in none.
        container: String,
    },
    /// It is there no more.
    Terminated {
        /// Which.
        upid: Upid,
        /// When it ended.
        ended: UnixNs,
    },
}

/// An agent's word every five seconds; the same one until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Whose.
    pub id: AgentId,
    /// Which run of its process.
    pub incarnation: Incarnation,
    /// One more than that of the last one.
    pub sequence: u64,
    /// When it was made.
    pub time: UnixNs,
    /// All its tables, if they changed.
    pub tables: Option<Vec<TableSchema>>,
    /// All its collectors, if they changed.
    pub collectors: Option<BTreeMap<String, Collector>>,
    /// A filter of the names that its rows can have, encoded, if it changed.
    pub names: Option<Vec<u8>>,
    /// What happened to processes since the last one.
    pub processes: Vec<ProcessEvent>,
}

/// A Kelvin that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kelvin {
    /// Who it is.
    pub id: AgentId,
    /// host:port that agents dial.
    pub address: String,
    /// The name that its certificate has.
    pub server_name: String,
}

/// What an agent is told of its cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Where services have their addresses; empty if it is not known.
    pub service_cidr: String,
    /// Where pods have theirs.
    pub pod_cidrs: Vec<String>,
    /// All that are alive.
    pub kelvins: Vec<Kelvin>,
}

/// Why an agent must not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No reason that is known here.
    Unsaid,
    /// A newer process is at its place.
    Superseded,
    /// Another agent has its id.
    IdTaken,
    /// There are too many.
    Full,
    /// What it says of itself is too large to be kept.
    TooLarge,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Unsaid => "no reason was given",
            Refusal::Superseded => "a newer process is at this place",
            Refusal::IdTaken => "another agent has this id",
            Refusal::Full => "there are too many agents",
            Refusal::TooLarge => "what it says of itself is too large",
        })
    }
}

/// What the metadata service answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is this agent from now on.
    Registered {
        /// Its id, perhaps another one than it asked under; `None` from a peer that gives none.
        id: Option<AgentId>,
        /// Its number.
        asid: Asid,
    },
    /// It is not registered.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The same for people.
        text: String,
    },
    /// This beat is known.
    Acknowledged {
        /// Which one.
        sequence: u64,
        /// `None`: as before.
        cluster: Option<Cluster>,
    },
    /// Register again, then send everything.
    Unregistered {
        /// Why, for people.
        text: String,
    },
    /// It must not go on.
    Stop {
        /// Why.
        refusal: Refusal,
        /// The same for people.
        text: String,
    },
}

/// An answer, and which run of a process it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// `None` from a peer that does not say.
    pub incarnation: Option<Incarnation>,
    /// What it says.
    pub answer: Answer,
}
