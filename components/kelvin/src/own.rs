//! A Kelvin as one of the agents: it has no tables, and tells of its own process whoever coordinates a query, itself included.

use std::sync::Arc;

use agent::life::Member;
use agent::names::{NamesHandle, StateTable};
use agent::{DialSet, Dialer, MemberHandle, ProcessTables, next_member};
use engine::distributed::{AgentWorker, AgentWorkerArgs};
use engine::{AgentFacts, AgentTables, Functions};
use rpc::MutualTls;
use table_store::TableStore;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// There are no tables to fill.
const TABLE_BYTES_MAX: u64 = 0;

/// What it tells, and by whom it is reached.
pub(crate) struct Own {
    pub(crate) member: MemberHandle,
    pub(crate) names: NamesHandle,
    /// `namespace/name`.
    pub(crate) pod_name: String,
    pub(crate) functions: Functions,
    pub(crate) tls: MutualTls,
    pub(crate) compute: Handle,
}

impl Own {
    /// Dials all Kelvins as an agent does, under the identity that it has, until the stop.
    pub(crate) async fn serve(self, stop: &CancellationToken) {
        let mut standing = self.member.standing();
        let mut before = None;
        while let Some(member) = next_member(&mut standing, before, stop).await {
            before = Some(member);
            let (over, tasks) = (stop.child_token(), TaskTracker::new());
            let (set, _) = DialSet::new(self.dialer(member), tasks.clone());
            let mut seen = standing.clone();
            tokio::select! {
                () = set.run(self.member.cluster(), &over) => {}
                _ = next_member(&mut seen, before, stop) => {}
            }
            over.cancel();
            tasks.close();
            tasks.wait().await;
        }
    }

    fn dialer(&self, member: Member) -> Dialer {
        let process: Arc<dyn AgentTables> = Arc::new(ProcessTables { asid: member.asid, collects_data: false });
        let state: Arc<dyn AgentTables> =
            Arc::new(StateTable { asid: member.asid, pod_name: self.pod_name.clone(), names: self.names.clone() });
        let facts = AgentFacts { asid: member.asid, tables: vec![process, state], ..AgentFacts::default() };
        let store = Arc::new(TableStore::empty(TABLE_BYTES_MAX));
        let worker = AgentWorker::of_agent(member.id, store, self.functions.clone(), facts, AgentWorkerArgs::default());
        Dialer::new(member.id, worker, self.compute.clone(), self.tls.client())
    }
}
