//! How the coordinator plans.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{FunctionRegistry as _, TaskContext};
use datafusion::prelude::SessionConfig;
use datafusion_distributed::{
    DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedExt, DistributedLeafExec, RouteTasksEvent, RouteTasksEventResponse,
    ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse, SessionStateBuilderExt, WorkerResolver,
};
use http::{HeaderMap, HeaderValue};
use ids::QueryId;
use pxl::FunctionRegistry;
use url::Url;

use crate::distributed::CoordinatorArgs;
use crate::distributed::agents::url_of;
use crate::distributed::channels::{QueryLinks, Resolver};
use crate::distributed::codec::LeafCodec;
use crate::distributed::leaf::AgentScan;
use crate::distributed::places::{PlaceFunctions, Places};
use crate::distributed::rule::{CutAgentStage, agents_below, on_agents};
use crate::streaming::{STREAMING_BATCH_ROWS, Streaming};

/// Which query a task is of.
pub(crate) const QUERY_HEADER: &str = "x-px-query-id";
/// How many milliseconds it may still run.
pub(crate) const LEFT_MS_HEADER: &str = "x-px-left-ms";

/// Tasks of a stage. One for each agent; more agents than this are no Vizier. Without it the planner takes the number of known workers.
const TASKS_MAX: usize = 100_000;

/// What is particular about a query.
pub(crate) struct OfQuery {
    pub(crate) query: QueryId,
    /// How long it may still run.
    pub(crate) left: Duration,
    pub(crate) streaming: bool,
    /// Agents say what each step took.
    pub(crate) analyze: bool,
    pub(crate) places: Arc<Places>,
}

/// One query's session: nothing of it stays.
pub(crate) fn session(
    args: &CoordinatorArgs,
    functions: &FunctionRegistry,
    runtime: Arc<RuntimeEnv>,
    links: &Arc<QueryLinks>,
    of_query: OfQuery,
) -> Result<SessionState> {
    let OfQuery { query, left, streaming, analyze, places } = of_query;
    let mut headers = HeaderMap::new();
    let value = |text: String| HeaderValue::from_str(&text).map_err(|error| DataFusionError::External(Box::new(error)));
    headers.insert(QUERY_HEADER, value(query.to_string())?);
    headers.insert(LEFT_MS_HEADER, value(left.as_millis().to_string())?);
    let mut session = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config(args, streaming))
        .with_runtime_env(runtime)
        .with_physical_optimizer_rule(Arc::new(PlaceFunctions(places)))
        .with_physical_optimizer_rule(Arc::new(CutAgentStage))
        .with_distributed_planner()
        .with_distributed_user_codec(LeafCodec)
        .with_distributed_channel_resolver(Resolver(Arc::clone(links)))
        .with_distributed_worker_resolver(NoWorkers)
        .with_distributed_max_tasks_per_stage(TASKS_MAX)?
        .with_distributed_broadcast_joins(false)?
        .with_distributed_children_isolator_unions(false)?
        // They are waited for: `reports` sees to it that they come from agents that are gone, too.
        .with_distributed_metrics_collection(analyze)?
        .with_distributed_worker_connection_buffer_budget_bytes(args.agent_buffer_bytes_max)?
        .with_distributed_passthrough_headers(headers)?
        .with_distributed_desired_task_count_handler(tasks_of)
        .with_distributed_scale_up_leaf_node_handler(variants_of)
        .with_distributed_route_tasks_handler(route)
        .build();
    register(&mut session, functions)?;
    Ok(session)
}

/// Enough to read plans.
pub(crate) fn functions_only(functions: &FunctionRegistry) -> Result<TaskContext> {
    let mut session = SessionStateBuilder::new().with_default_features().build();
    register(&mut session, functions)?;
    Ok(TaskContext::from(&session))
}

fn register(session: &mut SessionState, functions: &FunctionRegistry) -> Result<()> {
    for function in functions.udfs() {
        session.register_udf(function)?;
    }
    for function in functions.udafs() {
        session.register_udaf(function)?;
    }
    Ok(())
}

fn config(args: &CoordinatorArgs, streaming: bool) -> SessionConfig {
    // One partition and no other workers: what needs the rows of all agents runs here, and agents send to nobody else.
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(if streaming { STREAMING_BATCH_ROWS } else { args.batch_rows.max(1) })
        .with_round_robin_repartition(false)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    // Otherwise a join would collect one side on every agent.
    options.optimizer.hash_join_single_partition_threshold = 0;
    options.optimizer.hash_join_single_partition_threshold_rows = 0;
    if streaming {
        config.set_extension(Arc::new(Streaming));
    }
    config
}

/// A task for each agent where the leaves are, one above.
fn tasks_of(event: DesiredTaskCountEvent<'_>) -> Option<Result<DesiredTaskCountEventResponse>> {
    if let Some(scan) = event.plan.downcast_ref::<AgentScan>() {
        return Some(Ok(DesiredTaskCountEventResponse::desired(scan.tasks())));
    }
    if event.plan.children().is_empty() || on_agents(event.plan) {
        return None;
    }
    Some(Ok(DesiredTaskCountEventResponse::maximum(1)))
}

/// Refuses a plan that would ask some agents only: it would answer, and be wrong.
fn variants_of(event: ScaleUpLeafNodeEvent<'_>) -> Option<Result<ScaleUpLeafNodeEventResponse>> {
    let scan = event.plan.downcast_ref::<AgentScan>()?;
    let leaf = || {
        if scan.tasks() != event.task_count {
            return plan_err!("a scan of {} agents was planned as {} tasks", scan.agents().len(), event.task_count);
        }
        Ok(ScaleUpLeafNodeEventResponse::new(Arc::new(DistributedLeafExec::try_new(Arc::clone(event.plan), scan.variants()?)?)))
    };
    Some(leaf())
}

#[expect(clippy::needless_pass_by_value, clippy::unnecessary_wraps, reason = "the signature of a handler")]
fn route(event: RouteTasksEvent<'_>) -> Option<Result<RouteTasksEventResponse>> {
    let urls = || {
        let agents = agents_below(event.plan)?.unwrap_or_default();
        if agents.is_empty() {
            return plan_err!("a stage that is neither the agents' nor the coordinator's");
        }
        let urls = agents.iter().cycle().take(event.task_count).map(|agent| url_of(*agent)).collect::<Result<_>>()?;
        Ok(RouteTasksEventResponse::new(urls))
    };
    Some(urls())
}

/// Tasks go to the agents of the leaves alone.
struct NoWorkers;

impl WorkerResolver for NoWorkers {
    fn get_urls(&self) -> Result<Vec<Url>> {
        Ok(Vec::new())
    }
}
