use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::common::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use ids::UnixNs;
use pxl::{Catalog, Diagnostics, Flags, FuncToExecute, FunctionRegistry, Output};
use table_store::TableStore;

use crate::admission::Admission;
use crate::execution::Planned;
use crate::made::MadeTables;
use crate::memory::QueryPool;
use crate::scan::ScanCounts;
use crate::streaming::{STREAMING_BATCH_ROWS, Streaming, refuse_blocking};
use crate::table_info::TableInfo;
use crate::{AgentFacts, Error, EventsLost, Execution, Functions, StoreCatalog};

/// The engine's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineArgs {
    /// Memory of one query beyond the batch it reads: groups, join tables, rows to sort.
    pub query_memory_bytes_max: usize,
    /// Memory of all queries together.
    pub memory_bytes_max: usize,
    /// Queries that run at a time. Reference: four threads of the original's agents.
    pub queries_running_max: usize,
    /// Queries that wait for one that runs to end; more are refused.
    pub queries_waiting_max: usize,
    /// Queries that stream, beside those: they run until their readers go, mostly idle. More are refused.
    pub streams_running_max: usize,
    /// Threads that one query may use. With one, rows come in the order in which they were appended.
    pub target_partitions: usize,
    /// Rows of a batch that operators make.
    pub batch_rows: usize,
}

impl Default for EngineArgs {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            query_memory_bytes_max: 256 * MIB,
            memory_bytes_max: 512 * MIB,
            queries_running_max: 4,
            queries_waiting_max: 64,
            streams_running_max: 64,
            target_partitions: 1,
            batch_rows: 8192,
        }
    }
}

/// What to compile.
#[derive(Debug, Clone, Copy)]
pub struct CompileRequest<'a> {
    /// The script.
    pub script: &'a str,
    /// Functions of the script to call; with none, the script's own displays are the outputs.
    pub exec_funcs: &'a [FuncToExecute],
    /// What the script's relative times count from.
    pub now: UnixNs,
    /// What the request says beside the script.
    pub configs: pxl::Configs<'a>,
}

/// A script that can be executed.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// At least one.
    pub outputs: Vec<Output>,
    /// What the script asks of the run.
    pub flags: Flags,
    /// That it took.
    pub compile_time: Duration,
}

/// Compiles scripts and runs them over the tables of one store. Keeps nothing of a query when it is over.
#[derive(Debug)]
pub struct Engine {
    args: EngineArgs,
    catalog: StoreCatalog,
    functions: Functions,
    memory: Arc<GreedyMemoryPool>,
    admission: Admission,
    streams: Admission,
    events_lost: EventsLost,
}

impl Engine {
    /// Over these tables, with these functions.
    pub fn new(store: Arc<TableStore>, functions: impl Into<Functions>, args: EngineArgs) -> Self {
        Self::of_agent(store, functions, AgentFacts::default(), args)
    }

    /// As [`Self::new`], of an agent that tells of itself too.
    pub fn of_agent(store: Arc<TableStore>, functions: impl Into<Functions>, facts: AgentFacts, args: EngineArgs) -> Self {
        let AgentFacts { asid, mut tables, events_lost, names: _ } = facts;
        tables.push(Arc::new(TableInfo { asid, store: Arc::clone(&store) }));
        Self {
            args,
            catalog: StoreCatalog::new(store).making(MadeTables(tables)),
            functions: functions.into(),
            memory: Arc::new(GreedyMemoryPool::new(args.memory_bytes_max)),
            admission: Admission::new(args.queries_running_max, args.queries_waiting_max),
            streams: Admission::new(args.streams_running_max, 0),
            events_lost,
        }
    }

    /// What [`Self::compile`] compiles with.
    pub fn catalog(&self) -> &StoreCatalog {
        &self.catalog
    }

    /// The functions scripts may use now.
    pub fn functions(&self) -> Arc<FunctionRegistry> {
        self.functions.now()
    }

    /// Compiles a script.
    ///
    /// # Errors
    /// Whatever is wrong with it, with its place.
    pub fn compile(&self, request: &CompileRequest<'_>) -> Result<Compiled, Diagnostics> {
        self.compile_with(request, &self.catalog)
    }

    /// Compiles a script that may also read what another catalog knows. Tables of this engine must be those of [`Self::catalog`].
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn compile_with(&self, request: &CompileRequest<'_>, catalog: &dyn Catalog) -> Result<Compiled, Diagnostics> {
        let start = Instant::now();
        let CompileRequest { script, exec_funcs, now, configs } = *request;
        let functions = self.functions.now();
        let input = pxl::CompileInput { script, exec_funcs, now, catalog, functions: &functions, configs };
        let pxl::Compiled { outputs, flags } = pxl::compile(&input)?;
        Ok(Compiled { outputs, flags, compile_time: start.elapsed() })
    }

    /// Plans all outputs over the tables as they are now, once there is room to run. Rows are read as they are asked for; to drop the
    /// execution is to cancel it. Outputs that stream follow the tables from then on, and all outputs come at once.
    ///
    /// # Errors
    /// If too many queries wait already, or a plan cannot be made.
    pub async fn execute(&self, compiled: &Compiled) -> Result<Execution, Error> {
        let streams = compiled.outputs.iter().any(|output| output.streaming);
        let slot = if streams { self.streams.slot().await? } else { self.admission.slot().await? };
        let start = Instant::now();
        let pool = Arc::new(QueryPool::new(Arc::clone(&self.memory), self.args.query_memory_bytes_max));
        let counts = Arc::new(ScanCounts::default());
        let failed = |error| Error::classify(error, pool.refusal());
        let mut outputs = Vec::with_capacity(compiled.outputs.len());
        for output in &compiled.outputs {
            if output.streaming {
                refuse_blocking(&output.plan)?;
            }
            let session = self.session(&pool, &counts, output.streaming).map_err(failed)?;
            let plan = session.create_physical_plan(&output.plan).await.map_err(failed)?;
            tracing::debug!(output = output.name, plan = %datafusion::physical_plan::displayable(plan.as_ref()).one_line(), "planned");
            outputs.push(Planned { schema: Arc::new(output.relation.arrow_schema()), plan, context: session.task_ctx() });
        }
        let execution = Execution::new(outputs, pool, counts, slot, (start, compiled.compile_time)).telling(self.events_lost.clone());
        Ok(if streams { execution.all_at_once() } else { execution })
    }

    /// Made for each query, so that nothing of it stays.
    fn session(&self, pool: &Arc<QueryPool>, counts: &Arc<ScanCounts>, streaming: bool) -> Result<SessionState, DataFusionError> {
        let batch_rows = if streaming { STREAMING_BATCH_ROWS } else { self.args.batch_rows.max(1) };
        let mut config = SessionConfig::new()
            .with_target_partitions(self.args.target_partitions.max(1))
            .with_batch_size(batch_rows)
            .with_round_robin_repartition(false)
            .with_create_default_catalog_and_schema(false)
            .with_extension(Arc::clone(counts));
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        if streaming {
            config.set_extension(Arc::new(Streaming));
        }
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::clone(pool) as _)
            // Captured payloads are never written to a disk.
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()?;
        Ok(SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).build())
    }
}
