//! The connections of one query. A broken connection costs an agent's rows, not the query.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_distributed::{
    ChannelResolver, CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse, SetPlanRequest,
    WorkerChannel, WorkerToCoordinatorMsg,
};
use futures::StreamExt;
use futures::stream::{BoxStream, empty};
use http::HeaderMap;
use ids::{AgentId, QueryId};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::distributed::agents::agent_of;
use crate::distributed::execution::END_WAIT_MAX;
use crate::distributed::missing::MissingAgents;
use crate::distributed::reports::{Awaited, Reports};
use crate::distributed::{AgentReads, Wanted};

/// How long agents are waited for that are asked whether they matter: longer, and it costs more than it saves.
const MATTERS_WAIT_MAX: Duration = Duration::from_millis(100);

/// One connection to one agent. A query stays with the connection it began with, even when the agent dials again: the new one knows
/// nothing of the query's tasks.
#[async_trait]
pub trait AgentLink: Send + Sync + 'static {
    /// A client of the agent's worker over this connection.
    fn worker_channel(&self) -> Box<dyn WorkerChannel>;

    /// What broke, for people, if the error says that the connection did. None for what the agent itself refused.
    fn transport_failure(&self, error: &DataFusionError) -> Option<String>;

    /// Stops what still runs of a query there, and says what was read for it. None if it is not known there, or cannot be asked.
    async fn end_query(&self, query: QueryId) -> Option<AgentReads>;

    /// Whether rows of the agent may matter to a query, as it knows it itself at this moment. True if it cannot be asked.
    async fn may_matter(&self, wanted: &Wanted) -> bool;

    /// Whether the query still runs there: asked of an agent that has nothing to say. False if it cannot be asked.
    async fn runs_query(&self, query: QueryId) -> bool;
}

/// The connections there are.
pub trait AgentTransport: Send + Sync + 'static {
    /// The newest connection of that agent.
    ///
    /// # Errors
    /// Why there is none, for people.
    fn link(&self, agent: AgentId) -> Result<Arc<dyn AgentLink>, String>;
}

/// The connections of one query.
pub(crate) struct QueryLinks {
    links: BTreeMap<AgentId, Link>,
    pub(crate) missing: MissingAgents,
    silence_max: Duration,
    /// If it streams: then an agent may have nothing to say for as long as it likes, if it says so when asked.
    streams: Option<QueryId>,
    /// What each task took, if that is asked for.
    pub(crate) reports: Option<Arc<Reports>>,
}

#[derive(Clone)]
struct Link {
    link: Arc<dyn AgentLink>,
    /// Cancelled with the first failure: then all streams of the agent end.
    lost: CancellationToken,
}

impl QueryLinks {
    /// Of those agents that are connected; the others are missing from the start.
    pub(crate) fn new(transport: &dyn AgentTransport, agents: &[AgentId], silence_max: Duration, streams: Option<QueryId>) -> Self {
        let missing = MissingAgents::default();
        let mut links = BTreeMap::new();
        for agent in agents {
            let lost = CancellationToken::new();
            match transport.link(*agent) {
                Ok(link) => drop(links.insert(*agent, Link { link, lost })),
                Err(reason) => missing.note(*agent, reason, &lost),
            }
        }
        Self { links, missing, silence_max, streams, reports: None }
    }

    /// Whether agents are asked what their tasks took.
    pub(crate) fn reporting(self, reporting: bool) -> Self {
        Self { reports: reporting.then(Arc::default), ..self }
    }

    /// In order, each once.
    pub(crate) fn agents(&self) -> Vec<AgentId> {
        self.links.keys().copied().collect()
    }

    /// Leaves out the agents that say that their rows cannot matter, and tells which. Asked now, they answer for the names that they know while
    /// the query runs; one that does not answer stays.
    pub(crate) async fn leave_out(&mut self, wanted: &Wanted) -> Vec<AgentId> {
        let asked = self.links.iter().map(|(agent, link)| async move {
            let may_matter = tokio::time::timeout(MATTERS_WAIT_MAX, link.link.may_matter(wanted)).await;
            (*agent, may_matter.unwrap_or(true))
        });
        let said = futures::future::join_all(asked).await;
        let left_out: Vec<_> = said.into_iter().filter(|(_, may_matter)| !may_matter).map(|(agent, _)| agent).collect();
        for agent in &left_out {
            self.links.remove(agent);
        }
        left_out
    }

    /// Stops the query on every agent that can be asked; what those that answered read for it.
    pub(crate) async fn end(&self, query: QueryId) -> Vec<(AgentId, AgentReads)> {
        let asked = self.links.iter().filter(|(_, link)| !link.lost.is_cancelled());
        let asked = asked.map(|(agent, link)| async move { Some((*agent, link.link.end_query(query).await?)) });
        futures::future::join_all(asked).await.into_iter().flatten().collect()
    }
}

/// What the distributed plan asks for its connections.
pub(crate) struct Resolver(pub(crate) Arc<QueryLinks>);

#[async_trait]
impl ChannelResolver for Resolver {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>, DataFusionError> {
        let Some((agent, link)) = agent_of(url).and_then(|agent| Some((agent, self.0.links.get(&agent)?))) else {
            return plan_err!("{url} is no agent of this query");
        };
        Ok(Box::new(Tolerant { agent, channel: link.link.worker_channel(), link: link.clone(), links: Arc::clone(&self.0) }))
    }
}

/// Turns the loss of an agent into the end of its rows, and a note.
struct Tolerant {
    agent: AgentId,
    channel: Box<dyn WorkerChannel>,
    link: Link,
    links: Arc<QueryLinks>,
}

/// What is needed to judge a failure.
#[derive(Clone)]
struct Judge {
    agent: AgentId,
    link: Link,
    links: Arc<QueryLinks>,
}

impl Judge {
    /// None if the agent is lost, which is noted; the error again if it is not the connection's.
    fn or_lost(&self, error: DataFusionError) -> Option<DataFusionError> {
        if self.link.lost.is_cancelled() {
            return None;
        }
        let broken = self.link.link.transport_failure(&error);
        let Some(reason) = broken.or_else(|| plan_came_late(&error)) else { return Some(error) };
        self.lose(reason);
        None
    }

    fn lose(&self, reason: String) {
        self.links.missing.note(self.agent, reason, &self.link.lost);
    }

    fn lose_silent(&self) {
        self.lose(format!("sent nothing for {:?}", self.links.silence_max));
    }

    /// Ends when the agent is lost or says nothing for too long while it is waited for.
    fn until_lost(self, batches: BoxStream<'static, Result<RecordBatch>>) -> BoxStream<'static, Result<RecordBatch>> {
        let lost = self.link.lost.clone();
        let judged = futures::stream::unfold(Some((self, batches)), |state| async move {
            let (judge, mut batches) = state?;
            match judge.next(&mut batches).await {
                Ok(Some(Ok(batch))) => Some((Ok(batch), Some((judge, batches)))),
                Ok(Some(Err(error))) => Some((Err(judge.or_lost(error)?), None)),
                Ok(None) => None,
                Err(Silent) => {
                    judge.lose_silent();
                    None
                }
            }
        });
        judged.take_until(lost.cancelled_owned()).boxed()
    }

    async fn next(&self, batches: &mut BoxStream<'static, Result<RecordBatch>>) -> Result<Option<Result<RecordBatch>>, Silent> {
        loop {
            match tokio::time::timeout(self.links.silence_max, batches.next()).await {
                Ok(next) => return Ok(next),
                Err(_) if self.still_runs().await => {}
                Err(_) => return Err(Silent),
            }
        }
    }

    /// Asked over the same connection, answered by the threads that make the rows.
    async fn still_runs(&self) -> bool {
        let Some(query) = self.links.streams else { return false };
        tokio::time::timeout(self.links.silence_max, self.link.link.runs_query(query)).await.unwrap_or(false)
    }
}

/// What the worker says when it was asked for rows and its part of the plan has not come for ten seconds: it goes by another call, and an
/// agent or a Kelvin with far too much to do may be that late. It is not the script's fault, and costs that agent's rows.
fn plan_came_late(error: &DataFusionError) -> Option<String> {
    const LATE: &str = "timed-out while waiting for the plan to be set by the coordinator";
    error.to_string().contains(LATE).then(|| "it has too much to do: its part of the plan was not there in time".to_owned())
}

/// An agent sent nothing for too long.
struct Silent;

impl Tolerant {
    fn judge(&self) -> Judge {
        Judge { agent: self.agent, link: self.link.clone(), links: Arc::clone(&self.links) }
    }

    fn awaited(&self, request: &SetPlanRequest) -> Option<Awaited> {
        self.links.reports.as_ref().map(|reports| Awaited::new(Arc::clone(reports), self.agent, request))
    }
}

#[async_trait]
impl WorkerChannel for Tolerant {
    /// Sends a plan. What comes back is needed only where times are asked for, but the call has to stay open for as long as the task may run.
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        set_plan_request: SetPlanRequest,
        to_worker: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        let judge = self.judge();
        let awaited = self.awaited(&set_plan_request);
        let wait_max = if awaited.is_some() { END_WAIT_MAX } else { Duration::ZERO };
        let nothing = |awaited: &Option<Awaited>| awaited.as_ref().map_or_else(|| empty().boxed(), Awaited::nothing);
        if judge.link.lost.is_cancelled() {
            return Ok(nothing(&awaited));
        }
        // `to_worker` ends when the query does; then nobody waits for an agent that does not close its side.
        let over = CancellationToken::new();
        let ends = over.clone();
        let end = futures::stream::once(async move { ends.cancel() }).filter_map(|()| futures::future::ready(None));
        let to_worker = to_worker.chain(end).boxed();
        let lost = judge.link.lost.clone();
        let sent = self.channel.coordinator_channel(headers, set_plan_request, to_worker, metrics, context);
        let answer = tokio::select! {
            () = lost.cancelled() => return Ok(nothing(&awaited)),
            answer = tokio::time::timeout(judge.links.silence_max, sent) => answer,
        };
        match answer {
            Ok(Ok(answers)) => {
                let until = async move {
                    tokio::select! {
                        () = async {
                            over.cancelled().await;
                            tokio::time::sleep(wait_max).await;
                        } => {}
                        () = lost.cancelled() => {}
                    }
                };
                let judged = answers.filter_map(move |answer| {
                    futures::future::ready(match answer {
                        Ok(answer) => Some(Ok(answer)),
                        Err(error) => judge.or_lost(error).map(Err),
                    })
                });
                let judged = judged.take_until(until).boxed();
                Ok(match awaited {
                    Some(awaited) => awaited.watch(judged),
                    None => judged,
                })
            }
            Ok(Err(error)) => judge.or_lost(error).map_or_else(|| Ok(nothing(&awaited)), Err),
            Err(_) => {
                judge.lose_silent();
                Ok(nothing(&awaited))
            }
        }
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let judge = self.judge();
        let partitions = request.target_partition_end.saturating_sub(request.target_partition_start);
        let nothing = || Ok((0..partitions).map(|_| empty().boxed()).collect());
        if judge.link.lost.is_cancelled() {
            return nothing();
        }
        match self.channel.execute_task(headers, request, metrics, context).await {
            Ok(streams) => Ok(streams.into_iter().map(|batches| judge.clone().until_lost(batches)).collect()),
            Err(error) => judge.or_lost(error).map_or_else(nothing, Err),
        }
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.channel.get_worker_info(request).await
    }
}
