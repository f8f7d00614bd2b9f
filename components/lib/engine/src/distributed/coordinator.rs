use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::DataFusionError;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use ids::{AgentId, QueryId};
use parking_lot::Mutex;
use pxl::FunctionRegistry;
use tables::Relation;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::distributed::AgentTransport;
use crate::distributed::channels::QueryLinks;
use crate::distributed::execution::DistributedExecution;
use crate::distributed::places::Places;
use crate::distributed::plans::decode_plan;
use crate::distributed::prune::{may_tell_apart, wanted};
use crate::distributed::session::{OfQuery, functions_only, session};
use crate::distributed::table::Bound;
use crate::execution::Planned;
use crate::memory::QueryPool;
use crate::scan::ScanCounts;
use crate::streaming::refuse_blocking;
use crate::{Error, Execution, Functions};

/// Where operators put what does not fit into memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpillArgs {
    /// Made if it is not there. What an earlier run left in it is removed.
    pub folder: PathBuf,
    /// Of all queries together.
    pub bytes_max: u64,
}

/// The coordinator's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorArgs {
    /// Memory of one query: groups, join tables, batches on their way. Operators that can spill do so from here on.
    pub query_memory_bytes_max: usize,
    /// Memory of all queries together.
    pub memory_bytes_max: usize,
    /// None: nothing is written to a disk, and a query that reaches its memory limit fails.
    pub spill: Option<SpillArgs>,
    /// Queries that run at a time.
    pub queries_running_max: usize,
    /// Queries that wait for one that runs to end; more are refused.
    pub queries_waiting_max: usize,
    /// Queries that stream, beside those: they run until their readers go, mostly idle. More are refused.
    pub streams_running_max: usize,
    /// Rows of a batch that operators make.
    pub batch_rows: usize,
    /// What one agent may have sent of one query and nobody has read yet. It comes on top of the transport's own windows; with 100 agents
    /// and the default of 512 KiB it is 50 MiB.
    pub agent_buffer_bytes_max: usize,
    /// An agent that is waited for and sends nothing for this long is missing. It may well be at work: partial aggregates come at the end.
    pub agent_silence_max: Duration,
}

impl Default for CoordinatorArgs {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            query_memory_bytes_max: 256 * MIB,
            memory_bytes_max: 512 * MIB,
            spill: None,
            queries_running_max: 16,
            queries_waiting_max: 64,
            streams_running_max: 256,
            batch_rows: 8192,
            agent_buffer_bytes_max: MIB / 2,
            agent_silence_max: Duration::from_secs(30),
        }
    }
}

/// One query.
#[derive(Debug, Clone)]
pub struct QuerySpec {
    /// Unique among those that run.
    pub query: QueryId,
    /// Whose tables are read. The same agent twice counts once.
    pub agents: Vec<AgentId>,
    /// Plans by [`crate::distributed::encode_plan`], with the columns that they yield.
    pub outputs: Vec<(Vec<u8>, Relation)>,
    /// How long it may take, waiting for its turn included. A query that streams has no such limit.
    pub time_max: Duration,
    /// Outputs follow the tables and come all at once, until the query is cancelled or dropped.
    pub streaming: bool,
    /// Agents say what each step took, and the query is over when they have: [`DistributedExecution::steps`] tells it.
    pub analyze: bool,
}

/// A query that streams ends with its reader. Its time is as long as any process of ours runs.
const STREAM_TIME_MAX: Duration = Duration::from_hours(24 * 365);

/// A query that was taken in. Dropped, it is forgotten.
pub struct Begun {
    spec: QuerySpec,
    registered: Registered,
    deadline: Instant,
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").field("query", &self.spec.query).finish_non_exhaustive()
    }
}

/// Runs queries over the tables of agents: plans them, sends the agents their part, does the rest itself.
pub struct Coordinator {
    args: CoordinatorArgs,
    functions: Functions,
    transport: Arc<dyn AgentTransport>,
    memory: Arc<GreedyMemoryPool>,
    disk: Arc<DiskManager>,
    admission: Admission,
    streams: Admission,
    running: Running,
}

/// The queries that may be cancelled.
pub(crate) type Running = Arc<Mutex<BTreeMap<QueryId, CancellationToken>>>;

/// A query's place among those that run, given back when dropped.
pub(crate) struct Registered {
    query: QueryId,
    running: Running,
    pub(crate) stop: CancellationToken,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.running.lock().remove(&self.query);
    }
}

impl Coordinator {
    /// With these functions, over these connections.
    ///
    /// # Errors
    /// The folder for spilled rows cannot be used.
    pub fn new(functions: impl Into<Functions>, transport: Arc<dyn AgentTransport>, args: CoordinatorArgs) -> Result<Self, Error> {
        let disk = match &args.spill {
            None => DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled),
            Some(SpillArgs { folder, bytes_max }) => {
                clear(folder).map_err(|source| Error::SpillFolder { folder: folder.clone(), source })?;
                let mode = DiskManagerMode::Directories(vec![folder.clone()]);
                DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(*bytes_max)
            }
        };
        Ok(Self {
            memory: Arc::new(GreedyMemoryPool::new(args.memory_bytes_max)),
            disk: Arc::new(disk.build().map_err(Error::Internal)?),
            admission: Admission::new(args.queries_running_max, args.queries_waiting_max),
            streams: Admission::new(args.streams_running_max, 0),
            running: Running::default(),
            args,
            functions: functions.into(),
            transport,
        })
    }

    /// Stops a query that runs or waits. False if there is none of that id.
    pub fn cancel(&self, query: QueryId) -> bool {
        self.running.lock().get(&query).map(CancellationToken::cancel).is_some()
    }

    /// Queries that run or wait.
    pub fn running(&self) -> usize {
        self.running.lock().len()
    }

    /// Bytes that are spilled now.
    pub fn spilled_bytes(&self) -> u64 {
        self.disk.used_disk_space()
    }

    /// Takes a query in: from here on it can be cancelled, and its time runs.
    ///
    /// # Errors
    /// The id is in use.
    pub fn begin(&self, mut spec: QuerySpec) -> Result<Begun, Error> {
        if spec.streaming {
            spec.time_max = STREAM_TIME_MAX;
        }
        let start = Instant::now();
        let deadline = start.checked_add(spec.time_max).unwrap_or(start);
        Ok(Begun { registered: self.register(spec.query)?, spec, deadline })
    }

    /// Plans all outputs over the agents that are connected, once there is room to run. Rows are read as they are asked for.
    ///
    /// # Errors
    /// Too many queries wait already, a plan cannot be read or made, the query is cancelled or its time is over.
    pub async fn execute(&self, begun: Begun) -> Result<DistributedExecution, Error> {
        let Begun { spec, registered, deadline } = begun;
        let stop = registered.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Error::Cancelled),
            () = tokio::time::sleep_until(deadline) => Err(Error::OutOfTime { time_max: spec.time_max }),
            planned = self.plan(&spec, registered, deadline) => planned,
        }
    }

    fn register(&self, query: QueryId) -> Result<Registered, Error> {
        let mut running = self.running.lock();
        if running.contains_key(&query) {
            return Err(Error::QueryExists { query });
        }
        let stop = CancellationToken::new();
        running.insert(query, stop.clone());
        Ok(Registered { query, running: Arc::clone(&self.running), stop })
    }

    async fn plan(&self, spec: &QuerySpec, registered: Registered, deadline: Instant) -> Result<DistributedExecution, Error> {
        let slot = if spec.streaming { self.streams.slot().await? } else { self.admission.slot().await? };
        let start = std::time::Instant::now();
        let links = QueryLinks::new(&*self.transport, &spec.agents, self.args.agent_silence_max, spec.streaming.then_some(spec.query));
        // What a stream took is never known: it has no end.
        let analyze = spec.analyze && !spec.streaming;
        let mut links = links.reporting(analyze);
        let pool = Arc::new(QueryPool::new(Arc::clone(&self.memory), self.args.query_memory_bytes_max));
        let failed = |error: DataFusionError| Error::classify(error, pool.refusal());
        let mut runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool) as _);
        runtime.disk_manager = Some(Arc::clone(&self.disk));
        let runtime = runtime.build_arc().map_err(failed)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let functions = self.functions.now();
        let places = Arc::new(Places::of(&functions));
        let left_out = self.leave_out(spec, &mut links, (&functions, &places)).await?;
        let links = Arc::new(links);
        let agents = links.agents().into();
        let of_query = OfQuery { query: spec.query, left, streaming: spec.streaming, analyze, places: Arc::clone(&places) };
        let session = session(&self.args, &functions, runtime, &links, of_query).map_err(failed)?;
        let context = session.task_ctx();
        let mut outputs = Vec::with_capacity(spec.outputs.len());
        for (bytes, relation) in &spec.outputs {
            let plan = decode_plan(bytes, &context, Bound { agents: Arc::clone(&agents), places: Arc::clone(&places) })?;
            if spec.streaming {
                refuse_blocking(&plan)?;
            }
            let plan = session.create_physical_plan(&plan).await.map_err(failed)?;
            tracing::debug!(query = %spec.query, plan = datafusion_distributed::display_plan_ascii(plan.as_ref(), false), "planned");
            outputs.push(Planned { schema: Arc::new(relation.arrow_schema()), plan, context: Arc::clone(&context) });
        }
        let times = (start, Duration::ZERO);
        let execution = Execution::new(outputs, pool, Arc::new(ScanCounts::default()), slot, times);
        let execution = if spec.streaming { execution.all_at_once() } else { execution };
        Ok(DistributedExecution::new(execution, (links, left_out), registered, (spec.query, deadline, spec.time_max)))
    }

    /// Agents whose rows cannot matter are not given the query. A stream is for all: what they learn later counts too.
    async fn leave_out(
        &self,
        spec: &QuerySpec,
        links: &mut QueryLinks,
        (functions, places): (&FunctionRegistry, &Arc<Places>),
    ) -> Result<Vec<AgentId>, Error> {
        if spec.streaming {
            return Ok(Vec::new());
        }
        let context = functions_only(functions).map_err(Error::Internal)?;
        let mut plans = Vec::with_capacity(spec.outputs.len());
        for (bytes, _) in &spec.outputs {
            let plan = decode_plan(bytes, &context, Bound { agents: Arc::default(), places: Arc::clone(places) })?;
            if !may_tell_apart(&plan).map_err(Error::Plan)? {
                return Ok(Vec::new());
            }
            plans.push(plan);
        }
        let wanted = wanted(&plans);
        if !wanted.is_particular() {
            return Ok(Vec::new());
        }
        let left_out = links.leave_out(&wanted).await;
        tracing::debug!(query = %spec.query, left_out = left_out.len(), ?wanted, "agents are left out");
        Ok(left_out)
    }
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator").field("args", &self.args).field("running", &self.running()).finish_non_exhaustive()
    }
}

/// An empty folder of ours: DataFusion names its own `datafusion-…`, and removes them unless it is killed.
fn clear(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("datafusion-") {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
