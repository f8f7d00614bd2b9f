//! One query on a Kelvin, from the choice of it to its last word.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use agent::wire::{decode_rows, decode_schema, of_kelvin};
use api::internal::execute_plan_response::Message;
use api::internal::{ExecutePlanRequest, ExecutePlanResponse, QueryEnd};
use arrow::datatypes::SchemaRef;
use engine::distributed::PLAN_VERSION;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use ids::{AgentId, QueryId};
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use super::compile::{DistributedArgs, Explain, Shared, Work, chain};
use super::kelvins::Lease;
use super::report;
use crate::engine::{QueryEvent, RunFailure};

/// How often a query is given to a Kelvin: once more, to another one where there is another.
const ATTEMPTS_MAX: usize = 2;

/// Dropping it hangs up, by which Kelvin and the agents end the query.
#[expect(clippy::struct_excessive_bools, reason = "each says another thing about the one query")]
pub(super) struct Call {
    shared: Arc<Shared>,
    work: Work,
    id: QueryId,
    streams: bool,
    /// Kelvins that were lost, and how.
    lost: BTreeMap<AgentId, String>,
    attempts: usize,
    /// The last of them is of another version.
    mismatch: bool,
    running: Option<Running>,
    /// Rows went to the client: nobody can begin anew.
    rows_sent: bool,
    ready: VecDeque<QueryEvent>,
    done: bool,
}

struct Running {
    kelvin: Lease,
    /// None until it was asked.
    answers: Option<Streaming<ExecutePlanResponse>>,
    schemas: BTreeMap<u32, SchemaRef>,
}

/// What a failed attempt means.
enum Lost {
    /// Another Kelvin may do better.
    Kelvin {
        why: String,
        /// It is of another version.
        mismatch: bool,
    },
    /// It would fare the same.
    Query(RunFailure),
}

impl Call {
    pub(super) fn new(shared: Arc<Shared>, work: Work, (id, streams): (QueryId, bool)) -> Call {
        let (lost, ready) = (BTreeMap::new(), VecDeque::new());
        Call { shared, work, id, streams, lost, attempts: 0, mismatch: false, running: None, rows_sent: false, ready, done: false }
    }

    pub(super) fn events(self) -> BoxStream<'static, Result<QueryEvent, RunFailure>> {
        stream::unfold(self, |mut call| async move { call.event().await.map(|event| (event, call)) }).boxed()
    }

    async fn event(&mut self) -> Option<Result<QueryEvent, RunFailure>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.done {
                return None;
            }
            if let Err(lost) = self.advance().await
                && let Err(failure) = self.again(lost)
            {
                self.done = true;
                return Some(Err(failure));
            }
        }
    }

    /// One step: a Kelvin, its answer, or more of it.
    async fn advance(&mut self) -> Result<(), Lost> {
        let Some(running) = &mut self.running else {
            self.running = Some(self.choose()?);
            return Ok(());
        };
        let Some(answers) = &mut running.answers else {
            let request = request(&self.work, &self.shared.args, (self.id, self.streams), self.lost.is_empty());
            let response = running.kelvin.client().execute_plan(request).await.map_err(classify)?;
            running.answers = Some(response.into_inner());
            return Ok(());
        };
        let answer = answers.message().await.map_err(classify)?;
        let answer = answer.ok_or_else(|| Lost::Kelvin { why: "it ended its answer early".to_owned(), mismatch: false })?;
        let broken = |what: String| Lost::Query(RunFailure::Internal(format!("an answer of {}: {what}", running.kelvin.name())));
        match answer.message {
            // Of a newer one, which says more than we know.
            None => {}
            Some(Message::Schema(schema)) => {
                let decoded = decode_schema(&schema).map_err(|error| broken(error.to_string()))?;
                running.schemas.insert(schema.output, decoded);
            }
            Some(Message::Rows(rows)) => {
                let schema = running.schemas.get(&rows.output).ok_or_else(|| broken(format!("no schema for output {}", rows.output)))?;
                let batch = decode_rows(&rows, schema).map_err(|error| broken(error.to_string()))?;
                self.rows_sent = true;
                self.ready.push_back(QueryEvent::Rows { output: rows.output as usize, batch });
            }
            Some(Message::Exported(exported)) => {
                self.rows_sent = true;
                self.ready.push_back(QueryEvent::Exported { rows: exported.rows, refused: exported.refused });
            }
            Some(Message::End(end)) => self.end(&end),
        }
        Ok(())
    }

    fn choose(&self) -> Result<Running, Lost> {
        let view = self.shared.tracker.view().unwrap_or_else(|| Arc::clone(&self.work.view));
        let without: BTreeSet<_> = self.lost.keys().copied().collect();
        let choose = |without: &BTreeSet<AgentId>| {
            self.shared.kelvins.choose(&view, without).map_err(|error| Lost::Query(RunFailure::Internal(chain(&error))))
        };
        // The only one may be back already: what was lost is perhaps no more than its last connection.
        let chosen = match choose(&without)? {
            None if !without.is_empty() => choose(&BTreeSet::new())?,
            chosen => chosen,
        };
        let Some(kelvin) = chosen else { return Err(Lost::Query(self.nobody())) };
        tracing::debug!(kelvin = %kelvin.id, attempt = self.attempts + 1, agents = self.work.asked.len(), "given to a Kelvin");
        Ok(Running { kelvin, answers: None, schemas: BTreeMap::new() })
    }

    /// What to do about it: nothing if it is begun anew.
    fn again(&mut self, lost: Lost) -> Result<(), RunFailure> {
        let (why, mismatch) = match lost {
            Lost::Query(failure) => return Err(failure),
            Lost::Kelvin { why, mismatch } => (why, mismatch),
        };
        let Some(Running { kelvin, answers, .. }) = self.running.take() else { return Err(self.nobody()) };
        // It may have exported rows and not come to say so: they would be exported twice.
        let exported = answers.is_some() && self.work.plans.iter().any(|output| output.export.is_some());
        kelvin.lost();
        let why = format!("{}: {why}", kelvin.name());
        if self.rows_sent || exported {
            let text = format!("the Kelvin that ran the query was lost after it had sent rows: run the script again ({why})");
            return Err(RunFailure::Unavailable(text));
        }
        tracing::warn!(kelvin = %kelvin.id, why, "a Kelvin was lost before it had sent rows");
        self.mismatch = mismatch;
        self.lost.insert(kelvin.id, why);
        self.attempts += 1;
        if self.attempts >= ATTEMPTS_MAX { Err(self.nobody()) } else { Ok(()) }
    }

    fn nobody(&self) -> RunFailure {
        if self.lost.is_empty() {
            let text = "no Kelvin is alive, and only a Kelvin can run a query: try again when one has registered";
            return RunFailure::Unavailable(text.to_owned());
        }
        let text = format!("no Kelvin could run the query: {}", self.lost.values().map(String::as_str).collect::<Vec<_>>().join("; "));
        if self.mismatch { RunFailure::FailedPrecondition(text) } else { RunFailure::Unavailable(text) }
    }

    fn end(&mut self, end: &QueryEnd) {
        self.done = true;
        let kelvin = self.running.take().map_or_else(String::new, |running| running.kelvin.name());
        let quality = report::quality(end, &self.work.view, &self.work.asked, &self.work.refused);
        self.ready.push_back(QueryEvent::Read { bytes: end.bytes_read, records: end.rows_read });
        if let Some(Explain { names, .. }) = &self.work.explain {
            self.ready.push_back(QueryEvent::Plan(report::plan(&end.plans, names, &self.work.view, &kelvin)));
        }
        self.ready.push_back(QueryEvent::Quality(quality));
    }
}

fn request(work: &Work, args: &DistributedArgs, (id, streaming): (QueryId, bool), first: bool) -> ExecutePlanRequest {
    // The agents may still hold the first attempt's tasks, and refuse others of the same id.
    let id = if first { id } else { QueryId::from_bytes(Uuid::new_v4().into_bytes()) };
    ExecutePlanRequest {
        query_id: id.to_bytes().to_vec(),
        plan_version: PLAN_VERSION.to_owned(),
        agent_ids: work.asked.iter().map(|agent| agent.to_bytes().to_vec()).collect(),
        outputs: work.plans.clone(),
        time_max_ms: u64::try_from(args.query_time_max.as_millis()).unwrap_or(u64::MAX),
        streaming,
        explain: work.explain.is_some(),
        analyze: work.explain.as_ref().is_some_and(|explain| explain.analyze),
    }
}

fn classify(status: Status) -> Lost {
    let status = of_kelvin(status);
    let text = status.message().to_owned();
    Lost::Query(match status.code() {
        // It stops, cannot be reached, or is of another version: all differ from Kelvin to Kelvin.
        code @ (Code::Unavailable | Code::FailedPrecondition | Code::Unauthenticated) => {
            return Lost::Kelvin { why: text, mismatch: code == Code::FailedPrecondition };
        }
        Code::InvalidArgument => RunFailure::InvalidArgument(text),
        Code::ResourceExhausted => RunFailure::ResourceExhausted(text),
        // Ours, for a message that is larger than we take.
        Code::OutOfRange => RunFailure::ResourceExhausted(format!("a row of the answer is too large to be sent: {text}")),
        Code::DeadlineExceeded => RunFailure::DeadlineExceeded(text),
        Code::Cancelled => RunFailure::Cancelled(text),
        Code::Aborted => RunFailure::Export(text),
        Code::Ok
        | Code::Unknown
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => RunFailure::Internal(text),
    })
}
