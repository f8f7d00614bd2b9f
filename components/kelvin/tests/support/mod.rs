//! A Kelvin of its own for each test, over real connections, with real certificates.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "shared by tests that each need a part"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent::wire::{decode_rows, decode_schema, encode_output};
use agent::{Backoff, Compute, DIAL_PROTOCOL, DialArgs, DialState, Dialer, KeepAlive};
use api::internal::execute_plan_response::Message;
use api::internal::kelvin_client::KelvinClient;
use api::internal::{ExecutePlanRequest, ExecutePlanResponse, PlanOutput, QueryEnd};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use engine::distributed::{AgentCatalog, AgentWorker, AgentWorkerArgs, PLAN_VERSION};
use ids::{AgentId, UnixNs};
use kelvin::{Args, run};
use rpc::{CertificateAuthority, MutualTls, PeerIdentity};
use service::Shell;
use table_store::TableStore;
use tables::{ColumnDef, DataType, Relation, SemanticType};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// Anything that does not happen within this time never will.
pub const NEVER: Duration = Duration::from_mins(1);
/// Rows of an agent in tests where nothing may fit into windows and buffers.
pub const MANY: i64 = 60_000;
pub const EVERYTHING: &str = "#px:set max_output_rows_per_table=1000000\nimport px\npx.display(px.DataFrame('t'))\n";

pub fn relation() -> Relation {
    let column = |name: &str, data_type| ColumnDef { name: name.to_owned(), data_type, semantic_type: SemanticType::None };
    Relation { columns: vec![column("time_", DataType::Time64Ns), column("text", DataType::String), column("number", DataType::Int64)] }
}

/// A kilobyte, different for each row, that no compression makes smaller: windows and buffers are counted in bytes on the wire.
pub fn noise(row: i64) -> String {
    static BLOCK: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let block = BLOCK.get_or_init(|| {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + ((state >> 33) % 90) as u8)
        };
        (0..1 << 20).map(|_| next()).collect()
    });
    let from = (row as usize * 997) % (block.len() - 1000);
    format!("{row:020} {}", &block[from..from + 1000])
}

pub fn store(rows: i64) -> Arc<TableStore> {
    let store = Arc::new(TableStore::empty(256 << 20));
    store.create("t", relation()).unwrap();
    for from in (0..rows).step_by(1000) {
        append(&store, from..rows.min(from + 1000));
    }
    store
}

/// Rows of these numbers, which are their times too.
pub fn append(store: &TableStore, rows: std::ops::Range<i64>) {
    let table = store.table("t").unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from_iter_values(rows.clone())),
        Arc::new(StringArray::from_iter_values(rows.clone().map(noise))),
        Arc::new(Int64Array::from_iter_values(rows)),
    ];
    table.append(RecordBatch::try_new(Arc::clone(table.schema()), columns).unwrap()).unwrap();
}

/// Where Kelvin runs.
enum Kelvin {
    Here(tokio::task::JoinHandle<Result<(), kelvin::Error>>),
    Process(std::process::Child),
}

/// A Kelvin of its own for each test, and its agents.
pub struct Vizier {
    pub shell: Shell,
    kelvin: Kelvin,
    pub address: SocketAddr,
    agents_address: SocketAddr,
    pub identity: PeerIdentity,
    compute: Compute,
    pub workers: Vec<AgentWorker>,
    _folder: tempfile::TempDir,
}

impl Vizier {
    pub async fn start(stores: Vec<Arc<TableStore>>, flags: &[&str]) -> Vizier {
        let here = |line: Vec<String>, shell: &Shell| {
            let args = <Args as clap::Parser>::try_parse_from(line).unwrap();
            Kelvin::Here(tokio::spawn(run(args, shell.clone())))
        };
        Self::start_with(stores, flags, here).await
    }

    /// With a Kelvin that is a process of its own.
    pub async fn start_process(stores: Vec<Arc<TableStore>>, flags: &[&str]) -> Vizier {
        let process = |line: Vec<String>, _: &Shell| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kelvin"));
            Kelvin::Process(command.args(&line[1..]).stderr(std::process::Stdio::null()).spawn().unwrap())
        };
        Self::start_with(stores, flags, process).await
    }

    async fn start_with(stores: Vec<Arc<TableStore>>, flags: &[&str], start: impl FnOnce(Vec<String>, &Shell) -> Kelvin) -> Vizier {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let authority = CertificateAuthority::open(&at("authority"), &[], SystemTime::now()).unwrap();
        let identity = authority.issue_peer(&[], SystemTime::now()).unwrap();
        for (name, text) in [("ca.crt", &identity.ca), ("kelvin.crt", &identity.certificate), ("kelvin.key", &identity.key)] {
            std::fs::write(at(name), text).unwrap();
        }
        let mut line: Vec<String> = ["kelvin", "--listen", "127.0.0.1:0", "--agents-listen", "127.0.0.1:0"].map(str::to_owned).to_vec();
        for (flag, file) in
            [("--tls-ca-cert", "ca.crt"), ("--tls-cert", "kelvin.crt"), ("--tls-key", "kelvin.key"), ("--ready-file", "ready")]
        {
            line.extend([flag.to_owned(), at(file).display().to_string()]);
        }
        line.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let shell = Shell::default();
        let kelvin = start(line, &shell);
        let ready: PathBuf = at("ready");
        let addresses = async {
            loop {
                let text = std::fs::read_to_string(&ready).unwrap_or_default();
                if let [address, agents] = text.lines().collect::<Vec<_>>()[..] {
                    return (address.parse().unwrap(), agents.parse().unwrap());
                }
                tokio::task::yield_now().await;
            }
        };
        let (address, agents_address) = tokio::time::timeout(NEVER, addresses).await.unwrap();
        let compute = Compute::new(2).unwrap();
        let workers = Vec::new();
        let mut vizier = Vizier { shell, kelvin, address, agents_address, identity, compute, workers, _folder: folder };
        for store in stores {
            vizier.add(store).await;
        }
        vizier
    }

    /// As the kernel does it for want of memory. Only of a process.
    pub fn kill(&mut self) {
        match &mut self.kelvin {
            Kelvin::Here(_) => panic!("not a process"),
            Kelvin::Process(child) => {
                child.kill().unwrap();
                child.wait().unwrap();
            }
        }
    }

    pub async fn add(&mut self, store: Arc<TableStore>) {
        let id = self.agent(self.workers.len());
        let worker = AgentWorker::new(id, store, Arc::new(funcs::registry(&funcs::Environment::default())), AgentWorkerArgs::default());
        let tls = MutualTls::new(&self.identity, DIAL_PROTOCOL).unwrap();
        let dialer = Dialer::new(id, worker.clone(), self.compute.handle().clone(), tls.client());
        let args = DialArgs {
            address: self.agents_address.to_string(),
            server_name: "localhost".to_owned(),
            keep_alive: KeepAlive::default(),
            backoff: Backoff::default(),
        };
        let (sender, mut state) = watch::channel(DialState::default());
        let stop = self.shell.stop.clone();
        self.shell.tasks.spawn(async move { dialer.run(&args, &sender, &stop).await.unwrap() });
        tokio::time::timeout(NEVER, state.wait_for(|state| state.connected)).await.unwrap().unwrap();
        self.workers.push(worker);
    }

    #[expect(clippy::unused_self, reason = "reads better at the call")]
    pub fn agent(&self, at: usize) -> AgentId {
        AgentId::from_halves(5, at as u64)
    }

    pub async fn channel(&self, identity: &PeerIdentity) -> Result<Channel, tonic::transport::Error> {
        let url = format!("https://localhost:{}", self.address.port());
        Endpoint::from_shared(url).unwrap().tls_config(identity.client_tls()).unwrap().connect().await
    }

    pub async fn client(&self) -> KelvinClient<Channel> {
        KelvinClient::new(self.channel(&self.identity).await.unwrap())
    }

    pub fn request(&self, query: u8, script: &str) -> ExecutePlanRequest {
        let catalog = AgentCatalog::new([("t".to_owned(), relation())]);
        let functions = funcs::registry(&funcs::Environment::default());
        let input = pxl::CompileInput::new(script, UnixNs(0), &catalog, &functions);
        let outputs = pxl::compile(&input).unwrap().outputs.into_iter().map(|output| {
            let plan = encode_output(&output).unwrap();
            PlanOutput { export: output.export.as_ref().map(otel::encode), ..plan }
        });
        ExecutePlanRequest {
            query_id: vec![query; 16],
            plan_version: PLAN_VERSION.to_owned(),
            agent_ids: (0..self.workers.len()).map(|at| self.agent(at).to_bytes().to_vec()).collect(),
            outputs: outputs.collect(),
            ..Default::default()
        }
    }

    pub async fn no_leaves(&self) {
        for worker in &self.workers {
            let mut leaves = worker.queries().leaves();
            tokio::time::timeout(NEVER, leaves.wait_for(|leaves| *leaves == 0)).await.expect("a scan that never ends").unwrap();
        }
    }

    pub async fn stop(self) {
        self.shell.stop.cancel();
        match self.kelvin {
            Kelvin::Here(task) => tokio::time::timeout(NEVER, task).await.expect("Kelvin does not stop").unwrap().unwrap(),
            Kelvin::Process(mut child) => {
                // It may be dead already.
                child.kill().ok();
                child.wait().unwrap();
            }
        }
        self.shell.tasks.close();
        tokio::time::timeout(NEVER, self.shell.tasks.wait()).await.expect("a task that never ends");
    }
}

/// All rows of all outputs, and the end.
pub async fn read(mut answers: Streaming<ExecutePlanResponse>) -> Result<(Vec<Vec<RecordBatch>>, QueryEnd), Status> {
    let (mut schemas, mut rows) = (Vec::new(), Vec::new());
    while let Some(answer) = tokio::time::timeout(NEVER, answers.message()).await.expect("no message")? {
        match answer.message.unwrap() {
            Message::Schema(schema) => {
                assert_eq!(schema.output as usize, schemas.len());
                schemas.push(decode_schema(&schema).unwrap());
                rows.push(Vec::new());
            }
            Message::Rows(message) => {
                let output = message.output as usize;
                rows[output].push(decode_rows(&message, &schemas[output]).unwrap());
            }
            // Nothing here is sent elsewhere.
            Message::Exported(_) => {}
            Message::End(end) => {
                assert!(answers.message().await?.is_none());
                return Ok((rows, end));
            }
        }
    }
    panic!("a stream without an end");
}

/// The error that a stream ends with.
pub async fn read_on(mut answers: Streaming<ExecutePlanResponse>) -> Status {
    loop {
        match tokio::time::timeout(NEVER, answers.message()).await.expect("no message") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("no error"),
            Err(status) => return status,
        }
    }
}
