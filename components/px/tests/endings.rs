//! How `px` ends when it is not let finish, and what an Arrow stream holds.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::process::{Command, Stdio};
use std::sync::Arc;

use arrow::array::{AsArray as _, Int64Array};
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use arrow::record_batch::RecordBatch;
use ids::{ClusterId, QueryId};
use query_broker::{Broker, ClusterIdentity, CompileFailure, Output, Query, QueryEngine, QueryEvent, RunFailure, Script, serve};
use rpc::Security;
use tables::{ColumnDef, DataType, Relation, SemanticType};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type Stream = futures::stream::BoxStream<'static, Result<QueryEvent, RunFailure>>;

/// Answers each script with two tables of one row; the script `endless` never ends.
struct Prepared;

struct PreparedQuery {
    outputs: Vec<Output>,
    endless: bool,
}

impl QueryEngine for Prepared {
    fn compile(&self, script: Script) -> futures::future::BoxFuture<'_, Result<Box<dyn Query>, CompileFailure>> {
        let column = ColumnDef { name: "n".to_owned(), data_type: DataType::Int64, semantic_type: SemanticType::None };
        let output = |name: &str| Output { name: name.to_owned(), relation: Relation { columns: vec![column.clone()] } };
        let query = PreparedQuery { outputs: vec![output("one"), output("a/b")], endless: script.text == "endless" };
        Box::pin(std::future::ready(Ok(Box::new(query) as Box<dyn Query>)))
    }
}

impl Query for PreparedQuery {
    fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    fn explains(&self) -> bool {
        false
    }

    fn run(self: Box<Self>, _id: QueryId) -> Stream {
        let rows = |output: usize, n: i64| {
            let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![n])) as _)]).unwrap();
            Ok(QueryEvent::Rows { output, batch })
        };
        let rows = futures::stream::iter([rows(0, 1), rows(1, 2)]);
        if self.endless { Box::pin(futures::StreamExt::chain(rows, futures::stream::pending())) } else { Box::pin(rows) }
    }
}

async fn serving() -> (Broker, String) {
    let identity = ClusterIdentity {
        id: ClusterId::from_halves(1, 2),
        name: String::new(),
        vizier_version: String::new(),
        cluster_version: String::new(),
    };
    let tasks = TaskTracker::new();
    let broker = Broker::new(Arc::new(Prepared), identity, CancellationToken::new(), tasks.clone());
    let listener = rpc::bind("127.0.0.1:0".parse().unwrap(), &Security::Plaintext).await.unwrap();
    let address = listener.address().to_string();
    tasks.spawn(serve(broker.clone(), listener, Security::Plaintext));
    (broker, address)
}

fn px(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_px"));
    command.args(words).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn script(folder: &tempfile::TempDir, text: &str) -> String {
    let path = folder.path().join("script.pxl");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_cancels_the_query_and_says_so() {
    let (broker, address) = serving().await;
    let folder = tempfile::tempdir().unwrap();
    let child = px(&["--addr", &address, "run", "-f", &script(&folder, "endless")]).spawn().unwrap();
    while broker.queries_running() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(130), "Script was cancelled. Exiting.\n"));
    while broker.queries_running() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_in_the_middle_of_an_answer_is_an_error_after_what_came() {
    use std::io::{BufRead as _, BufReader, Read as _};

    let (broker, address) = serving().await;
    let folder = tempfile::tempdir().unwrap();
    let between = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cut = CancellationToken::new();
    let (through, passing) = (between.local_addr().unwrap().to_string(), cut.clone());
    let passed = tokio::spawn(async move {
        let (mut client, _) = between.accept().await.unwrap();
        let mut server = tokio::net::TcpStream::connect(address).await.unwrap();
        passing.run_until_cancelled(tokio::io::copy_bidirectional(&mut client, &mut server)).await.is_none()
    });
    let mut child = px(&["--addr", &through, "run", "-f", &script(&folder, "endless"), "-o", "json"]).spawn().unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (mut first, mut rest) = (String::new(), String::new());
        stdout.read_line(&mut first).unwrap();
        cut.cancel();
        stdout.read_to_string(&mut rest).unwrap();
        (first, child.wait_with_output().unwrap())
    });
    let (first, output) = ended.await.unwrap();
    assert!(passed.await.unwrap(), "it was we who cut it");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), first.as_str()), (Some(1), "{\"_table_\":\"one\",\"n\":1}\n"), "{told}");
    assert!(told.starts_with("error: the connection was lost in the middle of the answer"), "{told}");
    while broker.queries_running() > 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let mut child = px(&["script", "show", "px/http_data"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(0), true));
}

fn numbers(bytes: &[u8]) -> Vec<i64> {
    let batches = StreamReader::try_new(bytes, None).unwrap().map(Result::unwrap);
    batches.flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrow_goes_to_standard_output_for_one_table_and_to_files_for_several() {
    let (_broker, address) = serving().await;
    let folder = tempfile::tempdir().unwrap();
    let (script, files) = (script(&folder, "two"), folder.path().join("new/files"));
    let run = |words: &[&str]| {
        let mut all = vec!["--addr", &address, "run", "-f", &script, "-o", "arrow"];
        all.extend(words);
        let output = px(&all).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(numbers(&run(&["--table", "a/b"])), [2]);
    assert!(run(&["-d", files.to_str().unwrap()]).is_empty());
    for (file, expected) in [("one.arrow", 1), ("a_b.arrow", 2)] {
        assert_eq!(numbers(&std::fs::read(files.join(file)).unwrap()), [expected]);
    }
}
