//! Where functions run that know different things in different places.
//!
//! Of processes only their own agent knows; of all of Kubernetes only the coordinator. What asks for the former stays in the agents' stage,
//! what asks for the latter ends it.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
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
}

/// What an expression asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Needs {
    agent: bool,
    coordinator: bool,
}

impl Places {
    pub(crate) fn of(functions: &FunctionRegistry) -> Self {
        let mut places = BTreeMap::new();
        for function in functions.scalars() {
            let ScalarLower::Udf(udf) = &function.lower else { continue };
            match function.runs_on {
                RunsOn::Anywhere => {}
                RunsOn::Pem | RunsOn::Kelvin => drop(places.insert(udf.name().to_owned(), function.runs_on)),
            }
        }
        Self { functions: places }
    }

    pub(crate) fn needs_coordinator(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<bool> {
        Ok(self.needs([expr])?.coordinator)
    }

    fn runs_on(&self, expr: &Arc<dyn PhysicalExpr>) -> RunsOn {
        let function = expr.downcast_ref::<ScalarFunctionExpr>();
        function.and_then(|function| self.functions.get(function.fun().name()).copied()).unwrap_or_default()
    }

    fn needs<'a>(&self, exprs: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>) -> Result<Needs> {
        let mut needs = Needs::default();
        for expr in exprs {
            expr.apply(|node| {
                match self.runs_on(node) {
                    RunsOn::Anywhere => {}
                    RunsOn::Pem => needs.agent = true,
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
            let Needs { agent, coordinator } = self.needs([expr])?;
            needs = Needs { agent: needs.agent || agent, coordinator: needs.coordinator || coordinator };
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(needs)
    }

    /// A function among the expressions that runs on agents only, as scripts name it.
    fn agents_function(&self, plan: &dyn ExecutionPlan) -> Result<String> {
        let mut found = String::new();
        plan.apply_expressions(&mut |expr| {
            expr.apply(|node| {
                if let (RunsOn::Pem, Some(function)) = (self.runs_on(node), node.downcast_ref::<ScalarFunctionExpr>()) {
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
        if self.0.functions.is_empty() {
            return Ok(plan);
        }
        let plan = plan.transform_up(|node| self.place(node))?.data;
        plan.apply(|node| {
            if !on_agents(node) && self.0.needs_of(node.as_ref())?.agent {
                return self.0.refuse(node.as_ref(), BEFORE_BLOCKING);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(plan)
    }
}

impl PlaceFunctions {
    fn place(&self, node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
        if node.children().is_empty() || !on_agents(&node) {
            return Ok(Transformed::no(node));
        }
        match self.0.needs_of(node.as_ref())? {
            Needs { coordinator: false, .. } => Ok(Transformed::no(node)),
            Needs { coordinator: true, agent: false } => {
                let children = node.children().into_iter().map(|child| collected(Arc::clone(child))).collect();
                let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
                Ok(Transformed::yes(node.replace_children(children, options)?))
            }
            Needs { coordinator: true, agent: true } => Ok(Transformed::yes(self.split(&node)?)),
        }
    }

    /// In two: what agents are asked for below, the rest above.
    fn split(&self, node: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
            let mut below = Below::new(&self.0, projection.input());
            let above =
                projection.expr().iter().map(|expr| Ok(ProjectionExpr { expr: below.take(&expr.expr)?, alias: expr.alias.clone() }));
            let above = above.collect::<Result<Vec<_>>>()?;
            self.check(node, above.iter().map(|expr| &expr.expr))?;
            return Ok(Arc::new(ProjectionExec::try_new(above, collected(below.plan()?))?));
        }
        let Some(filter) = node.downcast_ref::<FilterExec>() else { return self.0.refuse(node.as_ref(), NOT_OF_KELVINS) };
        let mut below = Below::new(&self.0, filter.input());
        let predicate = below.take(filter.predicate())?;
        self.check(node, [&predicate])?;
        let schema = filter.input().schema();
        let kept: Vec<usize> = match filter.projection() {
            Some(columns) => columns.to_vec(),
            None => (0..schema.fields().len()).collect(),
        };
        let mut columns = Vec::with_capacity(kept.len());
        for column in kept {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(schema.field(column).name(), column));
            let Some(at) = below.take(&column)?.downcast_ref::<Column>().map(Column::index) else {
                return internal_err!("a column became something else");
            };
            columns.push(at);
        }
        let above = FilterExecBuilder::new(predicate, collected(below.plan()?)).apply_projection(Some(columns))?;
        Ok(Arc::new(above.with_batch_size(filter.batch_size()).build()?))
    }

    /// Nothing is left above that agents would have to be asked for.
    fn check<'a>(&self, node: &Arc<dyn ExecutionPlan>, above: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>) -> Result<()> {
        if self.0.needs(above)?.agent { self.0.refuse(node.as_ref(), NOT_OF_KELVINS) } else { Ok(()) }
    }
}

fn collected(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(CoalescePartitionsExec::new(plan))
}

/// The lower half of an operator that is split: the columns that the upper half reads, each once.
struct Below<'a> {
    places: &'a Places,
    input: &'a Arc<dyn ExecutionPlan>,
    columns: Vec<Arc<dyn PhysicalExpr>>,
}

impl<'a> Below<'a> {
    fn new(places: &'a Places, input: &'a Arc<dyn ExecutionPlan>) -> Self {
        Self { places, input, columns: Vec::new() }
    }

    /// `expr` over the lower half: columns, and what agents are asked for, are read from there.
    fn take(&mut self, expr: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let taken = Arc::clone(expr).transform_down(|node| {
            let Needs { agent, coordinator } = self.places.needs([&node])?;
            if !node.is::<Column>() && (!agent || coordinator) {
                return Ok(Transformed::no(node));
            }
            let at = self.columns.iter().position(|column| column.eq(&node)).unwrap_or_else(|| {
                self.columns.push(Arc::clone(&node));
                self.columns.len() - 1
            });
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(&name(at), at));
            Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
        })?;
        Ok(taken.data)
    }

    fn plan(self) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = self.columns.into_iter().enumerate().map(|(at, expr)| ProjectionExpr { expr, alias: name(at) });
        Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), Arc::clone(self.input))?))
    }
}

/// Of a column of the lower half.
fn name(at: usize) -> String {
    format!("below_{at}")
}
