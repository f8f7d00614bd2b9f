//! An engine that makes as many rows as it is told to, when it is told to.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::record_batch::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt as _};
use ids::QueryId;
use query_broker::{CompileFailure, Output, Query, QueryEngine, QueryEvent, RunFailure, Script};
use tables::{ColumnDef, DataType, Relation, SemanticType};
use tokio::sync::watch;

/// How often each script was begun, and how often its run is over.
type Runs = BTreeMap<String, (usize, usize)>;

/// A script is a name and how many rows it has; rows are made up to the gate, and while that is shut scripts do not even compile.
#[derive(Clone)]
pub(crate) struct Paced {
    pub(crate) gate: watch::Receiver<usize>,
    runs: watch::Sender<Runs>,
}

impl Paced {
    pub(crate) fn new(gate: watch::Receiver<usize>) -> Paced {
        Paced { gate, runs: watch::Sender::default() }
    }

    pub(crate) fn runs(&self, script: &str) -> usize {
        self.runs.borrow().get(script).map_or(0, |(begun, _)| *begun)
    }

    /// Waits until somebody has asked for it.
    pub(crate) async fn began(&self, script: &str) {
        self.runs.subscribe().wait_for(|runs| runs.contains_key(script)).await.unwrap();
    }

    /// Waits until no run of it is left.
    pub(crate) async fn ended(&self, script: &str) {
        self.runs.subscribe().wait_for(|runs| runs.get(script).is_some_and(|(begun, over)| begun == over)).await.unwrap();
    }
}

struct PacedQuery {
    outputs: Vec<Output>,
    script: String,
    /// None: one row, at once; for whoever asks whether scripts are answered.
    rows: Option<usize>,
    engine: Paced,
}

/// Says that a run is over when it is dropped.
struct Over(Paced, String);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.runs.send_modify(|runs| runs.entry(self.1.clone()).or_default().1 += 1);
    }
}

impl QueryEngine for Paced {
    fn compile(&self, script: Script) -> futures::future::BoxFuture<'_, Result<Box<dyn Query>, CompileFailure>> {
        let column = ColumnDef { name: "n".to_owned(), data_type: DataType::Int64, semantic_type: SemanticType::None };
        let outputs = vec![Output { name: "rows".to_owned(), relation: Relation { columns: vec![column] } }];
        let rows = script.text.rsplit_once(' ').and_then(|(_, rows)| rows.parse().ok());
        let query = PacedQuery { outputs, rows, script: script.text, engine: self.clone() };
        Box::pin(async move {
            if rows.is_some() {
                self.runs.send_modify(|runs| {
                    runs.entry(query.script.clone()).or_default();
                });
                self.gate.clone().wait_for(|gate| *gate > 0).await.unwrap();
            }
            Ok(Box::new(query) as Box<dyn Query>)
        })
    }
}

impl Query for PacedQuery {
    fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    fn explains(&self) -> bool {
        false
    }

    fn run(self: Box<Self>, _id: QueryId) -> BoxStream<'static, Result<QueryEvent, RunFailure>> {
        let PacedQuery { script, rows, engine, .. } = *self;
        engine.runs.send_modify(|runs| runs.entry(script.clone()).or_default().0 += 1);
        let (gate, over) = (engine.gate.clone(), Over(engine, script));
        let made = stream::unfold((0, gate, over), move |(row, mut gate, over)| async move {
            if row == rows.unwrap_or(1) {
                return None;
            }
            if rows.is_some() {
                gate.wait_for(|gate| row < *gate).await.ok()?;
            }
            let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![row as i64])) as _)]).unwrap();
            Some((Ok(QueryEvent::Rows { output: 0, batch }), (row + 1, gate, over)))
        });
        made.boxed()
    }
}
