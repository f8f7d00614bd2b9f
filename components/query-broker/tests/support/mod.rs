//! A query engine in memory: its scripts are the names of prepared answers.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses its part")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::vizierpb::execute_script_response::Result as Body;
use api::vizierpb::vizier_service_server::VizierService as _;
use api::vizierpb::{ExecuteScriptRequest, ExecuteScriptResponse};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use futures::future::{BoxFuture, FutureExt as _, ready};
use futures::stream::{self, BoxStream, StreamExt as _};
use ids::{ClusterId, QueryId};
use query_broker::{
    Broker, BrokerArgs, ClusterIdentity, CompileFailure, HEALTH_SCRIPT, Output, Problem, Query, QueryEngine, QueryEvent, RunFailure, Script,
};
use tables::{ColumnDef, DataType, Relation, SemanticType};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Status};

/// What a running query says, made anew for each run.
pub type Events = Arc<dyn Fn() -> BoxStream<'static, Result<QueryEvent, RunFailure>> + Send + Sync>;

#[derive(Clone)]
pub struct Answer {
    pub outputs: Vec<Output>,
    pub explains: bool,
    pub events: Events,
}

impl Answer {
    pub fn of(outputs: Vec<Output>, events: impl Fn() -> Vec<Result<QueryEvent, RunFailure>> + Send + Sync + 'static) -> Answer {
        Answer { outputs, explains: false, events: Arc::new(move || stream::iter(events()).boxed()) }
    }
}

#[derive(Default)]
pub struct MemoryEngine {
    answers: HashMap<String, Result<Answer, CompileFailure>>,
}

impl MemoryEngine {
    /// With an answer to the self-test.
    pub fn new() -> MemoryEngine {
        let count = Answer::of(vec![output("output", &[("rows", DataType::Int64)])], || vec![Ok(rows(0, vec![numbers(&[7])]))]);
        MemoryEngine::default().with(HEALTH_SCRIPT, Ok(count))
    }

    pub fn with(mut self, script: &str, answer: Result<Answer, CompileFailure>) -> MemoryEngine {
        self.answers.insert(script.to_owned(), answer);
        self
    }
}

impl QueryEngine for MemoryEngine {
    fn compile(&self, script: Script) -> BoxFuture<'_, Result<Box<dyn Query>, CompileFailure>> {
        let unknown = || Err(CompileFailure::Script(vec![Problem { line: 1, column: 1, message: format!("no answer to {script:?}") }]));
        let answer = self.answers.get(&script.text).cloned().unwrap_or_else(unknown);
        ready(answer.map(|answer| Box::new(answer) as Box<dyn Query>)).boxed()
    }

    fn otel_script(&self, script: String) -> BoxFuture<'_, Result<String, CompileFailure>> {
        ready(Ok(script + ", and export")).boxed()
    }
}

impl Query for Answer {
    fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    fn explains(&self) -> bool {
        self.explains
    }

    fn run(self: Box<Self>, _id: QueryId) -> BoxStream<'static, Result<QueryEvent, RunFailure>> {
        (self.events)()
    }
}

/// Counts how many of it live.
pub struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub fn new(count: &Arc<AtomicUsize>) -> Alive {
        count.fetch_add(1, Ordering::SeqCst);
        Alive(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub fn output(name: &str, columns: &[(&str, DataType)]) -> Output {
    let column = |(name, data_type): &(&str, DataType)| ColumnDef {
        name: (*name).to_owned(),
        data_type: *data_type,
        semantic_type: SemanticType::None,
    };
    Output { name: name.to_owned(), relation: Relation { columns: columns.iter().map(column).collect() } }
}

pub fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

pub fn numbers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub fn rows(output: usize, columns: Vec<ArrayRef>) -> QueryEvent {
    let columns = columns.into_iter().enumerate().map(|(i, column)| (format!("c{i}"), column));
    QueryEvent::Rows { output, batch: RecordBatch::try_from_iter(columns).unwrap() }
}

pub const CLUSTER: &str = "01234567-89ab-4cde-8f01-23456789abcd";

pub fn broker(engine: MemoryEngine) -> Broker {
    broker_of(engine, &CancellationToken::new(), &TaskTracker::new())
}

pub fn broker_of(engine: MemoryEngine, stop: &CancellationToken, tasks: &TaskTracker) -> Broker {
    Broker::new(Arc::new(engine), identity(), stop.clone(), tasks.clone())
}

pub fn broker_with(args: BrokerArgs, engine: MemoryEngine) -> Broker {
    Broker::with(args, (Arc::new(engine), identity()), CancellationToken::new(), TaskTracker::new())
}

fn identity() -> ClusterIdentity {
    ClusterIdentity {
        id: CLUSTER.parse::<ClusterId>().unwrap(),
        name: "this-host".to_owned(),
        vizier_version: "9.8.7".to_owned(),
        cluster_version: "6.1".to_owned(),
    }
}

pub fn request(script: &str) -> ExecuteScriptRequest {
    ExecuteScriptRequest { query_str: script.to_owned(), ..Default::default() }
}

/// All messages of a run and how the call ended. The error is that of a call that was refused.
pub async fn execute(broker: &Broker, request: ExecuteScriptRequest) -> Result<(Vec<ExecuteScriptResponse>, Result<(), Status>), Status> {
    let mut stream = broker.execute_script(Request::new(request)).await?.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.next().await {
        match message {
            Ok(message) => messages.push(message),
            Err(status) => {
                assert!(stream.next().await.is_none(), "nothing follows the trailer");
                return Ok((messages, Err(status)));
            }
        }
    }
    Ok((messages, Ok(())))
}

/// What a message is, in a word and the table it speaks of.
pub fn kind(message: &ExecuteScriptResponse) -> String {
    match (&message.status, &message.result) {
        (Some(status), _) => format!("status {}", status.code),
        (None, Some(Body::MetaData(table))) => format!("table {}", table.name),
        (None, Some(Body::Data(data))) => match (&data.batch, &data.execution_stats) {
            (Some(batch), _) => format!("{} rows{}", batch.num_rows, if batch.eos { ", end" } else { "" }),
            (None, Some(_)) => "statistics".to_owned(),
            (None, None) => format!("{} encrypted bytes", data.encrypted_batch.len().min(1)),
        },
        (None, None) => "nothing".to_owned(),
    }
}
