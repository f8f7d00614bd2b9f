use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ids::{AgentId, QueryId};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::distributed::channels::QueryLinks;
use crate::distributed::coordinator::Registered;
use crate::distributed::steps::steps;
use crate::distributed::{MissingAgent, PlanStep};
use crate::{Error, Execution, OutputBatch, Stats, TableQuality};

/// How long agents are waited for when a query ends: they answer at once, or are gone.
pub(crate) const END_WAIT_MAX: Duration = Duration::from_secs(2);

/// A distributed query that runs as far as it is asked to. Drop it to cancel: the agents are told.
pub struct DistributedExecution {
    execution: Execution,
    links: Arc<QueryLinks>,
    left_out: Vec<AgentId>,
    registered: Registered,
    query: QueryId,
    deadline: Instant,
    time_max: Duration,
    failed: bool,
    /// Until the agents were told that it is over.
    ends: Option<Handle>,
}

/// What is known of a query when it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What it took. Rows and bytes read are those of the agents that could be asked.
    pub stats: Stats,
    /// Whose rows are not, or not all, in the answer.
    pub missing: Vec<MissingAgent>,
    /// Agents that were not given the query, because they said that they have no such rows. None of them is missing.
    pub left_out: Vec<AgentId>,
    /// Agents whose reads are in `stats`.
    pub agents_counted: usize,
    /// How complete the rows of those agents were, in their order.
    pub qualities: Vec<AgentQuality>,
}

/// How complete the rows of one agent were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentQuality {
    /// Which.
    pub agent: AgentId,
    /// Of each table that was read there; none if the agent does not have the tables.
    pub tables: Vec<TableQuality>,
}

impl DistributedExecution {
    pub(crate) fn new(
        execution: Execution,
        (links, left_out): (Arc<QueryLinks>, Vec<AgentId>),
        registered: Registered,
        (query, deadline, time_max): (QueryId, Instant, Duration),
    ) -> Self {
        Self { execution, links, left_out, registered, query, deadline, time_max, failed: false, ends: Handle::try_current().ok() }
    }

    /// The next rows; none when all outputs are complete. After an error there are no more.
    pub async fn next(&mut self) -> Option<Result<OutputBatch, Error>> {
        if self.failed {
            return None;
        }
        let over = over(self.registered.stop.clone(), self.deadline, self.time_max);
        let next = tokio::select! {
            biased;
            error = over => Some(Err(error)),
            next = self.execution.next() => next,
        };
        self.failed = matches!(next, Some(Err(_)));
        next
    }

    /// When the query is cancelled or its time is over, and which: for a caller that passes rows on and may have to wait for that. Without it
    /// the end is noticed when the next rows are asked for.
    pub fn over(&self) -> impl Future<Output = Error> + Send + 'static {
        over(self.registered.stop.clone(), self.deadline, self.time_max)
    }

    /// Whose rows are not, or not all, in what has come so far.
    pub fn missing(&self) -> Vec<MissingAgent> {
        self.links.missing.list()
    }

    /// How an output is made, step by step; what the steps took if the query is analyzed and the output is complete. None if there is no such
    /// output.
    pub async fn steps(&mut self, output: usize) -> Option<Vec<PlanStep>> {
        let plan = self.execution.plan(output)?;
        let reports = self.links.reports.as_ref().map(|reports| reports.list());
        Some(steps(plan, reports.as_deref()).await)
    }

    /// Ends the query, complete or not, and asks the agents what they read for it.
    pub async fn end(mut self) -> Ended {
        let mut stats = self.execution.stats();
        self.execution.stop();
        self.ends = None;
        let asked = tokio::time::timeout(END_WAIT_MAX, self.links.end(self.query)).await;
        let said = asked.unwrap_or_default();
        for (_, reads) in &said {
            stats.batches_read += reads.batches;
            stats.rows_read += reads.rows;
            stats.bytes_read += reads.bytes;
        }
        let agents_counted = said.len();
        let qualities = said.into_iter().map(|(agent, reads)| AgentQuality { agent, tables: reads.tables });
        let left_out = std::mem::take(&mut self.left_out);
        Ended { stats, missing: self.missing(), left_out, agents_counted, qualities: qualities.collect() }
    }
}

async fn over(stop: CancellationToken, deadline: Instant, time_max: Duration) -> Error {
    tokio::select! {
        biased;
        () = stop.cancelled() => Error::Cancelled,
        () = tokio::time::sleep_until(deadline) => Error::OutOfTime { time_max },
    }
}

impl Drop for DistributedExecution {
    fn drop(&mut self) {
        let Some(runtime) = self.ends.take() else { return };
        let (links, query) = (Arc::clone(&self.links), self.query);
        runtime.spawn(async move {
            if tokio::time::timeout(END_WAIT_MAX, links.end(query)).await.is_err() {
                tracing::debug!(%query, "not every agent answered when a query was dropped");
            }
        });
    }
}

impl fmt::Debug for DistributedExecution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistributedExecution").field("query", &self.query).field("execution", &self.execution).finish_non_exhaustive()
    }
}
