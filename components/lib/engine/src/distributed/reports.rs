//! What agents say that their part of a plan took, for a query that is analyzed.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion_distributed::{MaybeEncoded, SetPlanRequest, Stage, TaskKey, TaskMetrics, WorkerToCoordinatorMsg};
use futures::StreamExt;
use futures::stream::{BoxStream, once, unfold};
use ids::AgentId;
use parking_lot::Mutex;

/// A stage of one output's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StageKey {
    /// Of the output's plan, made anew for each.
    plan: u128,
    stage: usize,
}

impl StageKey {
    pub(crate) fn of(stage: &Stage) -> Self {
        Self { plan: stage.query_id().as_u128(), stage: stage.num() }
    }

    fn of_task(task: &TaskKey) -> Self {
        Self { plan: task.query_id.as_u128(), stage: task.stage_id }
    }
}

/// What one task took.
#[derive(Debug, Clone)]
pub(crate) struct TaskReport {
    pub(crate) agent: AgentId,
    pub(crate) stage: StageKey,
    /// As it was sent.
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    /// Of each operator before those that it reads from.
    pub(crate) metrics: Vec<MetricsSet>,
}

impl TaskReport {
    /// What its operators took together.
    pub(crate) fn time_ns(&self) -> usize {
        self.metrics.iter().filter_map(MetricsSet::elapsed_compute).sum()
    }
}

/// The reports of one query.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    tasks: Mutex<Vec<TaskReport>>,
}

impl Reports {
    pub(crate) fn list(&self) -> Vec<TaskReport> {
        self.tasks.lock().clone()
    }
}

/// A task whose report is waited for. There is always one in the end: whoever puts the reports together waits for all of them.
pub(crate) struct Awaited {
    reports: Arc<Reports>,
    agent: AgentId,
    stage: StageKey,
    plan: Option<Arc<dyn ExecutionPlan>>,
    operators: usize,
}

impl Awaited {
    pub(crate) fn new(reports: Arc<Reports>, agent: AgentId, request: &SetPlanRequest) -> Self {
        let plan = match &request.plan {
            MaybeEncoded::Decoded(plan) => Some(Arc::clone(plan)),
            MaybeEncoded::Encoded(_) => None,
        };
        let mut operators = 0;
        let counted = plan.as_ref().map(|plan| {
            plan.apply(|_| {
                operators += 1;
                Ok(TreeNodeRecursion::Continue)
            })
        });
        // Counting cannot fail.
        drop(counted);
        Self { reports, agent, stage: StageKey::of_task(&request.task_key), plan, operators }
    }

    /// Of an agent that says nothing.
    pub(crate) fn nothing(&self) -> BoxStream<'static, Result<WorkerToCoordinatorMsg>> {
        let empty = self.empty();
        once(async move { Ok(empty) }).boxed()
    }

    fn empty(&self) -> WorkerToCoordinatorMsg {
        let pre_order_plan_metrics = vec![MetricsSet::new(); self.operators];
        WorkerToCoordinatorMsg::TaskMetrics(TaskMetrics { pre_order_plan_metrics, task_metrics: MetricsSet::new() })
    }

    /// Notes the report when it comes, which ends the answers; an empty one is put in the place of one that never comes.
    pub(crate) fn watch(
        self,
        answers: BoxStream<'static, Result<WorkerToCoordinatorMsg>>,
    ) -> BoxStream<'static, Result<WorkerToCoordinatorMsg>> {
        unfold(Some((self, answers)), |state| async move {
            let (task, mut answers) = state?;
            match answers.next().await {
                Some(Ok(WorkerToCoordinatorMsg::TaskMetrics(told))) => {
                    task.note(&told);
                    Some((Ok(WorkerToCoordinatorMsg::TaskMetrics(told)), None))
                }
                Some(Ok(other @ (WorkerToCoordinatorMsg::LoadInfo(_) | WorkerToCoordinatorMsg::LoadInfoEos))) => {
                    Some((Ok(other), Some((task, answers))))
                }
                Some(Err(error)) => Some((Err(error), None)),
                None => Some((Ok(task.empty()), None)),
            }
        })
        .boxed()
    }

    fn note(&self, told: &TaskMetrics) {
        let Some(plan) = &self.plan else { return };
        // The second task of an only agent reads nothing.
        if self.operators == 0 || told.pre_order_plan_metrics.len() != self.operators {
            return;
        }
        let metrics = told.pre_order_plan_metrics.clone();
        self.reports.tasks.lock().push(TaskReport { agent: self.agent, stage: self.stage, plan: Arc::clone(plan), metrics });
    }
}
