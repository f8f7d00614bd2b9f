//! What the broker knows of the cluster at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use engine::distributed::AgentCatalog;
use ids::{AgentId, Asid, UnixNs};
use tables::Relation;

use super::schemas::KnownTable;

/// All agents and tables, as they were together. Never changes: the next version is another one.
pub struct ClusterView {
    /// By id.
    pub agents: BTreeMap<AgentId, KnownAgent>,
    /// By name.
    pub tables: BTreeMap<String, KnownTable>,
    /// The same tables for the compiler.
    pub(crate) catalog: AgentCatalog,
}

/// An agent, as it describes itself and as the metadata service has heard it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownAgent {
    /// Its short number.
    pub asid: Asid,
    /// True for a PEM, false for a Kelvin.
    pub collects_data: bool,
    /// Of its node.
    pub hostname: String,
    /// `namespace/name`; empty where there is no Kubernetes.
    pub pod_name: String,
    /// Its own.
    pub ip_address: String,
    /// Where the broker calls it: host:port. Empty for an agent that is not called.
    pub query_address: String,
    /// The name that its certificate has.
    pub tls_server_name: String,
    /// Of its build.
    pub version: String,
    /// Whether its node has the kernel's headers.
    pub kernel_headers_installed: bool,
    /// Milliseconds between two samples of its profiler; -1: it has none.
    pub profiler_period_ms: i32,
    /// When it registered.
    pub created: UnixNs,
    /// When it was last heard.
    pub last_heartbeat: UnixNs,
    /// How each of its collectors is.
    pub collectors: Vec<KnownCollector>,
}

/// Whether a collector delivers rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectorState {
    /// It does.
    Running,
    /// It was told not to.
    Off,
    /// It cannot.
    Failed,
    /// Its agent did not say.
    Unknown,
}

/// A collector of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCollector {
    /// Which.
    pub name: String,
    /// How it is.
    pub state: CollectorState,
    /// Why it is not running, and what someone can do about it.
    pub detail: String,
}

impl ClusterView {
    pub(crate) fn new(agents: BTreeMap<AgentId, KnownAgent>, tables: BTreeMap<String, KnownTable>) -> ClusterView {
        let catalog = AgentCatalog::new(tables.iter().map(|(name, table)| (name.clone(), table.relation.clone())));
        ClusterView { agents, tables, catalog }
    }

    /// Agents that have rows.
    pub fn collecting(&self) -> impl Iterator<Item = (AgentId, &KnownAgent)> {
        self.agents.iter().filter(|(_, agent)| agent.collects_data).map(|(id, agent)| (*id, agent))
    }

    /// Agents that run queries.
    pub fn kelvins(&self) -> impl Iterator<Item = (AgentId, &KnownAgent)> {
        let runs = |agent: &KnownAgent| !agent.collects_data && !agent.query_address.is_empty();
        self.agents.iter().filter(move |(_, agent)| runs(agent)).map(|(id, agent)| (*id, agent))
    }

    /// The name of an agent's node, for people.
    pub fn hostname(&self, agent: AgentId) -> &str {
        self.agents.get(&agent).map_or("", |agent| agent.hostname.as_str())
    }

    /// The columns of a table.
    pub fn relation(&self, table: &str) -> Option<&Relation> {
        self.tables.get(table).map(|table| &table.relation)
    }

    /// Who is asked for rows of these tables, and who cannot be, with the reason.
    pub fn asked(&self, tables: &BTreeSet<String>) -> (Vec<AgentId>, BTreeMap<AgentId, String>) {
        let read: Vec<_> = tables.iter().filter_map(|name| Some((name, self.tables.get(name)?))).collect();
        let (mut asked, mut refused) = (Vec::new(), BTreeMap::new());
        if read.is_empty() {
            return (asked, refused);
        }
        for (id, _) in self.collecting() {
            if let Some((name, how)) = read.iter().find_map(|(name, table)| Some((*name, table.differing.get(&id)?))) {
                refused.insert(id, format!("its table `{name}` differs from that of most agents: {how}"));
            } else if read.iter().any(|(_, table)| table.agents.contains(&id)) || !self.has_told_tables(id) {
                asked.push(id);
            }
        }
        (asked, refused)
    }

    /// An agent that has just registered may not have: it is asked, and answers with what it has.
    fn has_told_tables(&self, agent: AgentId) -> bool {
        self.tables.values().any(|table| table.agents.contains(&agent) || table.differing.contains_key(&agent))
    }
}

impl fmt::Debug for ClusterView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterView").field("agents", &self.agents.len()).field("tables", &self.tables.len()).finish_non_exhaustive()
    }
}
