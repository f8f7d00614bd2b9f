//! Where functions run that know different things in different places.
//!
//! Of processes only their own agent knows; of all of Kubernetes only the coordinator. What asks for the former stays in the agents' stage,
//! what asks for the latter ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::Volatility;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};
use pxl::{FunctionRegistry, RunsOn, ScalarLower};

use crate::distributed::rule::on_agents;
use crate::error::Misplaced;

/// The reference says the same of them.
const BEFORE_BLOCKING: &str = "must execute before blocking nodes such as limit, agg, and join: only the node that has a row can tell";
const NOT_OF_KELVINS: &str = "runs on the nodes, and is given what is known only where all of them come together";

/// Which functions run where, by the names that plans have for them. The others run anywhere.
#[derive(Debug, Default)]
pub(crate) struct Places {
    functions: BTreeMap<String, RunsOn>,
    /// Tell where they run, and can anywhere: with a row's own agent if it can be, else with the coordinator.
    here: BTreeSet<String>,
}

/// What an expression asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Needs {
    agent: bool,
    /// Nobody else can tell.
    agent_alone: bool,
    coordinator: bool,
}

impl Places {
    pub(crate) fn of(functions: &FunctionRegistry) -> Self {
        let (mut places, mut here) = (BTreeMap::new(), BTreeSet::new());
        for function in functions.scalars() {
            let ScalarLower::Udf(udf) = &function.lower else { continue };
            match function.runs_on {
                RunsOn::Anywhere if udf.signature().volatility == Volatility::Volatile => drop(here.insert(udf.name().to_owned())),
                RunsOn::Anywhere => {}
                RunsOn::Pem | RunsOn::Kelvin => drop(places.insert(udf.name().to_owned(), function.runs_on)),
            }
        }
        Self { functions: places, here }
    }

    pub(crate) fn needs_coordinator(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<bool> {
        Ok(self.needs([expr])?.coordinator)
    }

    fn runs_on(&self, expr: &Arc<dyn PhysicalExpr>) -> RunsOn {
        let function = expr.downcast_ref::<ScalarFunctionExpr>();
        let place = function.and_then(|function| self.functions.get(function.fun().name()).copied()).unwrap_or_default();
        if self.is_here(expr) { RunsOn::Pem } else { place }
    }

    fn is_here(&self, expr: &Arc<dyn PhysicalExpr>) -> bool {
        expr.downcast_ref::<ScalarFunctionExpr>().is_some_and(|function| self.here.contains(function.fun().name()))
    }

    fn needs<'a>(&self, exprs: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>) -> Result<Needs> {
        let mut needs = Needs::default();
        for expr in exprs {
            expr.apply(|node| {
                match self.runs_on(node) {
                    RunsOn::Anywhere => {}
                    RunsOn::Pem => {
                        needs.agent = true;
                        needs.agent_alone |= !self.is_here(node);
                    }
                    RunsOn::Kelvin => needs.coordinator = true,
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(needs)
    }

    fn needs_of(&self, plan: &dyn ExecutionPlan) -> Result<Needs> {
        let mut needs = Needs::default();
        plan.apply_expressions(&mut |expr| {
            let Needs { agent, agent_alone, coordinator } = self.needs([expr])?;
            needs = Needs {
                agent: needs.agent || agent,
                agent_alone: needs.agent_alone || agent_alone,
                coordinator: needs.coordinator || coordinator,
            };
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(needs)
    }

    /// A function among the expressions that runs on agents only, as scripts name it.
    fn agents_function(&self, plan: &dyn ExecutionPlan) -> Result<String> {
        let mut found = String::new();
        plan.apply_expressions(&mut |expr| {
            expr.apply(|node| {
                let alone = self.runs_on(node) == RunsOn::Pem && !self.is_here(node);
                if let (true, Some(function)) = (alone, node.downcast_ref::<ScalarFunctionExpr>()) {
                    let name = function.fun().name();
                    name.strip_prefix("px_").unwrap_or(name).clone_into(&mut found);
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(found)
    }

    fn refuse<T>(&self, plan: &dyn ExecutionPlan, rule: &'static str) -> Result<T> {
        let misplaced = Misplaced { function: format!("px.{}", self.agents_function(plan)?), rule };
        Err(DataFusionError::External(Box::new(misplaced)))
    }
}

/// Ends the agents' stage below what only the coordinator knows, keeps in it what only agents know, and refuses what can be neither.
#[derive(Debug)]
pub(crate) struct PlaceFunctions(pub(crate) Arc<Places>);

impl PhysicalOptimizerRule for PlaceFunctions {
    fn name(&self) -> &'static str {
        "place_functions"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if self.0.functions.is_empty() && self.0.here.is_empty() {
            return Ok(plan);
        }
        let plan = plan.transform_up(|node| self.place(node))?.data;
        plan.apply(|node| {
            if !on_agents(node) && self.0.needs_of(node.as_ref())?.agent_alone {
                return self.0.refuse(node.as_ref(), BEFORE_BLOCKING);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(plan)
    }
}

impl PlaceFunctions {
    fn place(&self, node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
        if node.children().is_empty() {
            return Ok(Transformed::no(node));
        }
        let needs = self.0.needs_of(node.as_ref())?;
        match (on_agents(&node), needs) {
            (true, Needs { coordinator: false, .. }) | (false, Needs { agent: false, .. }) => Ok(Transformed::no(node)),
            (true, Needs { coordinator: true, agent: false, .. }) => Ok(Transformed::yes(over_collected(&node)?)),
            (true, Needs { coordinator: true, agent: true, agent_alone }) => match lift(&self.0, &node)? {
                Some(lifted) => Ok(Transformed::yes(lifted)),
                None if agent_alone => self.0.refuse(node.as_ref(), NOT_OF_KELVINS),
                None => Ok(Transformed::yes(over_collected(&node)?)),
            },
            // The optimizer takes limits and filters below what is computed of each row.
            (false, Needs { agent: true, .. }) => Ok(lift(&self.0, &node)?.map_or(Transformed::no(node), Transformed::yes)),
        }
    }
}

/// The operator, over rows that bring along what only agents know. None if it is no such operator, or its rows come from elsewhere.
fn lift(places: &Places, node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let children = node.children();
    let [input] = children[..] else { return Ok(None) };
    let mut taken = Taken { places, columns: input.schema().fields().len(), exprs: Vec::new() };
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        let above = projection.expr().iter().map(|expr| Ok(ProjectionExpr { expr: taken.take(&expr.expr)?, alias: expr.alias.clone() }));
        let above = above.collect::<Result<Vec<_>>>()?;
        check(places, node, above.iter().map(|expr| &expr.expr))?;
        let Some(input) = carry(places, input, taken.exprs)? else { return Ok(None) };
        return Ok(Some(Arc::new(ProjectionExec::try_new(above, input)?)));
    }
    let Some(filter) = node.downcast_ref::<FilterExec>() else { return Ok(None) };
    let predicate = taken.take(filter.predicate())?;
    check(places, node, [&predicate])?;
    let kept = kept(filter);
    let Some(input) = carry(places, input, taken.exprs)? else { return Ok(None) };
    Ok(Some(filtered(filter, predicate, kept, input)?))
}

/// Nothing is left above that agents would have to be asked for.
fn check<'a>(places: &Places, node: &Arc<dyn ExecutionPlan>, above: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>) -> Result<()> {
    if places.needs(above)?.agent_alone { places.refuse(node.as_ref(), NOT_OF_KELVINS) } else { Ok(()) }
}

/// The rows of `plan`, put together, with these expressions over them as further columns at the end; computed on the agents. None if the
/// rows come from elsewhere, or something on the way needs all of them.
fn carry(places: &Places, plan: &Arc<dyn ExecutionPlan>, exprs: Vec<Arc<dyn PhysicalExpr>>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if places.needs(&exprs)?.coordinator {
        return Ok(None);
    }
    if on_agents(plan) {
        return Ok(Some(collected(with_columns(plan, exprs)?)));
    }
    let children = plan.children();
    let [input] = children[..] else { return Ok(None) };
    let width = input.schema().fields().len();
    if counts_rows(plan) {
        let Some(input) = (if on_agents(input) { Some(with_columns(input, exprs)?) } else { carry(places, input, exprs)? }) else {
            return Ok(None);
        };
        return Ok(Some(over(plan, vec![input])?));
    }
    let number = exprs.len();
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let below = exprs.iter().map(|expr| replaced(expr, |at| projection.expr().get(at).map(|expr| Arc::clone(&expr.expr))));
        let Some(input) = carry(places, input, below.collect::<Result<_>>()?)? else { return Ok(None) };
        let further = (0..number).map(|at| {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(&name(at), width + at));
            ProjectionExpr { expr: column, alias: name(at) }
        });
        let columns: Vec<ProjectionExpr> = projection.expr().iter().cloned().chain(further).collect();
        return Ok(Some(Arc::new(ProjectionExec::try_new(columns, input)?)));
    }
    let Some(filter) = plan.downcast_ref::<FilterExec>() else { return Ok(None) };
    let mut kept = kept(filter);
    let schema = input.schema();
    let column = |at: usize| Some(Arc::new(Column::new(schema.field(at).name(), at)) as Arc<dyn PhysicalExpr>);
    let below = exprs.iter().map(|expr| replaced(expr, |at| kept.get(at).copied().and_then(column)));
    let below = below.collect::<Result<_>>()?;
    let Some(input) = carry(places, input, below)? else { return Ok(None) };
    kept.extend(width..width + number);
    Ok(Some(filtered(filter, Arc::clone(filter.predicate()), kept, input)?))
}

/// `plan` on the agents, with further columns.
fn with_columns(plan: &Arc<dyn ExecutionPlan>, exprs: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    let own = schema.fields().iter().enumerate().map(|(at, field)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), at));
        ProjectionExpr { expr: column, alias: field.name().clone() }
    });
    let further = exprs.into_iter().enumerate().map(|(at, expr)| ProjectionExpr { expr, alias: name(at) });
    Ok(Arc::new(ProjectionExec::try_new(own.chain(further).collect::<Vec<_>>(), Arc::clone(plan))?))
}

/// The columns of its input that a filter yields.
fn kept(filter: &FilterExec) -> Vec<usize> {
    match filter.projection() {
        Some(columns) => columns.to_vec(),
        None => (0..filter.input().schema().fields().len()).collect(),
    }
}

fn filtered(
    filter: &FilterExec,
    predicate: Arc<dyn PhysicalExpr>,
    kept: Vec<usize>,
    input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let filtered = FilterExecBuilder::new(predicate, input).apply_projection(Some(kept))?;
    Ok(Arc::new(filtered.with_batch_size(filter.batch_size()).with_fetch(filter.fetch()).build()?))
}

/// `expr` with other expressions in the place of its columns.
fn replaced(expr: &Arc<dyn PhysicalExpr>, by: impl Fn(usize) -> Option<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
    let replaced = Arc::clone(expr).transform_down(|node| {
        let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
        let Some(other) = by(column.index()) else { return internal_err!("no column {}", column.name()) };
        Ok(Transformed::new(other, true, TreeNodeRecursion::Jump))
    })?;
    Ok(replaced.data)
}

fn counts_rows(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<CoalescePartitionsExec>() || plan.is::<GlobalLimitExec>() || plan.is::<LocalLimitExec>()
}

fn over(plan: &Arc<dyn ExecutionPlan>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
    Arc::clone(plan).replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// The operator where all rows come together.
fn over_collected(node: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let children = node.children().into_iter().map(|child| collected(Arc::clone(child))).collect();
    over(node, children)
}

fn collected(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(CoalescePartitionsExec::new(plan))
}

/// What an operator leaves to the agents.
struct Taken<'a> {
    places: &'a Places,
    /// Of the rows it gets.
    columns: usize,
    /// Further columns.
    exprs: Vec<Arc<dyn PhysicalExpr>>,
}

impl Taken<'_> {
    /// `expr` with columns in the place of what agents are asked for.
    fn take(&mut self, expr: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let taken = Arc::clone(expr).transform_down(|node| {
            let Needs { agent, coordinator, .. } = self.places.needs([&node])?;
            if !agent || coordinator {
                return Ok(Transformed::no(node));
            }
            let at = self.exprs.iter().position(|expr| expr.eq(&node)).unwrap_or_else(|| {
                self.exprs.push(Arc::clone(&node));
                self.exprs.len() - 1
            });
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(&name(at), self.columns + at));
            Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
        })?;
        Ok(taken.data)
    }
}

/// Of a further column, by its place among them.
fn name(at: usize) -> String {
    format!("of_agent_{at}")
}
