//! Where the agents' part of a plan ends.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};
use datafusion_distributed::DistributedLeafExec;
use ids::AgentId;

use crate::distributed::leaf::AgentScan;

/// Whether an operator runs in the same stage as a leaf, that is, once on every agent.
pub(crate) fn on_agents(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.is::<AgentScan>() {
        return true;
    }
    !cuts(plan) && plan.children().into_iter().any(on_agents)
}

/// Whether a stage ends below this operator.
fn cuts(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.downcast_ref::<RepartitionExec>().is_some_and(|shuffle| matches!(shuffle.partitioning(), Partitioning::Hash(_, _)))
}

/// The agents of the leaves of one stage; none if it has no leaf. Lower stages have been sent already and are not seen.
pub(crate) fn agents_below(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Vec<AgentId>>> {
    let mut found: Option<Vec<AgentId>> = None;
    plan.apply(|node| {
        if let Some(leaf) = node.downcast_ref::<DistributedLeafExec>()
            && let Some(scan) = leaf.original().downcast_ref::<AgentScan>()
        {
            match &found {
                Some(agents) if agents != scan.agents() => return plan_err!("two scans of different agents in one stage"),
                Some(_) | None => found = Some(scan.agents().to_vec()),
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// Ends the agents' stage below every operator that needs the rows of all agents, and checks that nothing of that kind is left in it.
#[derive(Debug)]
pub(crate) struct CutAgentStage;

impl PhysicalOptimizerRule for CutAgentStage {
    fn name(&self) -> &'static str {
        "cut_agent_stage"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = plan.transform_up(cut)?.data;
        plan.apply(|node| {
            if on_agents(node) && !each_agent_alone(node) {
                return internal_err!("{} needs the rows of all agents and would run on each", node.name());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(plan)
    }
}

/// Operators with several inputs run on the coordinator. But for a union of nothing but agents' rows: each agent unites its own.
fn cut(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let children = plan.children();
    let all = children.iter().all(|child| on_agents(child));
    if children.len() < 2 || !children.iter().any(|child| on_agents(child)) || (all && plan.is::<UnionExec>()) {
        return Ok(Transformed::no(plan));
    }
    let collected = children
        .into_iter()
        .map(|child| if on_agents(child) { Arc::new(CoalescePartitionsExec::new(Arc::clone(child))) as _ } else { Arc::clone(child) });
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Ok(Transformed::yes(Arc::clone(&plan).replace_children(collected.collect(), options)?))
}

/// Operators whose results over the agents' rows, put together, are their result over all rows, or are made so by the step above.
fn each_agent_alone(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<AgentScan>()
        || plan.is::<CooperativeExec>()
        || plan.is::<FilterExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<UnionExec>()
        || plan.downcast_ref::<AggregateExec>().is_some_and(|aggregate| *aggregate.mode() == AggregateMode::Partial)
        || plan.downcast_ref::<SortExec>().is_some_and(SortExec::preserve_partitioning)
}
