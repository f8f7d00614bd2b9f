use ids::{AgentId, Asid, UnixNs};
use tables::Relation;

/// Whether an agent is heard. Reference: `AgentState`, agentpb/agent.proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It is.
    Healthy,
    /// Not for half a minute.
    Unresponsive,
    /// Not any more.
    Disconnected,
    /// Nobody knows.
    Unknown,
}

impl Health {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Health::Healthy => "AGENT_STATE_HEALTHY",
            Health::Unresponsive => "AGENT_STATE_UNRESPONSIVE",
            Health::Disconnected => "AGENT_STATE_DISCONNECTED",
            Health::Unknown => "AGENT_STATE_UNKNOWN",
        }
    }
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFact {
    /// Which.
    pub id: AgentId,
    /// Its short number.
    pub asid: Asid,
    /// False for a Kelvin.
    pub collects_data: bool,
    /// Of its node.
    pub hostname: String,
    /// Its own.
    pub ip_address: String,
    /// Whether it is heard.
    pub health: Health,
    /// When it registered.
    pub created: UnixNs,
    /// Since it was heard, in nanoseconds.
    pub silent_ns: i64,
    /// Whether its node has the kernel's headers.
    pub kernel_headers_installed: bool,
    /// Milliseconds between two samples of its profiler; -1: it has none.
    pub profiler_period_ms: i32,
    /// Of its build.
    pub version: String,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFact {
    /// As scripts name it.
    pub name: String,
    /// What it is.
    pub text: String,
    /// Its columns.
    pub relation: Relation,
}

/// A tracepoint over all agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracepointFact {
    /// Its id, as text.
    pub id: [u8; 16],
    /// Its name.
    pub name: String,
    /// `PENDING_STATE`, `RUNNING_STATE`, …
    pub state: String,
    /// What agents say about it.
    pub statuses: Vec<String>,
    /// The tables that it fills.
    pub tables: Vec<String>,
}

/// A run of a script that runs again and again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CronRunFact {
    /// Which script.
    pub script: String,
    /// When.
    pub time: UnixNs,
    /// Empty if it ran.
    pub error: String,
    /// That it took.
    pub execution_ns: i64,
    /// That compiling it took.
    pub compilation_ns: i64,
    /// That it read.
    pub bytes: i64,
    /// That it read.
    pub records: i64,
}

/// What is known of the cluster. Answers may take a moment: they are asked for where waiting holds nobody up.
///
/// The error of each says, for people, why it is not known.
pub trait Facts: Send + Sync {
    /// All agents.
    ///
    /// # Errors
    /// Why they are not known.
    fn agents(&self) -> Result<Vec<AgentFact>, String>;

    /// All tables.
    fn tables(&self) -> Vec<TableFact>;

    /// All tracepoints.
    ///
    /// # Errors
    /// Why they are not known.
    fn tracepoints(&self) -> Result<Vec<TracepointFact>, String>;

    /// The last runs of scripts that run again and again.
    ///
    /// # Errors
    /// Why they are not known.
    fn cron_runs(&self) -> Result<Vec<CronRunFact>, String>;

    /// What the metadata service keeps below a prefix, read as the message `proto`.
    ///
    /// # Errors
    /// Why it is not known.
    fn kept(&self, prefix: &str, proto: &str) -> Result<Vec<(String, String)>, String>;

    /// Who merges, and of which version it is.
    fn version(&self) -> (Asid, String);
}
