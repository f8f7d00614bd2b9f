//! Queries that stream: rows as they are appended, each once, in order, for as long as somebody reads. And what is told of rows that went.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use datafusion::arrow::datatypes::Int64Type;
use engine::{AgentFacts, CompileRequest, Compiled, Engine, EngineArgs, Error, EventsLost, Execution, Fault, Functions};
use futures::FutureExt;
use ids::UnixNs;
use table_store::{Limits, Table, TableStore};
use tables::{ColumnDef, DataType, Relation, SemanticType};

/// Of a small table: a few batches of [`append`].
const BYTES_MAX: u64 = 16 * 1024;
/// What `px.now()` is: 1000 s after the epoch.
const NOW: UnixNs = UnixNs(1_000_000_000_000);
const SECOND: i64 = 1_000_000_000;

fn relation() -> Relation {
    let column = |name: &str, data_type| ColumnDef { name: name.to_owned(), data_type, semantic_type: SemanticType::None };
    Relation { columns: vec![column("time_", DataType::Time64Ns), column("number", DataType::Int64), column("text", DataType::String)] }
}

/// A row for each second from `first` on; every tenth text was cut.
fn append(table: &Table, seconds: std::ops::Range<i64>) {
    let text = |second: i64| if second % 10 == 0 { "long... [TRUNCATED]" } else { "short" };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from_iter_values(seconds.clone().map(|second| second * SECOND))),
        Arc::new(Int64Array::from_iter_values(seconds.clone())),
        Arc::new(StringArray::from_iter_values(seconds.map(text))),
    ];
    table.append(RecordBatch::try_new(Arc::clone(table.schema()), columns).unwrap()).unwrap();
}

fn store() -> (Arc<TableStore>, Arc<Table>) {
    let store = Arc::new(TableStore::empty(1 << 20));
    let limits = Limits { bytes_max: BYTES_MAX, seal_raw_bytes: 4096 };
    let table = store.create_with_limits("t", relation(), limits).unwrap();
    (store, table)
}

fn engine(store: &Arc<TableStore>, facts: AgentFacts) -> Engine {
    let functions = Functions::from(Arc::new(funcs::registry(&funcs::Environment::default())));
    Engine::of_agent(Arc::clone(store), functions, facts, EngineArgs { streams_running_max: 2, ..EngineArgs::default() })
}

/// The script's outputs, all of which stream.
fn streaming(engine: &Engine, script: &str) -> Compiled {
    let mut compiled = compile(engine, script);
    compiled.outputs.iter_mut().for_each(|output| output.streaming = true);
    compiled
}

fn compile(engine: &Engine, script: &str) -> Compiled {
    engine
        .compile(&CompileRequest { script, exec_funcs: &[], now: NOW, configs: pxl::Configs::default() })
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// The numbers of the next batch.
async fn next(execution: &mut Execution) -> (usize, Vec<i64>) {
    let batch = execution.next().await.unwrap().unwrap();
    (batch.output, batch.rows.column_by_name("number").unwrap().as_primitive::<Int64Type>().values().to_vec())
}

const ALL: &str = "import px\npx.display(px.DataFrame('t'))\n";

#[tokio::test]
async fn rows_come_as_they_are_appended_and_nothing_is_held_back() {
    let (store, table) = store();
    let engine = engine(&store, AgentFacts::default());
    append(&table, 0..10);
    let script = "import px\ndf = px.DataFrame('t')\ndf.twice = df.number * 2\ndf = df[df.twice % 4 == 0]\npx.display(df)\n";
    let mut execution = engine.execute(&streaming(&engine, script)).await.unwrap();
    assert!(execution.next().now_or_never().is_none(), "what was before is not wanted");
    append(&table, 10..11);
    assert_eq!(next(&mut execution).await, (0, vec![10]));
    append(&table, 11..12);
    assert!(execution.next().now_or_never().is_none(), "the filter drops it");
    append(&table, 12..17);
    assert_eq!(next(&mut execution).await, (0, vec![12, 14, 16]));
    table.seal().unwrap();
    assert!(execution.next().now_or_never().is_none(), "sealing adds no rows");
    drop(execution);
}

#[tokio::test]
async fn a_stream_with_a_start_begins_there_and_one_with_an_end_ends_there() {
    let (store, table) = store();
    let engine = engine(&store, AgentFacts::default());
    append(&table, 0..10);
    let script = "import px\npx.display(px.DataFrame('t', start_time=px.seconds(7), end_time=px.seconds(11)))\n";
    let mut execution = engine.execute(&streaming(&engine, script)).await.unwrap();
    assert_eq!(next(&mut execution).await, (0, vec![7, 8, 9]));
    append(&table, 10..20);
    let (_, last) = next(&mut execution).await;
    assert!(last.starts_with(&[10]) && last.iter().all(|number| *number <= 11), "{last:?}");
    append(&table, 20..21);
    assert!(execution.next().await.is_none());
}

#[tokio::test]
async fn outputs_that_stream_come_beside_those_that_end() {
    let (store, table) = store();
    let engine = engine(&store, AgentFacts::default());
    append(&table, 0..10);
    let script = "import px\npx.display(px.DataFrame('t'), 'a')\npx.display(px.DataFrame('t').agg(number=('number', px.sum)), 'b')\n";
    let mut compiled = compile(&engine, script);
    compiled.outputs[0].streaming = true;
    let mut execution = engine.execute(&compiled).await.unwrap();
    assert_eq!(next(&mut execution).await, (1, vec![45]));
    append(&table, 10..11);
    assert_eq!(next(&mut execution).await, (0, vec![10]));
}

#[tokio::test]
async fn what_has_rows_only_at_the_end_of_its_input_cannot_stream() {
    let (store, _) = store();
    let engine = engine(&store, AgentFacts::default());
    let blocking = [
        "px.display(df.agg(number=('number', px.sum)))",
        "px.display(df.merge(df, how='inner', left_on='number', right_on='number', suffixes=['', '_b']))",
        "px.display(df.append(df))",
    ];
    for script in blocking {
        let compiled = streaming(&engine, &format!("import px\ndf = px.DataFrame('t')\n{script}\n"));
        let error = engine.execute(&compiled).await.unwrap_err();
        assert!(matches!(error, Error::Blocking { .. }), "{script}: {error:?}");
        assert_eq!(error.fault(), Fault::Script);
    }
}

#[tokio::test]
async fn streams_have_places_of_their_own() {
    let (store, table) = store();
    let engine = engine(&store, AgentFacts::default());
    append(&table, 0..10);
    let stream = streaming(&engine, ALL);
    let running = [engine.execute(&stream).await.unwrap(), engine.execute(&stream).await.unwrap()];
    assert!(matches!(engine.execute(&stream).await, Err(Error::Busy { running_max: 2, waiting_max: 0 })));
    let mut other = engine.execute(&compile(&engine, ALL)).await.unwrap();
    assert_eq!(next(&mut other).await.1.len(), 10);
    drop(running);
    engine.execute(&stream).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_is_read_slowly_loses_rows_and_says_so_and_the_writer_goes_on() {
    let (store, table) = store();
    let engine = engine(&store, AgentFacts::default());
    let mut execution = engine.execute(&streaming(&engine, ALL)).await.unwrap();
    assert!(execution.next().now_or_never().is_none());
    append(&table, 0..100);
    assert_eq!(next(&mut execution).await.1.len(), 100);
    assert!(!execution.qualities()[0].expired_in_range);
    let mut second = 100;
    while table.stats().rows_expired < 300 {
        append(&table, second..second + 100);
        second += 100;
    }
    let expired = table.stats().rows_expired as i64;
    let (_, numbers) = next(&mut execution).await;
    assert_eq!(numbers[0], expired, "it goes on with the oldest that there is");
    let quality = &execution.qualities()[0];
    assert!(quality.expired_in_range && quality.rows_expired == expired as u64, "{quality:?}");
}

#[tokio::test]
async fn an_answer_tells_what_is_missing_in_it() {
    let (store, table) = store();
    let events_lost = EventsLost::default();
    let engine = engine(&store, AgentFacts { events_lost: events_lost.clone(), ..AgentFacts::default() });
    let mut second = 0;
    while table.stats().rows_expired == 0 {
        append(&table, second..second + 100);
        second += 100;
    }
    events_lost.add(3);
    events_lost.add(4);
    let (expired, oldest) = (table.stats().rows_expired, table.stats().time_oldest.unwrap());
    let last_gone = oldest.0 / SECOND - 1;
    for (start, in_range) in [(last_gone, true), (last_gone + 1, false)] {
        let script = format!("import px\npx.display(px.DataFrame('t', start_time=px.seconds({start})))\n");
        let mut execution = engine.execute(&compile(&engine, &script)).await.unwrap();
        let mut rows = 0;
        while let Some(batch) = execution.next().await {
            rows += batch.unwrap().rows.num_rows() as u64;
        }
        let [quality] = &execution.qualities()[..] else { panic!("{:?}", execution.qualities()) };
        assert_eq!((quality.table.as_str(), quality.asked_from), ("t", Some(UnixNs(start * SECOND))));
        assert_eq!((quality.oldest, quality.rows_expired, quality.expired_in_range), (Some(oldest), expired, in_range));
        assert_eq!((quality.rows_truncated, quality.events_lost), (rows / 10, 7));
    }
    let mut without_texts =
        engine.execute(&compile(&engine, "import px\npx.display(px.DataFrame('t', select=['number']))\n")).await.unwrap();
    while without_texts.next().await.is_some() {}
    let quality = &without_texts.qualities()[0];
    assert_eq!((quality.rows_truncated, quality.asked_from, quality.expired_in_range), (0, None, true));
}

#[tokio::test]
async fn an_agent_tells_of_its_tables() {
    let (store, table) = store();
    append(&table, 0..10);
    let engine = engine(&store, AgentFacts { asid: ids::Asid(7), ..AgentFacts::default() });
    let script = "import px\npx.display(px._DebugTableInfo())\n";
    let mut execution = engine.execute(&compile(&engine, script)).await.unwrap();
    let batch = execution.next().await.unwrap().unwrap().rows;
    let number = |column: &str| batch.column_by_name(column).unwrap().as_primitive::<Int64Type>().value(0);
    assert_eq!(batch.column_by_name("name").unwrap().as_string::<i32>().value(0), "t");
    assert_eq!((number("asid"), number("batches_added"), number("num_batches")), (7, 1, 1));
    assert_eq!((number("max_table_size"), number("size") as u64), (BYTES_MAX as i64, table.stats().bytes()));
}
