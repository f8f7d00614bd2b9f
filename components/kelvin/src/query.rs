//! One call: rows as they come, then how they were made if that is asked for, then the end.

use agent::wire::{encode_rows, encode_schema};
use api::internal::execute_plan_response::Message;
use api::internal::plan_step::At;
use api::internal::{AgentQuality, ExecutePlanResponse, MissingAgent, OutputPlan, PlanStep, QueryEnd, TableQuality};
use arrow::datatypes::SchemaRef;
use engine::distributed::{Begun, Coordinator, DistributedExecution, Ended, StepAt};
use engine::{Error, Fault};
use ids::QueryId;
use otel::{Exported, Exporter, Exports};
use tokio::sync::mpsc::Sender;
use tonic::Status;

/// What the caller gets next.
pub(crate) type Answer = Result<ExecutePlanResponse, Status>;

/// A query that was taken in.
pub(crate) struct Query {
    pub(crate) id: QueryId,
    /// Of the outputs.
    pub(crate) schemas: Vec<SchemaRef>,
    /// How they are made is told at the end.
    pub(crate) explain: bool,
    pub(crate) export: Export,
    pub(crate) begun: Begun,
}

/// Outputs whose rows go elsewhere than to the caller.
pub(crate) struct Export {
    pub(crate) exporter: Exporter,
    pub(crate) exports: Vec<(usize, pxl::Export)>,
    /// Rows come for ever.
    pub(crate) streaming: bool,
}

/// Runs a query to its end, or until nobody listens.
pub(crate) async fn answer(coordinator: &Coordinator, query: Query, answers: &Sender<Answer>) {
    let id = query.id;
    let mut unfinished = Unfinished { answers: Some(answers) };
    let done = tokio::select! {
        // Dropping the query tells the agents.
        () = answers.closed() => {
            unfinished.answers = None;
            tracing::debug!(query = %id, "the caller went away");
            return;
        }
        done = rows(coordinator, query, answers) => done,
    };
    let last = match done {
        Ok((ended, plans)) => Ok(message(Message::End(QueryEnd { plans, ..end(&ended) }))),
        Err(status) => {
            tracing::debug!(query = %id, code = ?status.code(), reason = status.message(), "a query failed");
            Err(*status)
        }
    };
    // Who does not listen any more needs no end.
    answers.send(last).await.ok();
    unfinished.answers = None;
}

/// Says of a query that is dropped with Kelvin's threads that it is not complete. A caller who reads too slowly to be told sees a stream
/// without an end.
struct Unfinished<'a> {
    answers: Option<&'a Sender<Answer>>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(answers) = self.answers {
            answers.try_send(Err(Status::unavailable("this Kelvin stops"))).ok();
        }
    }
}

async fn rows(coordinator: &Coordinator, query: Query, answers: &Sender<Answer>) -> Result<(Ended, Vec<OutputPlan>), Box<Status>> {
    let Query { id, schemas, explain, export, begun } = query;
    let Export { exporter, exports, streaming } = export;
    let mut exports = Exports::open(&exporter, exports, streaming).await.map_err(|error| not_exported(&error))?;
    let mut execution = coordinator.execute(begun).await.map_err(|error| status(&error))?;
    // A caller that does not read must not keep a query that is over.
    let over = execution.over();
    let sent = async {
        for (output, schema) in schemas.iter().enumerate() {
            send(answers, Message::Schema(encode_schema(output as u32, schema))).await;
        }
        while let Some(batch) = execution.next().await {
            let batch = batch.map_err(|error| status(&error))?;
            if exports.takes(batch.output) {
                exported(answers, exports.add(batch.output, &batch.rows).await).await?;
                continue;
            }
            let encoded = encode_rows(batch.output as u32, &batch.rows).map_err(|error| Box::new(Status::internal(error.to_string())))?;
            for rows in encoded {
                send(answers, Message::Rows(rows)).await;
            }
        }
        exported(answers, exports.finish().await).await
    };
    tokio::select! {
        biased;
        error = over => return Err(status(&error)),
        sent = sent => sent?,
    }
    let plans = if explain { plans(&mut execution, schemas.len()).await } else { Vec::new() };
    let ended = execution.end().await;
    tracing::debug!(query = %id, stats = ?ended.stats, missing = ended.missing.len(), left_out = ended.left_out.len(), "a query ended");
    Ok((ended, plans))
}

async fn plans(execution: &mut DistributedExecution, outputs: usize) -> Vec<OutputPlan> {
    let mut plans = Vec::with_capacity(outputs);
    for output in 0..outputs {
        let steps = execution.steps(output).await.unwrap_or_default();
        plans.push(OutputPlan { output: output as u32, steps: steps.into_iter().map(step).collect() });
    }
    plans
}

fn step(step: engine::distributed::PlanStep) -> PlanStep {
    let at = match step.at {
        StepAt::Coordinator => None,
        StepAt::EachAgent => Some(At::EachAgent(true)),
        StepAt::Agent(agent) => Some(At::AgentId(agent.to_bytes().to_vec())),
    };
    PlanStep { depth: step.depth as u32, text: step.text, at }
}

/// Says that rows went away: a caller that hears nothing for long gives up.
async fn exported(answers: &Sender<Answer>, exported: Result<Exported, otel::Error>) -> Result<(), Box<Status>> {
    let Exported { rows, refused } = exported.map_err(|error| not_exported(&error))?;
    if rows > 0 {
        send(answers, Message::Exported(api::internal::Exported { rows, refused })).await;
    }
    Ok(())
}

/// Another Kelvin would fare the same.
#[expect(clippy::unnecessary_box_returns, reason = "every status travels boxed, as the error of a Result")]
fn not_exported(error: &otel::Error) -> Box<Status> {
    let text = error.to_string();
    Box::new(if error.is_internal() { Status::internal(text) } else { Status::aborted(text) })
}

/// Waits for a caller that reads slowly. One that is gone is noticed by `answer`.
async fn send(answers: &Sender<Answer>, content: Message) {
    answers.send(Ok(message(content))).await.ok();
}

fn message(content: Message) -> ExecutePlanResponse {
    ExecutePlanResponse { message: Some(content) }
}

fn end(ended: &Ended) -> QueryEnd {
    let missing =
        ended.missing.iter().map(|missing| MissingAgent { agent_id: missing.agent.to_bytes().to_vec(), reason: missing.reason.clone() });
    QueryEnd {
        missing: missing.collect(),
        execution_time_ns: u64::try_from(ended.stats.execution_time.as_nanos()).unwrap_or(u64::MAX),
        batches_read: ended.stats.batches_read,
        rows_read: ended.stats.rows_read,
        bytes_read: ended.stats.bytes_read,
        agents_counted: ended.agents_counted as u32,
        qualities: ended.qualities.iter().map(quality).collect(),
        plans: Vec::new(),
        left_out: ended.left_out.iter().map(|agent| agent.to_bytes().to_vec()).collect(),
    }
}

fn quality(quality: &engine::distributed::AgentQuality) -> AgentQuality {
    let tables = quality.tables.iter().map(|table| TableQuality {
        table: table.table.clone(),
        asked_from_ns: table.asked_from.map_or(0, |time| time.0),
        oldest_ns: table.oldest.map_or(0, |time| time.0),
        rows_expired: table.rows_expired,
        expired_in_range: table.expired_in_range,
        rows_truncated: table.rows_truncated,
        events_lost: table.events_lost,
    });
    AgentQuality { agent_id: quality.agent.to_bytes().to_vec(), tables: tables.collect() }
}

/// The code says whose fault it is, the message everything that is known.
#[expect(clippy::unnecessary_box_returns, reason = "every status travels boxed, as the error of a Result")]
pub(crate) fn status(error: &Error) -> Box<Status> {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Box::new(match error {
        Error::Cancelled => Status::cancelled(text),
        Error::OutOfTime { .. } => Status::deadline_exceeded(text),
        Error::QueryExists { .. } => Status::already_exists(text),
        Error::Plan(_) | Error::PlanBytes { .. } | Error::PlanDepth => Status::invalid_argument(text),
        Error::QueryMemory { .. }
        | Error::EngineMemory { .. }
        | Error::Resources(_)
        | Error::Busy { .. }
        | Error::Data(_)
        | Error::Blocking { .. }
        | Error::Misplaced { .. }
        | Error::SpillFolder { .. }
        | Error::Internal(_) => match error.fault() {
            Fault::Script => Status::invalid_argument(text),
            Fault::Resources => Status::resource_exhausted(text),
            Fault::Engine => Status::internal(text),
        },
    })
}
