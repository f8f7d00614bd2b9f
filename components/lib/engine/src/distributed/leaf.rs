use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, conjunction, reassign_expr_columns};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use ids::AgentId;
use table_store::Table;

use crate::bounded::{Bounded, first_partition, leaf_properties, names};
use crate::distributed::agents::Agents;
use crate::distributed::queries::TaskScope;
use crate::made;
use crate::scan::StoreScan;
use crate::streaming::STREAMING_BATCH_ROWS;
use crate::tail::StoreTail;

/// Fewer tasks than this and the planner puts the leaf on the coordinator; fewer partitions and it plans aggregates without a partial step.
const TASKS_MIN: usize = 2;

/// What a leaf wants of a table.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) table: String,
    /// All columns, as the plan was made for.
    pub(crate) schema: SchemaRef,
    /// The number of rows is what is left by the filters.
    pub(crate) bounded: Bounded,
    /// Over all columns; all of them hold for every row.
    pub(crate) filters: Vec<Arc<dyn PhysicalExpr>>,
    /// Rows that come later are wanted too.
    pub(crate) streaming: bool,
}

/// Whose rows.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// Of all of them; such a leaf cannot run.
    All(Agents),
    /// Of that one, where it runs.
    One(AgentId),
}

/// The leaf of a distributed plan. Holds no rows; where it runs it reads the tables of the agent there, as they are when it starts.
#[derive(Debug, Clone)]
pub(crate) struct AgentScan {
    asked: Arc<Asked>,
    target: Target,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl AgentScan {
    pub(crate) fn of_all(asked: Asked, agents: Agents) -> Result<Self> {
        Self::new(Arc::new(asked), Target::All(agents))
    }

    pub(crate) fn of_one(asked: Asked, agent: AgentId) -> Result<Self> {
        Self::new(Arc::new(asked), Target::One(agent))
    }

    fn new(asked: Arc<Asked>, target: Target) -> Result<Self> {
        let schema = asked.bounded.schema(&asked.schema)?;
        let partitions = match &target {
            Target::All(agents) => agents.len().max(TASKS_MIN),
            Target::One(_) => 1,
        };
        let properties = leaf_properties(schema, partitions, asked.streaming);
        Ok(Self { asked, target, properties, metrics: ExecutionPlanMetricsSet::new() })
    }

    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// None of one that was cut for an agent already.
    pub(crate) fn agents(&self) -> &[AgentId] {
        match &self.target {
            Target::All(agents) => agents,
            Target::One(_) => &[],
        }
    }

    /// As many as agents, but never one alone.
    pub(crate) fn tasks(&self) -> usize {
        self.agents().len().max(TASKS_MIN)
    }

    /// What each task runs, in the order of the agents. A second task of an only agent has no rows.
    pub(crate) fn variants(&self) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let mut variants: Vec<Arc<dyn ExecutionPlan>> = Vec::with_capacity(self.tasks());
        for agent in self.agents() {
            variants.push(Arc::new(Self::new(Arc::clone(&self.asked), Target::One(*agent))?));
        }
        variants.resize_with(self.tasks(), || Arc::new(EmptyExec::new(self.schema())));
        Ok(variants)
    }

    /// The same over one agent's own tables; none if it does not have the table.
    fn local(&self, scope: &TaskScope) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let asked = &self.asked;
        let mut wanted: Vec<usize> = asked.bounded.projection.clone().unwrap_or_else(|| (0..asked.schema.fields().len()).collect());
        let kept = wanted.len();
        let filtered: BTreeSet<usize> = asked.filters.iter().flat_map(collect_columns).map(|column| column.index()).collect();
        wanted.extend(filtered.into_iter().filter(|column| !wanted.contains(column)).collect::<Vec<_>>());
        let Bounded { times, rows_max, .. } = asked.bounded;
        let scan_max = rows_max.filter(|_| asked.filters.is_empty());
        let scan: Arc<dyn ExecutionPlan> = if let Some(table) = scope.store.table(&asked.table) {
            let columns = self.columns_of(&table, &wanted)?;
            let bounded = Bounded { projection: Some(columns), times, rows_max: scan_max };
            if asked.streaming {
                Arc::new(StoreTail::new(table, bounded)?)
            } else {
                let scan = StoreScan::new(&asked.table, table.snapshot(), bounded)?;
                Arc::new(scan.counted_in(&self.metrics))
            }
        } else if let Some(rows) = scope.made.rows(&asked.table)? {
            let scan = made::scan(&asked.table, &rows, &asked.schema, Some(&wanted), times)?;
            if scan_max.is_some() { Arc::new(GlobalLimitExec::new(scan, 0, scan_max)) } else { scan }
        } else {
            return Ok(None);
        };
        self.filtered(scan, kept).map(Some)
    }

    fn columns_of(&self, table: &Table, wanted: &[usize]) -> Result<Vec<usize>> {
        let Asked { table: name, schema, .. } = &*self.asked;
        let mut columns = Vec::with_capacity(wanted.len());
        for column in wanted {
            let Some(field) = schema.fields().get(*column) else { return internal_err!("no column {column} in {name}") };
            match table.schema().column_with_name(field.name()) {
                Some((at, own)) if own.data_type() == field.data_type() => columns.push(at),
                Some(_) | None => return exec_err!("this agent's table {name} has no such column {}", field.name()),
            }
        }
        Ok(columns)
    }

    /// With the filters, of which `scan` has all columns; those after the first `kept` are left out.
    fn filtered(&self, scan: Arc<dyn ExecutionPlan>, kept: usize) -> Result<Arc<dyn ExecutionPlan>> {
        let asked = &self.asked;
        if asked.filters.is_empty() {
            return Ok(scan);
        }
        let filters = asked.filters.iter().map(|filter| reassign_expr_columns(Arc::clone(filter), &scan.schema()));
        let predicate = conjunction(filters.collect::<Result<Vec<_>>>()?);
        let mut filter = FilterExecBuilder::new(predicate, scan).apply_projection(Some((0..kept).collect()))?;
        if asked.streaming {
            filter = filter.with_batch_size(STREAMING_BATCH_ROWS);
        }
        let filter: Arc<dyn ExecutionPlan> = Arc::new(filter.build()?);
        let rows_max = asked.bounded.rows_max;
        Ok(if rows_max.is_some() { Arc::new(GlobalLimitExec::new(filter, 0, rows_max)) } else { filter })
    }
}

impl AgentScan {
    /// The rows, counted, and the time that they take.
    fn measured(&self, mut rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let measure = BaselineMetrics::new(&self.metrics, 0);
        let schema = rows.schema();
        let batches = futures::stream::poll_fn(move |context| {
            let timer = measure.elapsed_compute().timer();
            let polled = rows.as_mut().poll_next(context);
            timer.done();
            measure.record_poll(polled)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

impl DisplayAs for AgentScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Asked { table, filters, bounded, .. } = &*self.asked;
        write!(f, "AgentScan: table={table}, columns=[{}]", names(&self.schema()))?;
        if !filters.is_empty() {
            let filters = filters.iter().map(ToString::to_string).collect::<Vec<_>>().join(" AND ");
            write!(f, ", filters=[{filters}]")?;
        }
        write!(f, "{bounded}")?;
        if self.asked.streaming {
            write!(f, ", streaming")?;
        }
        match &self.target {
            Target::All(agents) => write!(f, ", agents={}", agents.len()),
            Target::One(agent) => write!(f, ", agent={agent}"),
        }
    }
}

impl ExecutionPlan for AgentScan {
    fn name(&self) -> &'static str {
        "AgentScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a scan has no children, got {}", children.len()) }
    }

    fn apply_expressions(&self, f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        for filter in &self.asked.filters {
            if f(filter)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn fetch(&self) -> Option<usize> {
        self.asked.bounded.rows_max
    }

    fn with_fetch(&self, rows_max: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let bounded = Bounded { rows_max, ..self.asked.bounded.clone() };
        let asked = Asked { bounded, ..Asked::clone(&self.asked) };
        Some(Arc::new(Self { asked: Arc::new(asked), ..self.clone() }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let table = &self.asked.table;
        first_partition(partition)?;
        let Target::One(agent) = &self.target else {
            return internal_err!("the scan of {table} was not given to agents");
        };
        let Some(scope) = context.session_config().get_extension::<TaskScope>() else {
            return internal_err!("the scan of {table} for agent {agent} runs where there is no agent");
        };
        if scope.agent != *agent {
            return internal_err!("the scan of {table} for agent {agent} was given to agent {}", scope.agent);
        }
        let plan = self.local(&scope)?.unwrap_or_else(|| Arc::new(EmptyExec::new(self.schema())));
        Ok(scope.query.leaf(self.measured(plan.execute(0, context)?)))
    }
}
