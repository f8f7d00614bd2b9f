//! What runs on an agent: one entry for each query, however many tasks it has there.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{Result, exec_err, resources_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use ids::{AgentId, QueryId};
use parking_lot::Mutex;
use pxl::FunctionRegistry;
use table_store::TableStore;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::distributed::AgentWorkerArgs;
use crate::made::MadeTables;
use crate::memory::QueryPool;
use crate::scan::ScanCounts;
use crate::{EventsLost, Functions, TableQuality};

/// Queries that one agent takes part in at a time. All coordinators together run far fewer; more means that nobody ends them.
const QUERIES_MAX: usize = 1024;

/// Ended queries whose late tasks are still refused: a cancellation may overtake a plan.
const ENDED_REMEMBERED_MAX: usize = 1024;

/// What an agent read for one query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentReads {
    /// From tables.
    pub batches: u64,
    /// From tables, before filters other than on time.
    pub rows: u64,
    /// From tables: the values of the columns that the query needs.
    pub bytes: u64,
    /// How complete the rows of each table were that was read.
    pub tables: Vec<TableQuality>,
}

/// In the session of every task.
pub(crate) struct TaskScope {
    pub(crate) agent: AgentId,
    pub(crate) store: Arc<TableStore>,
    pub(crate) made: MadeTables,
    pub(crate) query: Arc<AgentQuery>,
}

/// The queries that run on one agent.
pub struct AgentQueries {
    args: AgentWorkerArgs,
    functions: Functions,
    events_lost: EventsLost,
    memory: Arc<GreedyMemoryPool>,
    state: Mutex<State>,
    leaves: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    running: BTreeMap<QueryId, Arc<AgentQuery>>,
    ended: VecDeque<QueryId>,
}

/// One query on one agent.
pub(crate) struct AgentQuery {
    stop: CancellationToken,
    deadline: Instant,
    pub(crate) counts: Arc<ScanCounts>,
    pub(crate) runtime: Arc<RuntimeEnv>,
    /// As they were when the query came.
    pub(crate) functions: Arc<FunctionRegistry>,
    /// Of all queries.
    leaves: watch::Sender<usize>,
}

impl AgentQueries {
    pub(crate) fn new(functions: Functions, events_lost: EventsLost, args: AgentWorkerArgs) -> Self {
        let memory = Arc::new(GreedyMemoryPool::new(args.memory_bytes_max));
        Self { args, functions, events_lost, memory, state: Mutex::default(), leaves: watch::Sender::new(0) }
    }

    /// The entry of that query, made by its first task here. `left`: how long it may still run.
    pub(crate) fn open(&self, query: QueryId, left: Duration) -> Result<Arc<AgentQuery>> {
        let now = Instant::now();
        let mut state = self.state.lock();
        if let Some(running) = state.running.get(&query) {
            return Ok(Arc::clone(running));
        }
        if state.ended.contains(&query) {
            return exec_err!("query {query} has ended");
        }
        if state.running.len() >= QUERIES_MAX {
            // Without tasks, or too late for any: the coordinator went without a word.
            state.running.retain(|_, query| query.deadline > now && Arc::strong_count(query) > 1);
        }
        if state.running.len() >= QUERIES_MAX {
            return resources_err!("{QUERIES_MAX} queries run on this agent already");
        }
        let pool = Arc::new(QueryPool::new(Arc::clone(&self.memory), self.args.query_memory_bytes_max));
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(pool)
            // Captured payloads are never written to a node's disk.
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()?;
        let opened = Arc::new(AgentQuery {
            stop: CancellationToken::new(),
            deadline: now.checked_add(left).unwrap_or(now),
            counts: Arc::default(),
            runtime,
            functions: self.functions.now(),
            leaves: self.leaves.clone(),
        });
        state.running.insert(query, Arc::clone(&opened));
        Ok(opened)
    }

    /// Stops what still runs of a query, and forgets it. None if it is not known.
    pub fn end(&self, query: QueryId) -> Option<AgentReads> {
        let ended = {
            let mut state = self.state.lock();
            state.ended.truncate(ENDED_REMEMBERED_MAX - 1);
            state.ended.push_front(query);
            state.running.remove(&query)?
        };
        ended.stop.cancel();
        let counts = &ended.counts;
        let tables = counts.qualities(self.events_lost.get());
        Some(AgentReads { batches: counts.batches(), rows: counts.rows(), bytes: counts.bytes(), tables })
    }

    /// Whether the query was begun here and not ended.
    pub fn runs(&self, query: QueryId) -> bool {
        self.state.lock().running.contains_key(&query)
    }

    /// Queries that were begun and not ended.
    pub fn running(&self) -> usize {
        self.state.lock().running.len()
    }

    /// Scans of tables in progress, as they change.
    pub fn leaves(&self) -> watch::Receiver<usize> {
        self.leaves.subscribe()
    }
}

impl fmt::Debug for AgentQueries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentQueries").field("running", &self.running()).field("leaves", &*self.leaves.borrow()).finish_non_exhaustive()
    }
}

impl AgentQuery {
    /// The rows of a table for as long as the query runs. One that is stopped lets its rows go even when nobody asks for more, and fails:
    /// rows that are not all never look as if they were.
    pub(crate) fn leaf(self: &Arc<Self>, mut rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = rows.schema();
        let counted = Leaf::new(self.leaves.clone());
        let query = Arc::clone(self);
        let (sender, receiver) = mpsc::channel(1);
        let reading = SpawnedTask::spawn(async move {
            let batches = sender.clone();
            let read = async move {
                let _counted = counted;
                while let Some(batch) = rows.next().await {
                    if batches.send(batch).await.is_err() {
                        return;
                    }
                }
            };
            let why = tokio::select! {
                biased;
                () = query.stop.cancelled() => "the query was stopped",
                () = tokio::time::sleep_until(query.deadline) => "the query ran out of time",
                () = read => return,
            };
            // Who does not listen any more needs no reason.
            sender.send(exec_err!("{why}")).await.ok();
        });
        let batches = futures::stream::unfold((receiver, reading), |(mut receiver, reading)| async move {
            let batch = receiver.recv().await?;
            Some((batch, (receiver, reading)))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

/// Counts a scan for as long as it lives.
struct Leaf {
    leaves: watch::Sender<usize>,
}

impl Leaf {
    fn new(leaves: watch::Sender<usize>) -> Self {
        leaves.send_modify(|leaves| *leaves += 1);
        Self { leaves }
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        self.leaves.send_modify(|leaves| *leaves -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queries() -> AgentQueries {
        let functions = Arc::new(FunctionRegistry::default());
        AgentQueries::new(functions.into(), EventsLost::default(), AgentWorkerArgs::default())
    }

    fn id(number: u64) -> QueryId {
        QueryId::from_halves(0, number)
    }

    #[tokio::test]
    async fn tasks_of_a_query_share_an_entry_until_it_ends() {
        let queries = queries();
        let first = queries.open(id(1), Duration::from_mins(1)).unwrap();
        assert!(Arc::ptr_eq(&first, &queries.open(id(1), Duration::from_mins(1)).unwrap()));
        assert_eq!(queries.end(id(1)), Some(AgentReads::default()));
        assert!(first.stop.is_cancelled());
        assert_eq!((queries.end(id(1)), queries.running()), (None, 0));
    }

    #[tokio::test]
    async fn a_task_that_comes_after_the_end_of_its_query_is_refused() {
        let queries = queries();
        assert_eq!(queries.end(id(1)), None);
        assert!(queries.open(id(1), Duration::from_mins(1)).is_err());
    }

    #[tokio::test]
    async fn queries_that_nobody_ends_make_room_when_their_time_or_their_tasks_are_over() {
        let queries = queries();
        let minutes = |number: u64| queries.open(id(number), Duration::from_mins(number % 2)).unwrap();
        let mut tasks: Vec<_> = (0..QUERIES_MAX as u64).map(minutes).collect();
        tasks.push(queries.open(id(u64::MAX), Duration::from_mins(1)).unwrap());
        assert_eq!(queries.running(), QUERIES_MAX / 2 + 1);
        tasks.extend((0..QUERIES_MAX as u64 / 2 - 1).map(|number| queries.open(id(10_000 + number), Duration::from_mins(1)).unwrap()));
        assert!(queries.open(id(20_000), Duration::from_mins(1)).is_err());
        drop(tasks);
        queries.open(id(20_000), Duration::from_mins(1)).unwrap();
        assert_eq!(queries.running(), 1);
    }
}
