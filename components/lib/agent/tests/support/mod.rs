//! A Kelvin and its agents in one process, over real connections; and one engine over all of their rows, to compare with.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared by tests that each need a part")]

mod proxy;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent::{Backoff, Compute, DialArgs, DialState, Dialer, Hub, HubArgs, KeepAlive};
use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use engine::distributed::{
    AgentCatalog, AgentWorker, AgentWorkerArgs, Coordinator, CoordinatorArgs, DistributedExecution, Ended, QuerySpec, encode_plan,
};
use engine::{AgentFacts, CompileRequest, Compiled, Engine, EngineArgs, Error, Functions};
use ids::{AgentId, QueryId, UnixNs};
pub use proxy::Proxy;
use pxl::FunctionRegistry;
use rpc::{CertificateAuthority, MutualTls};
use table_store::TableStore;
use tables::{ColumnDef, DataType, Relation, SemanticType};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Anything that does not happen within this time never will.
pub const NEVER: Duration = Duration::from_mins(1);
/// What `px.now()` is: 1000 s after the epoch.
pub const NOW: UnixNs = UnixNs(1_000_000_000_000);
const TABLE_BYTES_MAX: u64 = 256 << 20;

/// One row of the test tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub time: i64,
    pub service: String,
    pub number: i64,
    pub share: f64,
    pub ok: bool,
}

pub fn relation() -> Relation {
    let column = |name: &str, data_type| ColumnDef { name: name.to_owned(), data_type, semantic_type: SemanticType::None };
    let columns = vec![
        column("time_", DataType::Time64Ns),
        column("service", DataType::String),
        column("number", DataType::Int64),
        column("share", DataType::Float64),
        column("ok", DataType::Boolean),
    ];
    Relation { columns }
}

pub fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.time))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.service))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.number))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.share))),
        Arc::new(rows.iter().map(|row| Some(row.ok)).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(Arc::new(relation().arrow_schema()), columns).unwrap()
}

pub fn fill(store: &TableStore, table: &str, rows: &[Row]) {
    let table = store.table(table).unwrap_or_else(|| store.create(table, relation()).unwrap());
    for rows in rows.chunks(1000) {
        table.append(batch(rows)).unwrap();
    }
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

pub fn empty_store() -> Arc<TableStore> {
    Arc::new(TableStore::empty(TABLE_BYTES_MAX))
}

pub fn functions() -> Arc<FunctionRegistry> {
    Arc::new(funcs::registry(&funcs::Environment::default()))
}

/// How a test wants its fleet.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub hub: HubArgs,
    pub coordinator: CoordinatorArgs,
    /// Of scripts and of the coordinator.
    pub functions: Option<Arc<FunctionRegistry>>,
}

pub struct Member {
    pub id: AgentId,
    pub store: Arc<TableStore>,
    pub worker: AgentWorker,
    pub proxy: Proxy,
    pub state: watch::Receiver<DialState>,
}

pub struct Fleet {
    pub hub: Hub,
    pub hub_address: SocketAddr,
    pub coordinator: Coordinator,
    pub members: Vec<Member>,
    pub authority: CertificateAuthority,
    pub tls: MutualTls,
    functions: Arc<FunctionRegistry>,
    compute: Compute,
    tasks: TaskTracker,
    stop: CancellationToken,
    next_query: std::sync::atomic::AtomicU64,
}

pub fn quick_dial(address: SocketAddr) -> DialArgs {
    DialArgs {
        address: address.to_string(),
        server_name: "localhost".to_owned(),
        keep_alive: KeepAlive::default(),
        backoff: Backoff { first: Duration::from_millis(20), max: Duration::from_millis(200) },
    }
}

pub fn authority() -> (tempfile::TempDir, CertificateAuthority) {
    let folder = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::open(folder.path(), &[], SystemTime::now()).unwrap();
    (folder, authority)
}

pub fn mutual(authority: &CertificateAuthority) -> MutualTls {
    MutualTls::new(&authority.issue_peer(&[], SystemTime::now()).unwrap(), agent::DIAL_PROTOCOL).unwrap()
}

impl Fleet {
    /// Agents with these stores; all are connected when it returns.
    pub async fn start(stores: Vec<Arc<TableStore>>, options: Options) -> Fleet {
        let (_folder, authority) = authority();
        let tls = mutual(&authority);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let hub = Hub::new(options.hub);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hub_address = listener.local_addr().unwrap();
        {
            let (hub, tls, stop) = (hub.clone(), tls.server(), stop.clone());
            tasks.spawn(async move { hub.serve(listener, tls, stop).await });
        }
        let compute = Compute::new(2).unwrap();
        let functions = options.functions.unwrap_or_else(functions);
        let coordinator = Coordinator::new(Arc::clone(&functions), Arc::new(hub.clone()), options.coordinator).unwrap();
        let mut fleet = Fleet {
            hub,
            hub_address,
            coordinator,
            members: Vec::new(),
            authority,
            tls,
            functions,
            compute,
            tasks,
            stop,
            next_query: std::sync::atomic::AtomicU64::new(1),
        };
        for store in stores {
            fleet.add(store).await;
        }
        fleet
    }

    pub async fn add(&mut self, store: Arc<TableStore>) {
        self.add_with(store, functions().into(), AgentFacts::default()).await;
    }

    pub async fn add_with(&mut self, store: Arc<TableStore>, functions: Functions, facts: AgentFacts) {
        let id = AgentId::from_halves(7, self.members.len() as u64);
        let worker = AgentWorker::of_agent(id, Arc::clone(&store), functions, facts, AgentWorkerArgs::default());
        let dialer = Dialer::new(id, worker.clone(), self.compute.handle().clone(), self.tls.client());
        let proxy = Proxy::start(self.hub_address).await;
        let (sender, state) = watch::channel(DialState::default());
        let (args, stop) = (quick_dial(proxy.address()), self.stop.clone());
        self.tasks.spawn(async move { dialer.run(&args, &sender, &stop).await.unwrap() });
        self.members.push(Member { id, store, worker, proxy, state });
        self.connected(self.members.len()).await;
    }

    pub async fn connected(&self, agents: usize) {
        let mut connected = self.hub.connected();
        tokio::time::timeout(NEVER, connected.wait_for(|connected| *connected == agents)).await.unwrap().unwrap();
    }

    pub fn agents(&self) -> Vec<AgentId> {
        self.members.iter().map(|member| member.id).collect()
    }

    /// Of all members' tables.
    pub fn catalog(&self) -> AgentCatalog {
        let tables = self.members.iter().flat_map(|member| member.store.tables());
        AgentCatalog::new(tables.map(|table| (table.name().to_owned(), table.relation().clone())))
    }

    pub fn compile(&self, script: &str) -> Compiled {
        compile(script, &self.catalog(), &self.functions)
    }

    pub fn spec(&self, compiled: &Compiled) -> QuerySpec {
        let number = self.next_query.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        QuerySpec {
            query: QueryId::from_halves(9, number),
            agents: self.agents(),
            outputs: compiled.outputs.iter().map(|output| (encode_plan(&output.plan).unwrap(), output.relation.clone())).collect(),
            time_max: NEVER,
            streaming: false,
            analyze: false,
        }
    }

    /// Runs on the compute threads, as Kelvin does.
    pub async fn execute(&self, script: &str) -> Result<DistributedExecution, Error> {
        let spec = self.spec(&self.compile(script));
        self.begin(spec).await
    }

    pub async fn begin(&self, spec: QuerySpec) -> Result<DistributedExecution, Error> {
        self.coordinator.execute(self.coordinator.begin(spec)?).await
    }

    pub async fn run(&self, script: &str) -> Result<(Answer, Ended), Error> {
        let compiled = self.compile(script);
        let spec = self.spec(&compiled);
        self.run_spec(&compiled, spec).await
    }

    pub async fn run_spec(&self, compiled: &Compiled, spec: QuerySpec) -> Result<(Answer, Ended), Error> {
        let mut execution = self.begin(spec).await?;
        let mut answer = Answer::new(compiled);
        let all = async {
            while let Some(batch) = execution.next().await {
                let batch = batch?;
                answer.add(batch.output, &batch.rows);
            }
            Ok(())
        };
        tokio::time::timeout(NEVER, all).await.expect("a query that never ends")?;
        Ok((answer, execution.end().await))
    }

    pub async fn no_leaves(&self) {
        for member in &self.members {
            let mut leaves = member.worker.queries().leaves();
            tokio::time::timeout(NEVER, leaves.wait_for(|leaves| *leaves == 0)).await.expect("a scan that never ends").unwrap();
        }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(NEVER, self.tasks.wait()).await.expect("a task that never ends");
    }
}

pub fn compile(script: &str, catalog: &dyn pxl::Catalog, functions: &FunctionRegistry) -> Compiled {
    let input = pxl::CompileInput::new(script, NOW, catalog, functions);
    let pxl::Compiled { outputs, flags } = pxl::compile(&input).unwrap_or_else(|problems| panic!("{problems:?}\n{script}"));
    Compiled { outputs, flags, compile_time: Duration::ZERO }
}

/// What one engine answers over a store with all rows.
pub async fn run_local(store: &Arc<TableStore>, script: &str) -> Answer {
    let engine = Engine::new(Arc::clone(store), functions(), EngineArgs::default());
    let compiled = engine
        .compile(&CompileRequest { script, exec_funcs: &[], now: NOW, configs: pxl::Configs::default() })
        .unwrap_or_else(|p| panic!("{p:?}\n{script}"));
    let mut execution = engine.execute(&compiled).await.unwrap();
    let mut answer = Answer::new(&compiled);
    while let Some(batch) = execution.next().await {
        let batch = batch.unwrap();
        answer.add(batch.output, &batch.rows);
    }
    answer
}

/// Rows as text, sorted: neither engine promises an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub outputs: Vec<(String, Vec<Vec<String>>)>,
}

impl Answer {
    fn new(compiled: &Compiled) -> Self {
        Self { outputs: compiled.outputs.iter().map(|output| (output.name.clone(), Vec::new())).collect() }
    }

    fn add(&mut self, output: usize, rows: &RecordBatch) {
        let options = FormatOptions::default();
        let columns: Vec<_> = rows.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        let table = &mut self.outputs[output].1;
        table.extend((0..rows.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()));
        table.sort();
    }

    pub fn rows(&self, output: usize) -> usize {
        self.outputs[output].1.len()
    }
}
