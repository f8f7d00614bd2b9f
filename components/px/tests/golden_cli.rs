//! Holds golden/cli: the `px` binary, its output and its exit code.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use engine::{Engine, EngineArgs};
use golden::Case;
use ids::{ClusterId, UnixNs};
use query_broker::{Broker, ClusterIdentity, LocalEngine, serve};
use rpc::Security;
use table_store::TableStore;
use tables::{ColumnDef, DataType, Relation, SemanticType};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const TABLE_BYTES_MAX: u64 = 1024 * 1024;

/// Stands for the served address in commands and expectations.
const ADDRESS: &str = "{ADDR}";

#[test]
fn commands_print_and_exit_as_pinned() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let served = runtime.block_on(vizier(&stop, &tasks));
    golden::run("cli", |case| check(case, &served));
    stop.cancel();
    tasks.close();
    runtime.block_on(tasks.wait());
}

fn check(case: &Case, address: &str) -> Result<()> {
    let words = case.input("command.txt")?;
    let mut words = words.lines().map(|word| word.replace(ADDRESS, address));
    anyhow::ensure!(words.next().as_deref() == Some("px"), "the first line of command.txt is `px`, each other one is an argument");
    let stdin = if case.has("stdin.txt") { case.input("stdin.txt")? } else { String::new() };
    if case.has("script.pxl") {
        case.uses("script.pxl");
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_px"))
        .args(words)
        .current_dir(case.folder())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting px")?;
    // A command that does not read its input closes it.
    let _unread = child.stdin.take().context("no standard input")?.write_all(stdin.as_bytes());
    let output = child.wait_with_output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(address, ADDRESS);
    case.expect("stdout.txt", &text(output.stdout))?;
    case.expect("stderr.txt", &text(output.stderr))?;
    case.expect("exit_code.txt", &output.status.code().map_or("signal".to_owned(), |code| code.to_string()))
}

/// Serves a table `samples` that has a column of each type and meanings with units.
async fn vizier(stop: &CancellationToken, tasks: &TaskTracker) -> String {
    let engine = Engine::new(Arc::new(store()), Arc::new(funcs::registry(&funcs::Environment::default())), EngineArgs::default());
    let identity = ClusterIdentity {
        id: ClusterId::from_halves(1, 2),
        name: "golden".to_owned(),
        vizier_version: String::new(),
        cluster_version: String::new(),
    };
    let now = || UnixNs(1_700_000_100_000_000_000);
    let broker = Broker::new(Arc::new(LocalEngine::new(Arc::new(engine), now)), identity, stop.clone(), tasks.clone());
    let listener = rpc::bind("127.0.0.1:0".parse().unwrap(), &Security::Plaintext).await.unwrap();
    let address = listener.address().to_string();
    tasks.spawn(serve(broker, listener, Security::Plaintext));
    address
}

fn store() -> TableStore {
    let column = |name: &str, data_type, semantic_type| ColumnDef { name: name.to_owned(), data_type, semantic_type };
    let relation = Relation {
        columns: vec![
            column("time_", DataType::Time64Ns, SemanticType::TimeNs),
            column("upid", DataType::Uint128, SemanticType::Upid),
            column("resp_status", DataType::Int64, SemanticType::HttpRespStatus),
            column("latency", DataType::Int64, SemanticType::DurationNs),
            column("size", DataType::Int64, SemanticType::Bytes),
            column("cpu", DataType::Float64, SemanticType::Percent),
            column("text", DataType::String, SemanticType::None),
            column("ok", DataType::Boolean, SemanticType::None),
        ],
    };
    let upids = [[0, 0, 0, 1, 0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 7_u8], [0xab; 16], [0; 16]];
    let rows = RecordBatch::try_new(
        Arc::new(relation.arrow_schema()),
        vec![
            Arc::new(TimestampNanosecondArray::from(vec![1_700_000_000_000_000_000, 1_700_000_001_500_000_000, 1_700_000_002_000_000_001])),
            Arc::new(FixedSizeBinaryArray::try_from_iter(upids.iter()).unwrap()),
            Arc::new(Int64Array::from(vec![200, 404, 503])),
            Arc::new(Int64Array::from(vec![950, 12_300_000, 61_000_000_000])),
            Arc::new(Int64Array::from(vec![0, 1536, 10_485_760])),
            Arc::new(Float64Array::from(vec![0.0, 0.125, 0.999_999_9])),
            Arc::new(StringArray::from(vec!["grün, \"quoted\"", "two\nlines\u{1b}[31m", "123"])),
            Arc::new(BooleanArray::from(vec![true, false, true])),
        ],
    );
    let store = TableStore::empty(TABLE_BYTES_MAX);
    store.create("samples", relation).unwrap().append(rows.unwrap()).unwrap();
    store
}
