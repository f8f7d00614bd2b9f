//! The engine of this process behind the broker.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::sync::Arc;

use api::vizierpb::error_details::Error as Detail;
use api::vizierpb::execute_script_request::{FuncToExecute, func_to_execute::ArgValue};
use api::vizierpb::execute_script_response::Result as Body;
use api::vizierpb::{ExecuteScriptRequest, column::ColData};
use arrow::array::{Int64Array, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use engine::{Engine, EngineArgs};
use ids::{Asid, ClusterId, UnixNs};
use query_broker::{AgentFact, Broker, ClusterIdentity, CronRunFact, Facts, HEALTH_SCRIPT, LocalEngine, TableFact, TracepointFact};
use support::{execute, kind, request};
use table_store::TableStore;
use tables::{ColumnDef, DataType, Relation, SemanticType};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const TABLE_BYTES_MAX: u64 = 1024 * 1024;

/// One machine that nobody else belongs to.
struct Alone;

impl Facts for Alone {
    fn agents(&self) -> Result<Vec<AgentFact>, String> {
        Ok(Vec::new())
    }
    fn tables(&self) -> Vec<TableFact> {
        Vec::new()
    }
    fn tracepoints(&self) -> Result<Vec<TracepointFact>, String> {
        Ok(Vec::new())
    }
    fn cron_runs(&self) -> Result<Vec<CronRunFact>, String> {
        Ok(Vec::new())
    }
    fn kept(&self, _: &str, _: &str) -> Result<Vec<(String, String)>, String> {
        Ok(Vec::new())
    }
    fn version(&self) -> (Asid, String) {
        (Asid(1), "9.8.7".to_owned())
    }
}

/// `numbers` has three rows.
fn broker() -> Broker {
    let store = TableStore::empty(TABLE_BYTES_MAX);
    let column = |name: &str, data_type| ColumnDef { name: name.to_owned(), data_type, semantic_type: SemanticType::None };
    let relation = Relation { columns: vec![column("time_", DataType::Time64Ns), column("n", DataType::Int64)] };
    let times = TimestampNanosecondArray::from(vec![1, 2, 3]);
    let rows = RecordBatch::try_new(Arc::new(relation.arrow_schema()), vec![Arc::new(times), Arc::new(Int64Array::from(vec![10, 20, 30]))]);
    store.create("numbers", relation).unwrap().append(rows.unwrap()).unwrap();
    let engine = Engine::new(Arc::new(store), Arc::new(funcs::registry(&funcs::Environment::default())), EngineArgs::default());
    let identity = ClusterIdentity {
        id: ClusterId::from_halves(1, 2),
        name: String::new(),
        vizier_version: String::new(),
        cluster_version: String::new(),
    };
    let engine = LocalEngine::new(Arc::new(engine), || UnixNs(1_000)).facts(Arc::new(Alone));
    Broker::new(Arc::new(engine), identity, CancellationToken::new(), TaskTracker::new())
}

fn numbers(data: &Body) -> Vec<i64> {
    let Body::Data(data) = data else { panic!() };
    let Some(ColData::Int64Data(column)) = &data.batch.as_ref().unwrap().cols[0].col_data else { panic!() };
    column.data.clone()
}

#[tokio::test]
async fn the_self_test_yields_one_row_without_any_table_of_events() {
    let (messages, end) = execute(&broker(), request(HEALTH_SCRIPT)).await.unwrap();
    assert!(end.is_ok());
    assert_eq!(messages.iter().map(kind).collect::<Vec<_>>(), ["table output", "1 rows", "0 rows, end", "statistics"]);
    assert_eq!(numbers(messages[1].result.as_ref().unwrap()), [1], "whose version it is");
}

#[tokio::test]
async fn a_function_is_called_with_arguments_and_its_table_has_the_name_asked_for() {
    let script = "import px\ndef big(least: int):\n    df = px.DataFrame(table='numbers')\n    return df[df.n >= least][['n']]\n";
    let args = vec![ArgValue { name: "least".to_owned(), value: "20".to_owned() }];
    let func = FuncToExecute { func_name: "big".to_owned(), arg_values: args, output_table_prefix: "found".to_owned() };
    let (messages, end) = execute(&broker(), ExecuteScriptRequest { exec_funcs: vec![func], ..request(script) }).await.unwrap();
    assert!(end.is_ok(), "{messages:?}");
    assert_eq!(messages.iter().map(kind).collect::<Vec<_>>(), ["table found", "2 rows", "0 rows, end", "statistics"]);
    assert_eq!(numbers(messages[1].result.as_ref().unwrap()), [20, 30]);
}

#[tokio::test]
async fn a_plan_that_was_asked_for_names_the_table_and_the_rows_read_are_counted() {
    let script = "#px:set explain=true\nimport px\npx.display(px.DataFrame(table='numbers'), 'all')\n";
    let (messages, _) = execute(&broker(), request(script)).await.unwrap();
    let kinds: Vec<_> = messages.iter().map(kind).collect();
    assert_eq!(kinds, ["table all", "table __query_plan__", "3 rows", "0 rows, end", "1 rows", "0 rows, end", "statistics"]);
    let Some(Body::Data(data)) = &messages[4].result else { panic!() };
    let Some(ColData::StringData(text)) = &data.batch.as_ref().unwrap().cols[0].col_data else { panic!() };
    let text = std::str::from_utf8(&text.data[0]).unwrap();
    assert!(text.starts_with("digraph {") && text.contains("numbers"), "{text}");
    let Some(Body::Data(data)) = &messages[6].result else { panic!() };
    let stats = data.execution_stats.as_ref().unwrap();
    assert_eq!(stats.records_processed, 3);
    assert!(stats.bytes_processed > 0 && stats.timing.unwrap().compilation_time_ns > 0);
}

#[tokio::test]
async fn a_mistake_has_its_place() {
    let (messages, _) = execute(&broker(), request("import px\npx.display(px.DataFrame(table='number'))\n")).await.unwrap();
    let details = &messages[0].status.as_ref().unwrap().error_details;
    let Some(Detail::CompilerError(error)) = &details[0].error else { panic!() };
    assert_eq!((details.len(), error.line), (1, 2));
    assert!(error.message.contains("'number'") && error.message.contains("numbers"), "{}", error.message);
}
