//! One query, from its script to its last message.

use std::time::{Duration, Instant};

use api::vizierpb::{Column, ExecuteScriptResponse, RowBatchData, StringColumn, column};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::StreamExt as _;
use ids::QueryId;
use tables::{ColumnDef, DataType, Relation, SemanticType};
use tokio::sync::mpsc::{self, error::SendTimeoutError};
use tokio::time::timeout;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::counters::Counters;
use crate::encode::{EncodeError, Encoder, end_of_table};
use crate::encrypt::Sealer;
use crate::engine::{CompileFailure, Output, Query, QueryEngine, QueryEvent, RunFailure, Script};
use crate::limits::{
    CLIENT_SILENCE_MAX, ENCRYPTED_BATCH_BYTES_MAX, ENGINE_SILENCE_MAX, PLAN_TEXT_BYTES_MAX, ROW_BATCH_BYTES_MAX, ROW_BYTES_MAX,
};
use crate::messages::{Cost, Failure, Messages};
use crate::mutations::MutationFailure;
use crate::quality::{QUALITY_TRAILER, Quality};

/// Reference: api.md §3.1.
const PLAN_TABLE: &str = "__query_plan__";
const PLAN_COLUMN: &str = "query_plan";

/// Where the messages of a query go.
pub(crate) type Outlet = mpsc::Sender<Result<ExecuteScriptResponse, Status>>;

/// A query that was let in.
pub(crate) struct Job {
    pub(crate) id: QueryId,
    pub(crate) script: Script,
    pub(crate) sealer: Option<Sealer>,
    /// What the script wants changed is changed first.
    pub(crate) mutation: bool,
    /// The client wants to know in the trailer how complete the answer is.
    pub(crate) quality_in_trailer: bool,
}

/// How a query ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With its last message.
    Finished,
    /// The script is wrong.
    Rejected,
    /// While it ran.
    Failed,
    /// Nobody takes its messages.
    Abandoned,
}

enum Interrupt {
    Abandoned,
    /// Tells the client what is wrong, in a message and in the trailer.
    Failed(Failure),
    /// Tells it in the trailer only: the client shall come again.
    NotReady(String),
    /// Ends the call; the message before has said why.
    Told(Status),
}

impl From<Failure> for Interrupt {
    fn from(failure: Failure) -> Interrupt {
        Interrupt::Failed(failure)
    }
}

/// Runs the query until its last message was taken, or until nobody takes any.
pub(crate) async fn run(job: Job, engine: &dyn QueryEngine, outlet: Outlet, counters: &Counters) -> Ended {
    let gone = outlet.clone();
    let messages = Messages { query_id: job.id, sealer: job.sealer };
    let run = Run { messages, outlet, counters, tables: Vec::new(), quality_in_trailer: job.quality_in_trailer };
    tokio::select! {
        biased;
        () = gone.closed() => Ended::Abandoned,
        ended = run.finish((job.script, job.mutation), engine) => ended,
    }
}

struct Run<'a> {
    messages: Messages,
    outlet: Outlet,
    counters: &'a Counters,
    tables: Vec<Table>,
    quality_in_trailer: bool,
}

struct Table {
    output: Output,
    id: String,
    ended: bool,
}

impl Table {
    fn new(output: Output) -> Table {
        Table { output, id: Uuid::new_v4().to_string(), ended: false }
    }
}

impl Run<'_> {
    async fn finish(mut self, (script, mutation): (Script, bool), engine: &dyn QueryEngine) -> Ended {
        let compiled = match if mutation { self.mutate(script.clone(), engine).await } else { Ok(()) } {
            Ok(()) => self.compile(script, engine).await,
            Err(interrupt) => Err(interrupt),
        };
        let (failure, ended) = match compiled {
            Ok((query, compile_ns)) => match self.execute(query, compile_ns).await {
                Ok(()) => return Ended::Finished,
                Err(interrupt) => (interrupt, Ended::Failed),
            },
            Err(interrupt) => (interrupt, Ended::Rejected),
        };
        let sent = match failure {
            Interrupt::Abandoned => return Ended::Abandoned,
            Interrupt::NotReady(message) => self.send(Err(Status::unavailable(message))).await,
            Interrupt::Told(status) => self.send(Err(status)).await,
            Interrupt::Failed(failure) => match self.send(Ok(self.messages.failure(&failure))).await {
                Ok(()) => self.send(Err(failure.trailer())).await,
                Err(gone) => Err(gone),
            },
        };
        if sent.is_ok() { ended } else { Ended::Abandoned }
    }

    async fn mutate(&self, script: Script, engine: &dyn QueryEngine) -> Result<(), Interrupt> {
        let mutated = match engine.mutate(script).await {
            Ok(mutated) => mutated,
            Err(MutationFailure::Compile(CompileFailure::NotReady(message))) => return Err(Interrupt::NotReady(message)),
            Err(failure) => return Err(Failure::from(failure).into()),
        };
        let (message, end) = self.messages.mutated(&mutated);
        self.send(Ok(message)).await?;
        end.map_or(Ok(()), |status| Err(Interrupt::Told(status)))
    }

    async fn compile(&self, script: Script, engine: &dyn QueryEngine) -> Result<(Box<dyn Query>, i64), Interrupt> {
        let started = Instant::now();
        match engine.compile(script).await {
            Ok(query) => Ok((query, nanoseconds(started))),
            Err(CompileFailure::NotReady(message)) => Err(Interrupt::NotReady(message)),
            Err(failure) => Err(Failure::from(failure).into()),
        }
    }

    async fn execute(&mut self, query: Box<dyn Query>, compile_ns: i64) -> Result<(), Interrupt> {
        let started = Instant::now();
        self.tables = query.outputs().iter().cloned().map(Table::new).collect();
        for table in &self.tables {
            self.send(Ok(self.messages.announcement(&table.output, &table.id))).await?;
        }
        let plan_table = query.explains().then(|| Table::new(plan_output()));
        let quality_table = query.tells_quality().then(|| Table::new(Quality::output()));
        for table in plan_table.iter().chain(&quality_table) {
            self.send(Ok(self.messages.announcement(&table.output, &table.id))).await?;
        }
        // A stream may be silent for as long as nothing happens; who runs it is asked whether it lives.
        let silence_max = if query.streams() { Duration::MAX } else { ENGINE_SILENCE_MAX };
        let mut cost = Cost { compile_ns, ..Cost::default() };
        let (mut plan, mut quality) = (String::new(), Quality::default());
        let mut events = query.run(self.messages.query_id);
        while let Some(event) = timeout(silence_max, events.next()).await.map_err(|_| silent())? {
            if let Err(RunFailure::Export(_)) = &event {
                self.counters.exports_failed.add(1);
            }
            match event.map_err(Failure::from)? {
                QueryEvent::Rows { output, batch } => self.rows(output, &batch).await?,
                QueryEvent::OutputEnd { output } => self.end(output).await?,
                QueryEvent::Exported { rows, refused } => {
                    self.counters.rows_exported.add(rows);
                    self.counters.export_points_refused.add(refused);
                }
                QueryEvent::Plan(text) => plan = text,
                QueryEvent::Quality(told) => quality = told,
                QueryEvent::Read { bytes, records } => (cost.bytes, cost.records) = (bytes as i64, records as i64),
            }
        }
        drop(events);
        for index in 0..self.tables.len() {
            if !self.tables[index].ended {
                self.end(index).await?;
            }
        }
        if let Some(table) = plan_table {
            self.plan(&table, &plan).await?;
        }
        if let Some(table) = quality_table {
            self.quality(&table, &quality).await?;
        }
        cost.execute_ns = nanoseconds(started);
        self.counters.records_processed.add(cost.records.unsigned_abs());
        self.counters.bytes_processed.add(cost.bytes.unsigned_abs());
        self.send(Ok(self.messages.statistics(cost))).await?;
        if self.quality_in_trailer { self.send(Err(quality_trailer(&quality))).await } else { Ok(()) }
    }

    async fn rows(&self, index: usize, batch: &RecordBatch) -> Result<(), Interrupt> {
        let Some(table) = self.tables.get(index).filter(|table| !table.ended) else {
            return Err(Failure::new(Code::Internal, format!("rows of output {index}, which does not exist or has ended")).into());
        };
        self.rows_of(table, batch).await
    }

    async fn rows_of(&self, table: &Table, batch: &RecordBatch) -> Result<(), Interrupt> {
        let encoder = Encoder {
            output: &table.output.name,
            relation: &table.output.relation,
            table_id: &table.id,
            bytes_max: self.batch_bytes_max(),
            row_bytes_max: if self.messages.sealer.is_some() { ENCRYPTED_BATCH_BYTES_MAX } else { ROW_BYTES_MAX },
        };
        let encoded = encoder.encode(batch).map_err(|error| encode_failure(&error))?;
        self.counters.nulls_replaced.add(encoded.nulls);
        for batch in encoded.batches {
            self.send_rows(batch).await?;
        }
        Ok(())
    }

    async fn end(&mut self, index: usize) -> Result<(), Interrupt> {
        let Some(table) = self.tables.get_mut(index).filter(|table| !table.ended) else {
            return Err(Failure::new(Code::Internal, format!("a second end of output {index}, or the end of none")).into());
        };
        table.ended = true;
        let batch = end_of_table(&table.output.relation, &table.id);
        self.send_rows(batch).await
    }

    async fn plan(&self, table: &Table, text: &str) -> Result<(), Interrupt> {
        for piece in pieces(text, PLAN_TEXT_BYTES_MAX.min(self.batch_bytes_max() - 1024)) {
            let data = StringColumn { data: vec![Bytes::copy_from_slice(piece.as_bytes())] };
            let cols = vec![Column { col_data: Some(column::ColData::StringData(data)) }];
            self.send_rows(RowBatchData { table_id: table.id.clone(), cols, num_rows: 1, eow: false, eos: false }).await?;
        }
        self.send_rows(end_of_table(&table.output.relation, &table.id)).await
    }

    async fn quality(&self, table: &Table, quality: &Quality) -> Result<(), Interrupt> {
        let rows = quality.rows().map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        self.rows_of(table, &rows).await?;
        self.send_rows(end_of_table(&table.output.relation, &table.id)).await
    }

    async fn send_rows(&self, batch: RowBatchData) -> Result<(), Interrupt> {
        let rows = batch.num_rows as u64;
        let message = self.messages.rows(batch).map_err(|error| Failure::new(Code::Internal, error))?;
        self.send(Ok(message)).await?;
        self.counters.batches_sent.add(1);
        self.counters.rows_sent.add(rows);
        Ok(())
    }

    async fn send(&self, message: Result<ExecuteScriptResponse, Status>) -> Result<(), Interrupt> {
        self.outlet.send_timeout(message, CLIENT_SILENCE_MAX).await.map_err(|error| match error {
            SendTimeoutError::Timeout(_) | SendTimeoutError::Closed(_) => Interrupt::Abandoned,
        })
    }

    fn batch_bytes_max(&self) -> usize {
        if self.messages.sealer.is_some() { ENCRYPTED_BATCH_BYTES_MAX } else { ROW_BATCH_BYTES_MAX }
    }
}

/// An end that is none of the errors: tonic makes trailers of it, with what stands beside the code.
fn quality_trailer(quality: &Quality) -> Status {
    let mut trailers = MetadataMap::new();
    trailers.insert_bin(QUALITY_TRAILER, MetadataValue::from_bytes(&quality.summary()));
    Status::with_metadata(Code::Ok, "", trailers)
}

fn encode_failure(error: &EncodeError) -> Failure {
    let code = match error {
        EncodeError::RowTooLarge { .. } => Code::ResourceExhausted,
        EncodeError::ColumnCount { .. } | EncodeError::ColumnType { .. } => Code::Internal,
    };
    Failure::new(code, error.to_string())
}

fn silent() -> Failure {
    Failure::new(Code::DeadlineExceeded, format!("the query yielded nothing for {} s and was cancelled", ENGINE_SILENCE_MAX.as_secs()))
}

fn plan_output() -> Output {
    let column = ColumnDef { name: PLAN_COLUMN.to_owned(), data_type: DataType::String, semantic_type: SemanticType::None };
    Output { name: PLAN_TABLE.to_owned(), relation: Relation { columns: vec![column] } }
}

/// `text` in pieces of at most `bytes_max`, cut between characters.
fn pieces(text: &str, bytes_max: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(rest.floor_char_boundary(bytes_max));
        rest = after;
        Some(piece)
    })
}

fn nanoseconds(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_nanos()).unwrap_or(i64::MAX)
}
