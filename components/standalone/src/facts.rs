//! What one machine knows of itself as a cluster.

use std::sync::Arc;

use collectors::{State, Status};
use ids::{AgentId, Asid, UnixNs};
use query_broker::{
    AgentFact, AgentHealth, ClusterIdentity, CollectorState, CronRunFact, Facts, KnownCollector, LocalAgent, TableFact, TracepointFact,
};
use table_store::TableStore;

/// The agent in this process, which is all there is.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) asid: Asid,
    pub(crate) identity: ClusterIdentity,
    pub(crate) store: Arc<TableStore>,
    pub(crate) started: UnixNs,
}

impl Facts for Machine {
    fn agents(&self) -> Result<Vec<AgentFact>, String> {
        Ok(vec![AgentFact {
            id: AgentId::from_bytes(self.identity.id.to_bytes()),
            asid: self.asid,
            collects_data: true,
            hostname: self.identity.name.clone(),
            ip_address: "127.0.0.1".to_owned(),
            // It is the one that answers.
            health: AgentHealth::Healthy,
            created: self.started,
            silent_ns: 0,
            // Nothing here needs them.
            kernel_headers_installed: false,
            profiler_period_ms: -1,
            version: self.identity.vizier_version.clone(),
        }])
    }

    fn tables(&self) -> Vec<TableFact> {
        let text = |name: &str| tables::all().iter().find(|table| table.name == name).map_or("", |table| table.text);
        let tables = self.store.tables().into_iter().map(|table| TableFact {
            name: table.name().to_owned(),
            text: text(table.name()).to_owned(),
            relation: table.relation().clone(),
        });
        tables.collect()
    }

    fn tracepoints(&self) -> Result<Vec<TracepointFact>, String> {
        Ok(Vec::new())
    }

    fn cron_runs(&self) -> Result<Vec<CronRunFact>, String> {
        Ok(Vec::new())
    }

    fn kept(&self, _prefix: &str, _proto: &str) -> Result<Vec<(String, String)>, String> {
        Err("there is no metadata service: this Vizier is one process".to_owned())
    }

    fn version(&self) -> (Asid, String) {
        (self.asid, self.identity.vizier_version.clone())
    }
}

/// What is told of the agent where an answer is not complete.
pub(crate) fn agent(hostname: &str, statuses: &[Status]) -> LocalAgent {
    let collector = |status: &Status| {
        let (state, detail) = match &status.state {
            State::Running { .. } => (CollectorState::Running, String::new()),
            State::Off => (CollectorState::Off, String::new()),
            State::Failed { reason, remedy } => (CollectorState::Failed, format!("{reason}; {remedy}")),
        };
        KnownCollector { name: status.collector.to_string(), state, detail }
    };
    LocalAgent { hostname: hostname.to_owned(), collectors: statuses.iter().map(collector).collect() }
}
