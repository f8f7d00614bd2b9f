//! What a query may take, how it ends, and what of it is done at the table.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::ScalarValue;
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{col, lit};
use engine::{CompileRequest, Compiled, Engine, EngineArgs, Error, Execution, Fault, StoreCatalog};
use futures::StreamExt;
use ids::UnixNs;
use pxl::{Catalog, FunctionRegistry};
use table_store::{Budget, TableStore};
use tables::{ColumnDef, DataType as PxlType, Relation, SemanticType};

/// Batches of the test table, each of as many rows.
const BATCHES: i64 = 50;
const BATCH_ROWS: i64 = 1000;

fn relation(columns: &[(&str, PxlType)]) -> Relation {
    let column = |(name, data_type): &(&str, PxlType)| ColumnDef {
        name: (*name).to_owned(),
        data_type: *data_type,
        semantic_type: SemanticType::None,
    };
    Relation { columns: columns.iter().map(column).collect() }
}

/// A table `t` of `time_` 0, 1, 2, …, `id` (as text, unique) and `number` (time modulo 10).
fn store() -> Arc<TableStore> {
    let store = Arc::new(TableStore::new(&Budget::default()).unwrap());
    let table = store.create("t", relation(&[("time_", PxlType::Time64Ns), ("id", PxlType::String), ("number", PxlType::Int64)])).unwrap();
    for batch in 0..BATCHES {
        let times = batch * BATCH_ROWS..(batch + 1) * BATCH_ROWS;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from_iter_values(times.clone())),
            Arc::new(StringArray::from_iter_values(times.clone().map(|t| format!("row number {t:020}")))),
            Arc::new(Int64Array::from_iter_values(times.map(|t| t % 10))),
        ];
        table.append(RecordBatch::try_new(Arc::clone(table.schema()), columns).unwrap()).unwrap();
    }
    store
}

fn engine(store: &Arc<TableStore>, args: EngineArgs) -> Engine {
    Engine::new(Arc::clone(store), Arc::new(FunctionRegistry::default()), args)
}

fn scan(store: &Arc<TableStore>) -> LogicalPlanBuilder {
    let table = StoreCatalog::new(Arc::clone(store)).table("t").unwrap();
    LogicalPlanBuilder::scan("t", table.source, None).unwrap()
}

fn compiled(outputs: Vec<(Relation, LogicalPlan)>) -> Compiled {
    let output = |(at, (relation, plan))| pxl::Output { name: format!("output {at}"), relation, plan, streaming: false, export: None };
    Compiled {
        outputs: outputs.into_iter().enumerate().map(output).collect(),
        flags: pxl::Flags::default(),
        compile_time: std::time::Duration::ZERO,
    }
}

fn count_by_id(store: &Arc<TableStore>) -> Compiled {
    let plan = scan(store).aggregate([col("id")], [count(lit(1)).alias("n")]).unwrap().build().unwrap();
    compiled(vec![(relation(&[("id", PxlType::String), ("n", PxlType::Int64)]), plan)])
}

fn time(at: i64) -> datafusion::prelude::Expr {
    lit(ScalarValue::TimestampNanosecond(Some(at), None))
}

async fn rows(mut execution: Execution) -> Result<Vec<(usize, RecordBatch)>, Error> {
    let mut batches = Vec::new();
    while let Some(batch) = execution.next().await {
        let batch = batch?;
        batches.push((batch.output, batch.rows));
    }
    Ok(batches)
}

#[tokio::test]
async fn a_script_runs_over_the_tables() {
    let store = store();
    let engine = engine(&store, EngineArgs::default());
    let script = "import px\ndf = px.DataFrame('t', select=['number', 'time_'])\npx.display(df.head(3), 'first')\npx.display(df, 'all')\n";
    let compiled = engine.compile(&CompileRequest { script, exec_funcs: &[], now: UnixNs(0), configs: pxl::Configs::default() }).unwrap();
    let mut execution = engine.execute(&compiled).await.unwrap();
    let (mut first, mut all) = (Vec::new(), 0);
    while let Some(batch) = execution.next().await {
        let batch = batch.unwrap();
        assert_eq!(*batch.rows.schema(), compiled.outputs[batch.output].relation.arrow_schema());
        match compiled.outputs[batch.output].name.as_str() {
            "first" => first.extend(batch.rows.column(0).as_primitive::<Int64Type>().values().to_vec()),
            _ => all += batch.rows.num_rows(),
        }
    }
    assert_eq!((first, all), (vec![0, 1, 2], 10_000));
    let stats = execution.stats();
    assert!(stats.rows_read >= 10_003 && stats.bytes_read >= 16 * stats.rows_read, "{stats:?}");
    assert!(stats.rows_read <= 10_003 + BATCH_ROWS as u64, "a limit ends the scan: {stats:?}");
}

#[tokio::test]
async fn a_wrong_script_is_refused_with_its_place() {
    let store = store();
    let script = "import px\npx.display(px.DataFrame('tt'))\n";
    let error = engine(&store, EngineArgs::default())
        .compile(&CompileRequest { script, exec_funcs: &[], now: UnixNs(0), configs: pxl::Configs::default() })
        .unwrap_err();
    assert_eq!(error.problems().len(), 1);
}

#[tokio::test]
async fn time_and_limit_are_done_by_the_scan() {
    let store = store();
    let engine = engine(&store, EngineArgs::default());
    let bounds = col("time_").gt_eq(time(1500)).and(col("time_").lt(time(1510)));
    let plan = scan(&store).filter(bounds).unwrap().limit(0, Some(7)).unwrap().project([col("time_")]).unwrap().build().unwrap();
    let execution = engine.execute(&compiled(vec![(relation(&[("time_", PxlType::Time64Ns)]), plan)])).await.unwrap();
    let plan = execution.explain(0, false).unwrap();
    assert!(plan.trim().ends_with("StoreScan: table=t, columns=[time_], time_=[1500, 1509], limit=7"), "{plan}");
    assert!(!plan.contains("FilterExec"), "{plan}");
    let batches = rows(execution).await.unwrap();
    assert_eq!(batches.iter().map(|(_, rows)| rows.num_rows()).sum::<usize>(), 7);
}

#[tokio::test]
async fn what_is_not_a_time_stays_a_filter() {
    let store = store();
    let filter = col("number").eq(lit(3_i64)).and(col("time_").lt(time(100)));
    let plan = scan(&store).filter(filter).unwrap().project([col("time_")]).unwrap().build().unwrap();
    let execution =
        engine(&store, EngineArgs::default()).execute(&compiled(vec![(relation(&[("time_", PxlType::Time64Ns)]), plan)])).await.unwrap();
    let text = execution.explain(0, false).unwrap();
    assert!(text.contains("FilterExec: number@1 = 3") && text.contains("time_=[-9223372036854775808, 99]"), "{text}");
    let batches = rows(execution).await.unwrap();
    assert_eq!(batches.iter().map(|(_, rows)| rows.num_rows()).sum::<usize>(), 10);
}

#[tokio::test]
async fn rows_that_came_after_the_plan_are_not_read() {
    let store = store();
    let table = store.table("t").unwrap();
    let plan = scan(&store).aggregate(Vec::<datafusion::prelude::Expr>::new(), [count(lit(1)).alias("n")]).unwrap().build().unwrap();
    let execution =
        engine(&store, EngineArgs::default()).execute(&compiled(vec![(relation(&[("n", PxlType::Int64)]), plan)])).await.unwrap();
    let again = table.snapshot().scan(None, table_store::TimeRange::ALL).unwrap().next().unwrap().unwrap();
    table.append(again).unwrap();
    table.seal().unwrap();
    let batches = rows(execution).await.unwrap();
    assert_eq!(batches[0].1.column(0).as_primitive::<Int64Type>().value(0), BATCHES * BATCH_ROWS);
}

#[tokio::test]
async fn too_much_memory_for_one_query_is_an_error_that_tells_the_limit() {
    let store = store();
    let args = EngineArgs { query_memory_bytes_max: 1024 * 1024, ..EngineArgs::default() };
    let engine = engine(&store, args);
    let error = rows(engine.execute(&count_by_id(&store)).await.unwrap()).await.unwrap_err();
    assert!(matches!(&error, Error::QueryMemory { bytes_max: 1_048_576, .. }), "{error:?}");
    assert_eq!(error.fault(), Fault::Resources);
    assert!(error.to_string().contains("the query needs more than the 1048576 bytes of memory that one query may have"), "{error}");
}

#[tokio::test]
async fn all_queries_share_one_limit_and_give_back_what_they_took() {
    let store = store();
    let few = engine(&store, EngineArgs { memory_bytes_max: 1024 * 1024, ..EngineArgs::default() });
    let error = rows(few.execute(&count_by_id(&store)).await.unwrap()).await.unwrap_err();
    assert!(matches!(&error, Error::EngineMemory { bytes_max: 1_048_576, .. }), "{error:?}");
    let enough = engine(&store, EngineArgs { memory_bytes_max: 16 * 1024 * 1024, ..EngineArgs::default() });
    for _ in 0..5 {
        let batches = rows(enough.execute(&count_by_id(&store)).await.unwrap()).await.unwrap();
        assert_eq!(batches.iter().map(|(_, rows)| rows.num_rows() as i64).sum::<i64>(), BATCHES * BATCH_ROWS);
    }
}

#[tokio::test]
async fn queries_beyond_those_that_run_and_wait_are_refused() {
    let store = store();
    let engine = engine(&store, EngineArgs { queries_running_max: 1, queries_waiting_max: 1, ..EngineArgs::default() });
    let compiled = count_by_id(&store);
    let running = engine.execute(&compiled).await.unwrap();
    let mut waiting = Box::pin(engine.execute(&compiled));
    assert!(futures::poll!(&mut waiting).is_pending());
    let error = engine.execute(&compiled).await.unwrap_err();
    assert_eq!(error.to_string(), "1 queries run and 1 wait already: try again later");
    drop(running);
    assert!(rows(waiting.await.unwrap()).await.is_ok());
}

/// Never ends, counts its batches, and tells when its stream is gone.
#[derive(Debug)]
struct Endless {
    schema: SchemaRef,
    batches: Arc<AtomicU64>,
}

impl PartitionStream for Endless {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (schema, batches) = (Arc::clone(&self.schema), Arc::clone(&self.batches));
        let endless = futures::stream::repeat_with(move || {
            batches.fetch_add(1, Ordering::Relaxed);
            Ok(RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![1; 100]))])?)
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), endless.boxed()))
    }
}

async fn dropping_ends_an_endless_query(target_partitions: usize) {
    let schema = Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)]));
    let batches = Arc::new(AtomicU64::new(0));
    let endless = (0..target_partitions)
        .map(|_| Arc::new(Endless { schema: Arc::clone(&schema), batches: Arc::clone(&batches) }) as Arc<dyn PartitionStream>);
    let table = StreamingTable::try_new(Arc::clone(&schema), endless.collect()).unwrap();
    let plan = LogicalPlanBuilder::scan("endless", provider_as_source(Arc::new(table)), None).unwrap();
    let plan = plan.aggregate([col("number")], [count(lit(1)).alias("n")]).unwrap().build().unwrap();
    let query = compiled(vec![(relation(&[("number", PxlType::Int64), ("n", PxlType::Int64)]), plan)]);
    let engine = engine(&store(), EngineArgs { target_partitions, ..EngineArgs::default() });

    let mut execution = engine.execute(&query).await.unwrap();
    {
        let mut next = Box::pin(execution.next());
        while batches.load(Ordering::Relaxed) < 1000 {
            assert!(futures::poll!(&mut next).is_pending());
            tokio::task::yield_now().await;
        }
    }
    drop((execution, query));
    let streams = async {
        while Arc::strong_count(&batches) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), streams).await.expect("a stream is still there");
}

#[tokio::test]
async fn a_query_ends_when_it_is_dropped() {
    dropping_ends_an_endless_query(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_of_several_threads_ends_when_it_is_dropped() {
    dropping_ends_an_endless_query(3).await;
}
