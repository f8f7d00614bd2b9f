use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ids::{AgentId, Asid, MonoNs, UnixNs};
use tables::{DataType, PatternType, SemanticType};

use super::changes::Version;

/// What time it is, by both clocks: intervals are measured on the one that never steps, people are shown the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Of this process's machine, since its boot.
    pub mono: MonoNs,
    /// Wall clock.
    pub wall: UnixNs,
}

/// One run of an agent's process: the wall clock's nanoseconds at its start. Of two at one place the larger is the newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incarnation(pub u64);

/// What an agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentKind {
    /// Collects, on a node.
    Pem,
    /// Merges.
    Kelvin,
}

/// Where an agent is at home: there is one agent at a place, and whoever comes back to it is the same agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// What it does there.
    pub kind: AgentKind,
    /// A PEM's host name (its pod has another name after every restart); a Kelvin's pod name.
    pub host: String,
    /// A PEM's node address; a Kelvin's pod address.
    pub address: IpAddr,
}

/// The running kernel. A newer one is the larger.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// 6 of 6.1.112.
    pub version: u32,
    /// 1 of 6.1.112.
    pub major: u32,
    /// 112 of 6.1.112.
    pub minor: u32,
}

impl KernelVersion {
    /// From `6.1.112` or the beginning of it; what follows a number's digits is left out, as in `6.1.0-28-amd64`.
    pub fn parse(text: &str) -> Option<KernelVersion> {
        let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
        let mut numbers = text.trim().splitn(3, '.').map(|part| digits(part).parse::<u32>().ok());
        let version = numbers.next()??;
        Some(KernelVersion { version, major: numbers.next().unwrap_or(Some(0))?, minor: numbers.next().unwrap_or(Some(0))? })
    }
}

/// What an agent says of itself. Reference: `AgentInfo` and `HostInfo` of `agentpb/agent.proto`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct AgentInfo {
    /// Of its machine.
    pub hostname: String,
    /// `namespace/name`; empty outside of Kubernetes.
    pub pod_name: String,
    /// Of its machine.
    pub host_address: String,
    /// Where others reach it: an address, for a Kelvin with its port.
    pub address: String,
    /// Of its machine.
    pub kernel: KernelVersion,
    /// Whether its machine has the kernel's headers.
    pub kernel_headers_installed: bool,
    /// Whether it has tables of its own.
    pub collects_data: bool,
    /// Milliseconds from one stack to the next; -1: it takes none.
    pub profiler_period_ms: i32,
    /// Of its build.
    pub version: String,
    /// `host:port` where PEMs dial a Kelvin; empty for a PEM.
    pub rpc_address: String,
    /// `host:port` where the query broker calls a Kelvin; empty for a PEM.
    pub query_address: String,
    /// The name in the certificate at both addresses.
    pub tls_server_name: String,
    /// As `uname` says it.
    pub kernel_release: String,
    /// Tells a new boot of its machine from a new process.
    pub boot_id: String,
}

/// A table that an agent has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableSchema {
    /// Its name in scripts.
    pub name: String,
    /// For people.
    pub description: String,
    /// In the order of its rows.
    pub columns: Vec<ColumnSchema>,
}

/// A column of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
    pub description: String,
}

/// A table and who has it, in this form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaInfo {
    /// The table.
    pub table: TableSchema,
    /// Its agents, by id.
    pub agents: Vec<AgentId>,
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
pub struct CollectorStatus {
    /// How it is.
    pub state: CollectorState,
    /// Which of several ways it takes; empty if it has one.
    pub way: String,
    /// Why it is as it is, for people; empty if it runs.
    pub reason: String,
    /// What someone can do about it; empty if it runs.
    pub remedy: String,
}

/// An agent's first word, repeated until it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The id that it has, or made up: another one may be its own.
    pub id: AgentId,
    /// Which run of its process this is.
    pub incarnation: Incarnation,
    /// Where it is.
    pub place: Place,
    /// The number that it had, if it had one: it is given again if nobody has it.
    pub asid: Option<Asid>,
    /// About itself.
    pub info: AgentInfo,
}

/// An agent's word every five seconds; the same one until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Whose.
    pub id: AgentId,
    /// Which run of its process.
    pub incarnation: Incarnation,
    /// Grows by one with each that was acknowledged.
    pub sequence: u64,
    /// All its tables, if they changed and in the first one after a registration.
    pub tables: Option<Vec<TableSchema>>,
    /// All its collectors, under the same rule.
    pub collectors: Option<BTreeMap<String, CollectorStatus>>,
    /// A filter of the names that its rows can have, encoded, if it changed. It is passed on unread and not kept over restarts.
    pub names: Option<Vec<u8>>,
}

/// What an agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Whoever asked, by the id under which it asked.
    pub to: AgentId,
    /// The run that asked. Another one under the same id must not act on it.
    pub incarnation: Incarnation,
    /// What.
    pub answer: Answer,
}

/// The answer itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is this agent from now on.
    Registered {
        /// Its id, perhaps another one than it asked under.
        id: AgentId,
        /// Its number.
        asid: Asid,
    },
    /// It is not registered, and must not go on.
    Refused(Refusal),
    /// This heartbeat is known.
    Ack {
        /// Which one.
        sequence: u64,
    },
    /// Register again, then send everything.
    Unregistered,
}

/// Why an agent must not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A newer process is at its place: it stops.
    Superseded,
    /// Another agent has its id: it makes up a new one.
    IdTaken,
    /// There are too many: it tries later.
    Full,
    /// What it says of itself is too large to be kept.
    TooLarge,
}

/// Whether an agent can be counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentState {
    /// It is heard.
    Healthy,
    /// Some heartbeats are missing.
    Unresponsive,
}

/// A live agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Its number, in the UPIDs of its rows.
    pub asid: Asid,
    /// Where it is.
    pub place: Place,
    /// Which run of its process.
    pub incarnation: Incarnation,
    /// About itself.
    pub info: AgentInfo,
    /// When this run registered.
    pub registered: UnixNs,
    /// When it was heard last, for people.
    pub heard: UnixNs,
    /// Its tables.
    pub tables: Arc<Vec<TableSchema>>,
    /// Its collectors, by name.
    pub collectors: BTreeMap<String, CollectorStatus>,
    /// A filter of the names that its rows can have, if it sent one.
    pub names: Option<Arc<Vec<u8>>>,
    /// Whether this run has said everything about itself.
    pub(super) told: bool,
    pub(super) heard_mono: MonoNs,
    pub(super) progress: Progress,
    pub(super) changed: Version,
}

/// Which heartbeat comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Any that says everything: it has just registered, or had not yet said everything when we were restarted.
    Fresh,
    /// Any: what was acknowledged before a restart of ours is known.
    Restored,
    /// The one after this.
    After(u64),
    /// None: one was missed, it has to register.
    Lost,
}
