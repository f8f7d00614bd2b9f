use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::stream::{BoxStream, select_all};
use futures::{StreamExt, TryStreamExt};

use crate::admission::Slot;
use crate::conform::conform;
use crate::memory::QueryPool;
use crate::scan::ScanCounts;
use crate::{Error, EventsLost, TableQuality};

/// One output, ready to run.
pub(crate) struct Planned {
    pub(crate) schema: SchemaRef,
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) context: Arc<TaskContext>,
}

/// Rows with the output they are of.
type Rows = BoxStream<'static, Result<(usize, RecordBatch), DataFusionError>>;

/// Rows of one output.
#[derive(Debug, Clone)]
pub struct OutputBatch {
    /// Which of the compiled outputs.
    pub output: usize,
    /// At least one row, in exactly the schema of the output's relation.
    pub rows: RecordBatch,
}

/// What a query took, so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// From script to plans of outputs.
    pub compile_time: Duration,
    /// Since the query began to run.
    pub execution_time: Duration,
    /// Read from tables.
    pub batches_read: u64,
    /// Read from tables.
    pub rows_read: u64,
    /// Read from tables: the values of the columns that the query needs.
    pub bytes_read: u64,
}

/// A query that runs as far as it is asked to. The outputs come one after the other, or all at once if some of them stream; drop it to cancel.
pub struct Execution {
    plans: Vec<Planned>,
    /// Of `plans`, those that did not begin.
    waiting: VecDeque<usize>,
    running: Option<Rows>,
    all_at_once: bool,
    pool: Arc<QueryPool>,
    counts: Arc<ScanCounts>,
    start: Instant,
    compile_time: Duration,
    end: Option<Instant>,
    events_lost: EventsLost,
    _slot: Slot,
}

impl Execution {
    pub(crate) fn new(
        plans: Vec<Planned>,
        pool: Arc<QueryPool>,
        counts: Arc<ScanCounts>,
        slot: Slot,
        (start, compile_time): (Instant, Duration),
    ) -> Self {
        let waiting = (0..plans.len()).collect();
        let events_lost = EventsLost::default();
        Self { plans, waiting, running: None, all_at_once: false, pool, counts, start, compile_time, end: None, events_lost, _slot: slot }
    }

    /// Outputs that never end leave others no turn.
    pub(crate) fn all_at_once(self) -> Self {
        Self { all_at_once: true, ..self }
    }

    pub(crate) fn telling(self, events_lost: EventsLost) -> Self {
        Self { events_lost, ..self }
    }

    /// The next rows; none when all outputs are complete. After an error there are no more.
    pub async fn next(&mut self) -> Option<Result<OutputBatch, Error>> {
        match self.try_next().await {
            Ok(Some(batch)) => Some(Ok(batch)),
            Ok(None) => {
                self.end.get_or_insert_with(Instant::now);
                None
            }
            Err(error) => {
                self.stop();
                Some(Err(Error::classify(error, self.pool.refusal())))
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<OutputBatch>, DataFusionError> {
        loop {
            let running = match &mut self.running {
                Some(running) => running,
                none => match begin(&self.plans, &mut self.waiting, self.all_at_once)? {
                    Some(rows) => none.insert(rows),
                    None => return Ok(None),
                },
            };
            match running.try_next().await? {
                Some((_, batch)) if batch.num_rows() == 0 => {}
                Some((output, batch)) => {
                    let Some(planned) = self.plans.get(output) else { return Ok(None) };
                    return Ok(Some(OutputBatch { output, rows: conform(&batch, &planned.schema)? }));
                }
                None => self.running = None,
            }
        }
    }

    /// Reads no more; what the plans hold is let go.
    pub(crate) fn stop(&mut self) {
        self.waiting.clear();
        self.running = None;
        self.end.get_or_insert_with(Instant::now);
    }

    pub(crate) fn plan(&self, output: usize) -> Option<&Arc<dyn ExecutionPlan>> {
        self.plans.get(output).map(|planned| &planned.plan)
    }

    /// How complete the rows of each table were that was read, so far.
    pub fn qualities(&self) -> Vec<TableQuality> {
        self.counts.qualities(self.events_lost.get())
    }

    /// What the query took, so far.
    pub fn stats(&self) -> Stats {
        Stats {
            compile_time: self.compile_time,
            execution_time: self.end.unwrap_or_else(Instant::now).duration_since(self.start),
            batches_read: self.counts.batches(),
            rows_read: self.counts.rows(),
            bytes_read: self.counts.bytes(),
        }
    }

    /// How an output is made, for people: a line per step, with its rows and times so far where `metrics`. None if there is no such output.
    pub fn explain(&self, output: usize, metrics: bool) -> Option<String> {
        let plan = self.plans.get(output)?.plan.as_ref();
        let shown = if metrics { DisplayableExecutionPlan::with_metrics(plan) } else { DisplayableExecutionPlan::new(plan) };
        Some(shown.indent(false).to_string())
    }
}

/// The rows of the next output, or of all of them.
fn begin(plans: &[Planned], waiting: &mut VecDeque<usize>, all: bool) -> Result<Option<Rows>, DataFusionError> {
    let number = if all { waiting.len() } else { waiting.len().min(1) };
    let mut begun = Vec::with_capacity(number);
    for output in waiting.drain(..number) {
        let Some(planned) = plans.get(output) else { continue };
        let rows = execute_stream(Arc::clone(&planned.plan), Arc::clone(&planned.context))?;
        begun.push(rows.map_ok(move |batch| (output, batch)).boxed());
    }
    Ok((!begun.is_empty()).then(|| select_all(begun).boxed()))
}

impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution").field("outputs", &self.plans.len()).field("waiting", &self.waiting).finish_non_exhaustive()
    }
}
