//! How a distributed query is made, step by step, and what each step took.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion_distributed::{
    DistributedExec, DistributedLeafExec, DistributedMetricsFormat, NetworkBoundaryExt, Stage, rewrite_distributed_plan_with_metrics,
};
use ids::AgentId;

use crate::distributed::execution::END_WAIT_MAX;
use crate::distributed::reports::{StageKey, TaskReport};

/// Agents whose steps are told one by one, the slowest first; of the others it is said how many they are. Some kilobytes for each.
const AGENTS_TOLD_MAX: usize = 50;

/// Bytes of one step's text: a projection of many columns has long ones.
const TEXT_BYTES_MAX: usize = 2_000;

/// Where a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepAt {
    /// Where the rows of all agents come together.
    Coordinator,
    /// On each agent.
    EachAgent,
    /// On that one.
    Agent(AgentId),
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanStep {
    /// Below the last step before it with a smaller depth, which reads its rows.
    pub depth: usize,
    /// Where it runs.
    pub at: StepAt,
    /// For people. With `metrics=[…]` at its end if times were asked for and are known.
    pub text: String,
}

/// The steps of a plan. With `reports`, each agent's own with what they took, and what the coordinator's took.
pub(crate) async fn steps(plan: &Arc<dyn ExecutionPlan>, reports: Option<&[TaskReport]>) -> Vec<PlanStep> {
    let mut steps = Steps { told: Vec::new(), reports: reports.map(by_stage), metrics: reports.is_some() };
    let plan = if reports.is_some() { with_metrics(plan).await } else { Arc::clone(plan) };
    match plan.downcast_ref::<DistributedExec>().and_then(|whole| whole.children().first().copied()) {
        Some(head) => steps.add(head, 0, StepAt::Coordinator),
        None => steps.add(&plan, 0, StepAt::Coordinator),
    }
    steps.told
}

/// What was measured lies in copies of the operators, made when the query began. Without it the plan as it is.
async fn with_metrics(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let rewritten = rewrite_distributed_plan_with_metrics(Arc::clone(plan), DistributedMetricsFormat::Aggregated);
    match tokio::time::timeout(END_WAIT_MAX, rewritten).await {
        Ok(Ok(plan)) => return plan,
        Ok(Err(error)) => tracing::debug!(%error, "what the steps of a query took is not known"),
        Err(_) => tracing::debug!("what the steps of a query took did not come in time"),
    }
    Arc::clone(plan)
}

fn by_stage(reports: &[TaskReport]) -> BTreeMap<StageKey, Vec<&TaskReport>> {
    let mut stages: BTreeMap<StageKey, Vec<&TaskReport>> = BTreeMap::new();
    for report in reports {
        stages.entry(report.stage).or_default().push(report);
    }
    for tasks in stages.values_mut() {
        tasks.sort_by_key(|task| (Reverse(task.time_ns()), task.agent));
    }
    stages
}

struct Steps<'a> {
    told: Vec<PlanStep>,
    reports: Option<BTreeMap<StageKey, Vec<&'a TaskReport>>>,
    metrics: bool,
}

impl Steps<'_> {
    fn add(&mut self, plan: &Arc<dyn ExecutionPlan>, depth: usize, at: StepAt) {
        if let Some(leaf) = plan.downcast_ref::<DistributedLeafExec>() {
            return self.add(leaf.original(), depth, at);
        }
        let metrics = if self.metrics && at == StepAt::Coordinator { plan.metrics() } else { None };
        self.told.push(PlanStep { depth, at, text: text(plan, metrics) });
        match plan.as_network_boundary() {
            Some(boundary) => self.add_stage(boundary.input_stage(), depth + 1),
            None => plan.children().into_iter().for_each(|child| self.add(child, depth + 1, at)),
        }
    }

    fn add_stage(&mut self, stage: &Stage, depth: usize) {
        let tasks = self.reports.as_mut().and_then(|stages| stages.remove(&StageKey::of(stage))).unwrap_or_default();
        if tasks.is_empty() {
            // Not asked for, or nobody has answered.
            stage.local_plan().into_iter().for_each(|plan| self.add(plan, depth, StepAt::EachAgent));
            return;
        }
        for task in tasks.iter().take(AGENTS_TOLD_MAX) {
            let mut metrics = task.metrics.iter();
            self.add_task(&task.plan, depth, task.agent, &mut metrics);
        }
        if let Some(others) = tasks.len().checked_sub(AGENTS_TOLD_MAX).filter(|others| *others > 0) {
            self.told.push(PlanStep { depth, at: StepAt::EachAgent, text: format!("{others} more agents, none of which took longer") });
        }
    }

    /// Metrics come in the order of the plan: each operator before those that it reads from.
    fn add_task<'m>(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        depth: usize,
        agent: AgentId,
        metrics: &mut impl Iterator<Item = &'m MetricsSet>,
    ) {
        self.told.push(PlanStep { depth, at: StepAt::Agent(agent), text: text(plan, metrics.next().cloned()) });
        plan.children().into_iter().for_each(|child| self.add_task(child, depth + 1, agent, metrics));
    }
}

fn text(plan: &Arc<dyn ExecutionPlan>, metrics: Option<MetricsSet>) -> String {
    let mut text = displayable(plan.as_ref()).one_line().to_string().trim_end().to_owned();
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
    if let Some(metrics) = metrics {
        let metrics = metrics.aggregate_by_name().sorted_for_display().timestamps_removed();
        text = format!("{text}, metrics=[{metrics}]");
    }
    text
}
