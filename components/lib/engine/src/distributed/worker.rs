use std::sync::Arc;
use std::time::Duration;

use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::FunctionRegistry as _;
use datafusion::execution::session_state::SessionState;
use datafusion_distributed::{DistributedExt, Worker, WorkerQueryContext};
use http::HeaderMap;
use ids::{AgentId, Asid, QueryId};
use table_store::TableStore;

use crate::distributed::codec::LeafCodec;
use crate::distributed::queries::TaskScope;
use crate::distributed::session::{LEFT_MS_HEADER, QUERY_HEADER};
use crate::distributed::{AgentQueries, Own, PLAN_VERSION, Wanted};
use crate::made::MadeTables;
use crate::table_info::TableInfo;
use crate::{AgentFacts, Functions, OwnNames};

/// The limits of an agent's part in queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentWorkerArgs {
    /// Memory of one query on this agent beyond the batch it reads: partial groups, batches not yet sent.
    pub query_memory_bytes_max: usize,
    /// Memory of all queries on this agent together.
    pub memory_bytes_max: usize,
    /// Rows of a batch that operators make.
    pub batch_rows: usize,
}

impl Default for AgentWorkerArgs {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self { query_memory_bytes_max: 128 * MIB, memory_bytes_max: 256 * MIB, batch_rows: 8192 }
    }
}

/// Runs an agent's tasks of queries over the agent's own tables.
///
/// All connections of an agent serve the same worker: a task's plan and the demand for its rows need not come by the same one.
#[derive(Clone)]
pub struct AgentWorker {
    queries: Arc<AgentQueries>,
    worker: Worker,
    asid: Asid,
    names: Option<Arc<dyn OwnNames>>,
}

impl AgentWorker {
    /// Over these tables, with the functions that plans may name.
    pub fn new(agent: AgentId, store: Arc<TableStore>, functions: impl Into<Functions>, args: AgentWorkerArgs) -> Self {
        Self::of_agent(agent, store, functions, AgentFacts::default(), args)
    }

    /// As [`Self::new`], of an agent that tells of itself too.
    pub fn of_agent(
        agent: AgentId,
        store: Arc<TableStore>,
        functions: impl Into<Functions>,
        facts: AgentFacts,
        args: AgentWorkerArgs,
    ) -> Self {
        let AgentFacts { asid, mut tables, events_lost, names } = facts;
        tables.push(Arc::new(TableInfo { asid, store: Arc::clone(&store) }));
        let own = Tables { agent, store, made: MadeTables(tables) };
        let queries = Arc::new(AgentQueries::new(functions.into(), events_lost, args));
        let opened = Arc::clone(&queries);
        let session = move |context: WorkerQueryContext| {
            let session = session(context, &own, &opened, args);
            async move { session }
        };
        Self { queries, worker: Worker::from_session_builder(session).with_version(PLAN_VERSION), asid, names }
    }

    /// The queries that run here.
    pub fn queries(&self) -> &Arc<AgentQueries> {
        &self.queries
    }

    /// Whether rows of this agent may matter to a query that comes now.
    pub fn may_matter(&self, wanted: &Wanted) -> bool {
        wanted.may_matter(&Own { asid: self.asid, names: self.names.as_ref().and_then(|names| names.filter()) })
    }

    /// What serves the worker protocol.
    pub fn worker(&self) -> Worker {
        self.worker.clone()
    }
}

impl std::fmt::Debug for AgentWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentWorker").field("queries", &self.queries).finish_non_exhaustive()
    }
}

/// What tasks read.
#[derive(Debug)]
struct Tables {
    agent: AgentId,
    store: Arc<TableStore>,
    made: MadeTables,
}

/// Made for each task.
fn session(mut context: WorkerQueryContext, own: &Tables, queries: &AgentQueries, args: AgentWorkerArgs) -> Result<SessionState> {
    let (query, left) = query_of(&context.headers)?;
    let query = queries.open(query, left)?;
    let (runtime, functions) = (Arc::clone(&query.runtime), Arc::clone(&query.functions));
    let config = context.builder.config().get_or_insert_default();
    *config = std::mem::take(config).with_batch_size(args.batch_rows.max(1));
    config.set_extension(Arc::clone(&query.counts));
    let Tables { agent, store, made } = own;
    config.set_extension(Arc::new(TaskScope { agent: *agent, store: Arc::clone(store), made: made.clone(), query }));
    let mut session = context.builder.with_runtime_env(runtime).with_distributed_user_codec(LeafCodec).build();
    // The builder's own methods would replace DataFusion's functions instead of adding to them.
    for function in functions.udfs() {
        session.register_udf(function)?;
    }
    for function in functions.udafs() {
        session.register_udaf(function)?;
    }
    Ok(session)
}

fn query_of(headers: &HeaderMap) -> Result<(QueryId, Duration)> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let query = text(QUERY_HEADER).and_then(|query| query.parse().ok());
    let left = text(LEFT_MS_HEADER).and_then(|left| left.parse().ok()).map(Duration::from_millis);
    query.zip(left).ok_or_else(|| exec_datafusion_err!("a task that does not say which query it is of, or how long it may run"))
}
