//! `ExecuteScript`: messages, their order, what is refused.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::vizierpb::error_details::Error as Detail;
use api::vizierpb::execute_script_request::EncryptionOptions;
use api::vizierpb::execute_script_response::Result as Body;
use api::vizierpb::vizier_service_server::VizierService as _;
use api::vizierpb::{ExecuteScriptRequest, column::ColData};
use futures::stream::{self, StreamExt as _};
use prost::Message as _;
use query_broker::{
    CONCURRENT_QUERIES_MAX, CompileFailure, MESSAGES_WAITING_MAX, Problem, QueryEvent, ROW_BATCH_BYTES_MAX, RunFailure, SCRIPT_BYTES_MAX,
};
use support::{Alive, Answer, MemoryEngine, broker, execute, kind, numbers, output, request, rows, texts};
use tables::DataType;
use tonic::{Code, Request};

fn two_tables() -> MemoryEngine {
    let outputs = vec![output("a", &[("x", DataType::Int64)]), output("b", &[("y", DataType::String), ("x", DataType::Int64)])];
    let answer = Answer::of(outputs, || {
        vec![
            Ok(rows(1, vec![texts(&["grün", ""]), numbers(&[1, -2])])),
            Ok(QueryEvent::OutputEnd { output: 1 }),
            Ok(rows(0, vec![numbers(&[7])])),
            Ok(QueryEvent::Read { bytes: 80, records: 9 }),
            Ok(rows(0, vec![numbers(&[8, 9, 10])])),
            Ok(QueryEvent::Read { bytes: 100, records: 10 }),
        ]
    });
    MemoryEngine::new().with("two", Ok(answer))
}

#[tokio::test]
async fn tables_are_announced_then_rows_come_then_each_ends_once_then_statistics() {
    let broker = broker(two_tables());
    let (messages, end) = execute(&broker, request("two")).await.unwrap();
    assert!(end.is_ok());
    let kinds: Vec<_> = messages.iter().map(kind).collect();
    assert_eq!(kinds, ["table a", "table b", "2 rows", "0 rows, end", "1 rows", "3 rows", "0 rows, end", "statistics"]);

    let queries: HashSet<_> = messages.iter().map(|m| m.query_id.clone()).collect();
    let query = uuid::Uuid::parse_str(queries.iter().next().unwrap()).unwrap();
    assert_eq!((queries.len(), query.get_version_num()), (1, 4));

    let Some(Body::MetaData(b)) = &messages[1].result else { panic!() };
    assert_eq!(uuid::Uuid::parse_str(&b.id).unwrap().get_version_num(), 4);
    let columns = &b.relation.as_ref().unwrap().columns;
    let columns: Vec<_> = columns.iter().map(|c| (c.column_name.as_str(), c.column_type, c.column_semantic_type)).collect();
    assert_eq!(columns, [("y", 5, 1), ("x", 2, 1)]);

    let Some(Body::Data(data)) = &messages[2].result else { panic!() };
    let batch = data.batch.as_ref().unwrap();
    assert_eq!((&batch.table_id, batch.eow, batch.eos), (&b.id, false, false));
    let Some(ColData::StringData(y)) = &batch.cols[0].col_data else { panic!() };
    let Some(ColData::Int64Data(x)) = &batch.cols[1].col_data else { panic!() };
    assert_eq!((y.data[0].as_ref(), y.data[1].as_ref(), &x.data), ("grün".as_bytes(), &b""[..], &vec![1, -2]));

    let Some(Body::Data(data)) = &messages[7].result else { panic!() };
    let stats = data.execution_stats.as_ref().unwrap();
    assert_eq!((stats.bytes_processed, stats.records_processed), (100, 10));
    assert!(stats.timing.as_ref().unwrap().execution_time_ns > 0);
    let counted = broker.counters().snapshot();
    assert_eq!((counted.rows_sent, counted.batches_sent), (6, 5));
}

#[tokio::test]
async fn table_ids_are_fresh_in_every_run() {
    let broker = broker(two_tables());
    let mut ids = HashSet::new();
    for _ in 0..2 {
        for message in execute(&broker, request("two")).await.unwrap().0 {
            if let Some(Body::MetaData(table)) = message.result {
                assert!(ids.insert(table.id));
            }
        }
    }
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn a_wrong_script_is_answered_with_every_place() {
    let problem = |line, column, message: &str| Problem { line, column, message: message.to_owned() };
    let problems = vec![problem(2, 3, "name 'foo' is not defined"), problem(4, 1, "unknown table 'htp'")];
    let broker = broker(MemoryEngine::new().with("wrong", Err(CompileFailure::Script(problems))));
    let (messages, end) = execute(&broker, request("wrong")).await.unwrap();
    assert_eq!(messages.len(), 1);
    assert!(!messages[0].query_id.is_empty());
    let status = messages[0].status.as_ref().unwrap();
    let places: Vec<_> = status
        .error_details
        .iter()
        .map(|details| match details.error.as_ref().unwrap() {
            Detail::CompilerError(e) => (e.line, e.column, e.message.as_str()),
        })
        .collect();
    assert_eq!(places, [(2, 3, "name 'foo' is not defined"), (4, 1, "unknown table 'htp'")]);
    assert_eq!((status.code, end.unwrap_err().code()), (3, Code::InvalidArgument));
    assert_eq!(broker.counters().snapshot().scripts_rejected, 1);
}

#[tokio::test]
async fn without_tables_to_compile_against_the_client_shall_come_again() {
    let broker = broker(MemoryEngine::new().with("early", Err(CompileFailure::NotReady("not ready yet".to_owned()))));
    let (messages, end) = execute(&broker, request("early")).await.unwrap();
    let status = end.unwrap_err();
    assert_eq!((messages.len(), status.code(), status.message()), (0, Code::Unavailable, "not ready yet"));
}

#[tokio::test]
async fn a_failure_while_rows_flow_is_a_status_without_places_and_the_end() {
    let answer = Answer::of(vec![output("a", &[("x", DataType::Int64)])], || {
        vec![Ok(rows(0, vec![numbers(&[1])])), Err(RunFailure::ResourceExhausted("the query needs more memory".to_owned()))]
    });
    let broker = broker(MemoryEngine::new().with("fails", Ok(answer)));
    let (messages, end) = execute(&broker, request("fails")).await.unwrap();
    assert_eq!(messages.iter().map(kind).collect::<Vec<_>>(), ["table a", "1 rows", "status 8"]);
    let status = messages[2].status.as_ref().unwrap();
    assert_eq!((status.message.as_str(), status.error_details.len()), ("the query needs more memory", 0));
    assert_eq!(end.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(broker.counters().snapshot().queries_failed, 1);
}

#[tokio::test]
async fn an_engine_that_breaks_its_word_fails_the_query() {
    let outputs = || vec![output("a", &[("x", DataType::Int64)])];
    let cases: [(&str, Vec<QueryEvent>, &str); 5] = [
        ("a", vec![rows(1, vec![numbers(&[1])])], "rows of output 1, which does not exist or has ended"),
        (
            "b",
            vec![QueryEvent::OutputEnd { output: 0 }, rows(0, vec![numbers(&[1])])],
            "rows of output 0, which does not exist or has ended",
        ),
        (
            "c",
            vec![QueryEvent::OutputEnd { output: 0 }, QueryEvent::OutputEnd { output: 0 }],
            "a second end of output 0, or the end of none",
        ),
        ("d", vec![rows(0, vec![texts(&["1"])])], "column `x` holds Utf8, not INT64"),
        ("e", vec![rows(0, vec![numbers(&[1]), numbers(&[1])])], "output `a` has 2 columns where 1 were announced"),
    ];
    for (script, events, message) in cases {
        let events = std::sync::Mutex::new(Some(events));
        let answer = Answer::of(outputs(), move || events.lock().unwrap().take().unwrap().into_iter().map(Ok).collect());
        let broker = broker(MemoryEngine::new().with(script, Ok(answer)));
        let status = execute(&broker, request(script)).await.unwrap().1.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Internal, message));
    }
}

#[tokio::test]
async fn an_explained_query_has_its_plan_as_the_last_table() {
    let mut answer = Answer::of(vec![output("a", &[("x", DataType::Int64)])], || {
        vec![Ok(QueryEvent::Plan("digraph { é }".to_owned())), Ok(rows(0, vec![numbers(&[1])]))]
    });
    answer.explains = true;
    let broker = broker(MemoryEngine::new().with("explained", Ok(answer)));
    let (messages, _) = execute(&broker, request("explained")).await.unwrap();
    let kinds: Vec<_> = messages.iter().map(kind).collect();
    assert_eq!(kinds, ["table a", "table __query_plan__", "1 rows", "0 rows, end", "1 rows", "0 rows, end", "statistics"]);
    let Some(Body::Data(data)) = &messages[4].result else { panic!() };
    let Some(ColData::StringData(text)) = &data.batch.as_ref().unwrap().cols[0].col_data else { panic!() };
    assert_eq!(text.data[0].as_ref(), "digraph { é }".as_bytes());
}

#[tokio::test]
async fn large_batches_are_cut_and_no_row_is_lost() {
    let answer = Answer::of(vec![output("big", &[("n", DataType::Int64), ("text", DataType::String)])], || {
        let count = 4000;
        let values: Vec<String> = (0..count).map(|n| "x".repeat(if n % 100 == 0 { 50_000 } else { n % 700 })).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        vec![Ok(rows(0, vec![numbers(&(0..count as i64).collect::<Vec<_>>()), texts(&values)]))]
    });
    let broker = broker(MemoryEngine::new().with("big", Ok(answer)));
    let (messages, end) = execute(&broker, request("big")).await.unwrap();
    assert!(end.is_ok());
    let mut seen = Vec::new();
    for message in &messages {
        let Some(Body::Data(data)) = &message.result else { continue };
        let Some(batch) = &data.batch else { continue };
        assert!(batch.encoded_len() <= ROW_BATCH_BYTES_MAX, "{} bytes", batch.encoded_len());
        let Some(ColData::Int64Data(n)) = &batch.cols[0].col_data else { panic!() };
        seen.extend_from_slice(&n.data);
    }
    assert_eq!(seen, (0..4000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_row_that_no_client_could_take_fails_the_query() {
    let answer = Answer::of(vec![output("huge", &[("text", DataType::String)])], || {
        vec![Ok(rows(0, vec![texts(&["fits", &"x".repeat(2_000_000)])])), Ok(rows(0, vec![texts(&[&"x".repeat(5_000_000)])]))]
    });
    let broker = broker(MemoryEngine::new().with("huge", Ok(answer)));
    let (messages, end) = execute(&broker, request("huge")).await.unwrap();
    assert_eq!(messages.iter().map(kind).collect::<Vec<_>>(), ["table huge", "1 rows", "1 rows", "status 8"]);
    let message = end.unwrap_err().message().to_owned();
    assert!(message.starts_with("a row of `huge` has 5000"), "{message}");
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_before_it_runs() {
    let broker = broker(two_tables());
    let encrypted = |jwk_key: &str, key_alg: &str| ExecuteScriptRequest {
        encryption_options: Some(EncryptionOptions {
            jwk_key: jwk_key.to_owned(),
            key_alg: key_alg.to_owned(),
            content_alg: "A256GCM".to_owned(),
            compression_alg: "DEF".to_owned(),
        }),
        ..request("two")
    };
    let oaep = "RSA-OAEP-256";
    let cases = [
        (
            request(&"x".repeat(SCRIPT_BYTES_MAX + 1)),
            Code::InvalidArgument,
            "the script has 1048577 bytes, more than 1048576 are not accepted",
        ),
        (
            ExecuteScriptRequest { query_id: "11223344-5566-4788-99aa-bbccddeeff00".to_owned(), ..Default::default() },
            Code::NotFound,
            "query 11223344-5566-4788-99aa-bbccddeeff00 is not running: run the script again",
        ),
        (ExecuteScriptRequest { query_id: "x".to_owned(), ..Default::default() }, Code::InvalidArgument, "query_id: `x` is not a UUID"),
        (encrypted("{}", "RSA1_5"), Code::InvalidArgument, "encryption_options: key_alg `RSA1_5` is not supported, only RSA-OAEP-256 is"),
        (
            encrypted("no key", oaep),
            Code::InvalidArgument,
            "encryption_options: jwk_key is not a JSON web key: expected ident at line 1 column 2",
        ),
        (encrypted(r#"{"kty":"EC"}"#, oaep), Code::InvalidArgument, "encryption_options: jwk_key is of type `EC`, only RSA is supported"),
        (encrypted(r#"{"kty":"RSA","e":"AQAB"}"#, oaep), Code::InvalidArgument, "encryption_options: jwk_key has no member `n`"),
        (
            encrypted(r#"{"kty":"RSA","n":"_____w","e":"AQAB"}"#, oaep),
            Code::InvalidArgument,
            "encryption_options: jwk_key has 32 bits, 2048 to 8192 are accepted",
        ),
        (
            encrypted(r#"{"kty":"RSA","n":"*","e":"AQAB"}"#, oaep),
            Code::InvalidArgument,
            "encryption_options: member `n` of jwk_key is not base64url",
        ),
    ];
    for (request, code, message) in cases {
        let status = execute(&broker, request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message));
    }
    assert_eq!(broker.counters().snapshot().queries_started, 0);
}

#[tokio::test]
async fn tracepoints_are_refused_in_words() {
    let request = ExecuteScriptRequest { mutation: true, ..request("two") };
    let (messages, end) = execute(&broker(two_tables()), request).await.unwrap();
    let status = messages[0].status.as_ref().unwrap();
    assert_eq!(
        (messages.len(), status.code, status.message.as_str()),
        (1, 12, "tracepoints and settings of agents cannot be changed here")
    );
    assert_eq!(end.unwrap_err().code(), Code::Unimplemented);
}

/// An answer that never ends, and how often it was asked for more.
fn endless(alive: &Arc<AtomicUsize>, asked: &Arc<AtomicUsize>) -> Answer {
    let (alive, asked) = (Arc::clone(alive), Arc::clone(asked));
    let events = move || {
        let (alive, asked) = (Alive::new(&alive), Arc::clone(&asked));
        stream::repeat_with(move || {
            let _held = &alive;
            asked.fetch_add(1, Ordering::SeqCst);
            Ok(rows(0, vec![numbers(&[1])]))
        })
        .boxed()
    };
    Answer { outputs: vec![output("a", &[("x", DataType::Int64)])], explains: false, events: Arc::new(events) }
}

#[tokio::test]
async fn a_slow_client_slows_the_query_and_one_that_goes_cancels_it() {
    let (alive, asked) = (Arc::default(), Arc::default());
    let broker = broker(MemoryEngine::new().with("endless", Ok(endless(&alive, &asked))));
    let mut stream = broker.execute_script(Request::new(request("endless"))).await.unwrap().into_inner();
    for _ in 0..5 {
        stream.next().await.unwrap().unwrap();
    }
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let read = 5 - 1;
    assert!(asked.load(Ordering::SeqCst) <= read + MESSAGES_WAITING_MAX + 1, "{asked:?}");
    assert_eq!((alive.load(Ordering::SeqCst), broker.queries_running()), (1, 1));
    drop(stream);
    while broker.queries_running() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    assert_eq!(broker.counters().snapshot().queries_abandoned, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_for_three_minutes_loses_its_query() {
    let (alive, asked) = (Arc::default(), Arc::default());
    let broker = broker(MemoryEngine::new().with("endless", Ok(endless(&alive, &asked))));
    let stream = broker.execute_script(Request::new(request("endless"))).await.unwrap().into_inner();
    tokio::time::sleep(std::time::Duration::from_secs(179)).await;
    assert_eq!(broker.queries_running(), 1);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!((broker.queries_running(), alive.load(Ordering::SeqCst)), (0, 0));
    drop(stream);
}

#[tokio::test(start_paused = true)]
async fn a_query_that_yields_nothing_for_three_minutes_is_cancelled() {
    let events = Arc::new(|| stream::pending().boxed());
    let silent = Answer { outputs: vec![output("a", &[("x", DataType::Int64)])], explains: false, events };
    let broker = broker(MemoryEngine::new().with("silent", Ok(silent)));
    let (messages, end) = execute(&broker, request("silent")).await.unwrap();
    assert_eq!(messages.iter().map(kind).collect::<Vec<_>>(), ["table a", "status 4"]);
    assert_eq!(end.unwrap_err().message(), "the query yielded nothing for 180 s and was cancelled");
}

#[tokio::test]
async fn one_query_too_many_is_refused() {
    let (alive, asked) = (Arc::default(), Arc::default());
    let broker = broker(MemoryEngine::new().with("endless", Ok(endless(&alive, &asked))));
    let mut running = Vec::new();
    for _ in 0..CONCURRENT_QUERIES_MAX {
        running.push(broker.execute_script(Request::new(request("endless"))).await.unwrap());
    }
    let status = execute(&broker, request("endless")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(broker.counters().snapshot().queries_refused, 1);
}
