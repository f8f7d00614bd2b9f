//! The unmodified `pxapi` from PyPI against a broker over a real engine and tables with rows.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use engine::{Engine, EngineArgs};
use ids::{ClusterId, UnixNs};
use query_broker::{Broker, ClusterIdentity, ClusterState, LocalEngine, serve};
use rpc::{CertificateAuthority, Security};
use table_store::TableStore;
use tables::{ColumnDef, DataType, Relation, SemanticType};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const CLUSTER: &str = "01234567-89ab-4cde-8f01-23456789abcd";
const TABLE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// More text than one message carries, encrypted or not.
const BIG_ROWS: usize = 3000;
const BIG_TEXT: usize = 1000;

fn relation(columns: &[(&str, DataType)]) -> Relation {
    let column = |(name, data_type): &(&str, DataType)| ColumnDef {
        name: (*name).to_owned(),
        data_type: *data_type,
        semantic_type: SemanticType::None,
    };
    Relation { columns: columns.iter().map(column).collect() }
}

fn store() -> TableStore {
    let store = TableStore::empty(TABLE_BYTES_MAX);
    let samples = relation(&[
        ("time_", DataType::Time64Ns),
        ("upid", DataType::Uint128),
        ("number", DataType::Int64),
        ("ratio", DataType::Float64),
        ("text", DataType::String),
        ("flag", DataType::Boolean),
    ]);
    let upids = [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16_u8], [0xff; 16], [0; 16]];
    let rows = RecordBatch::try_new(
        Arc::new(samples.arrow_schema()),
        vec![
            Arc::new(TimestampNanosecondArray::from(vec![1_700_000_000_000_000_001, 1_700_000_000_000_000_002, 1_700_000_000_000_000_003])),
            Arc::new(FixedSizeBinaryArray::try_from_iter(upids.iter()).unwrap()),
            Arc::new(Int64Array::from(vec![i64::MIN, 0, i64::MAX])),
            Arc::new(Float64Array::from(vec![-0.5, 0.0, 1e300])),
            Arc::new(StringArray::from(vec!["grün €", "", "日本語 🦀"])),
            Arc::new(BooleanArray::from(vec![true, false, true])),
        ],
    );
    store.create("samples", samples).unwrap().append(rows.unwrap()).unwrap();

    let big = relation(&[("time_", DataType::Time64Ns), ("number", DataType::Int64), ("text", DataType::String)]);
    let text = "é".repeat(BIG_TEXT / 2);
    let rows = RecordBatch::try_new(
        Arc::new(big.arrow_schema()),
        vec![
            Arc::new(TimestampNanosecondArray::from_iter_values(0..BIG_ROWS as i64)),
            Arc::new(Int64Array::from_iter_values(0..BIG_ROWS as i64)),
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, BIG_ROWS))),
        ],
    );
    store.create("big", big).unwrap().append(rows.unwrap()).unwrap();
    store
}

/// What the client is to see.
fn expectations(folder: &Path) -> PathBuf {
    let expected = serde_json::json!({
        "cluster": CLUSTER,
        "name": "this-host",
        "rows": [
            [1_700_000_000_000_000_001_i64, "01020304-0506-0708-090a-0b0c0d0e0f10", i64::MIN, -0.5, "grün €", true],
            [1_700_000_000_000_000_002_i64, "ffffffff-ffff-ffff-ffff-ffffffffffff", 0, 0.0, "", false],
            [1_700_000_000_000_000_003_i64, "00000000-0000-0000-0000-000000000000", i64::MAX, 1e300, "日本語 🦀", true],
        ],
        "sums": {"True": -1, "False": 0},
        "big_rows": BIG_ROWS,
        "big_text": BIG_TEXT,
    });
    let path = folder.join("expected.json");
    std::fs::write(&path, expected.to_string()).unwrap();
    path
}

/// `PX_PYTHON`, or what `ci/setup` made. None where there is neither, which continuous integration does not accept.
fn python() -> Option<PathBuf> {
    if let Some(python) = std::env::var_os("PX_PYTHON") {
        return Some(python.into());
    }
    let venv = PathBuf::from(std::env::var_os("HOME")?).join(".cache/px/venv/bin/python");
    if venv.exists() {
        return Some(venv);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing: ci/setup makes it", venv.display());
    eprintln!("skipped: {} is missing; ci/setup makes it, PX_PYTHON names another", venv.display());
    None
}

async fn check(mode: &str, security: Security, roots: Option<&Path>) {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::new(Arc::new(store()), Arc::new(funcs::registry(&funcs::Environment::default())), EngineArgs::default());
    let identity = ClusterIdentity {
        id: CLUSTER.parse::<ClusterId>().unwrap(),
        name: "this-host".to_owned(),
        vizier_version: "0.0.0".to_owned(),
        cluster_version: String::new(),
    };
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let now = || UnixNs(1_700_000_100_000_000_000);
    let broker = Broker::new(Arc::new(LocalEngine::new(Arc::new(engine), now)), identity, stop.clone(), tasks.clone());
    broker.set_state(ClusterState::Healthy);
    let listener = rpc::bind("127.0.0.1:0".parse().unwrap(), &security).await.unwrap();
    let address = listener.address();
    let serving = tasks.spawn(serve(broker, listener, security));

    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pxapi/check_client.py"));
    // A name that the certificate carries: clients check it.
    command.arg(format!("localhost:{}", address.port())).arg(mode).arg(expectations(folder.path()));
    if let Some(roots) = roots {
        command.env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", roots);
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert_eq!(stdout.lines().count(), 2 * 6, "six checks, with and without encryption:\n{stdout}");
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_lists_connects_and_runs_over_plaintext() {
    check("plain", Security::Plaintext, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_lists_connects_and_runs_over_tls_with_our_authority() {
    let state = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::open(state.path(), &[], SystemTime::now()).unwrap();
    let roots = authority.ca_path().to_owned();
    check("tls", Security::Tls(Box::new(authority)), Some(&roots)).await;
}
