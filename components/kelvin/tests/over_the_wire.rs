//! Kelvin as the query broker and the agents see it: over real connections, with real certificates.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent::wire::{decode_rows, decode_schema};
use agent::{Backoff, Compute, DIAL_PROTOCOL, DialArgs, DialState, Dialer, KeepAlive};
use api::internal::execute_plan_response::Message;
use api::internal::kelvin_client::KelvinClient;
use api::internal::{CancelRequest, ExecutePlanRequest, ExecutePlanResponse, PlanColumn, PlanOutput, QueryEnd};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::Int64Type;
use engine::distributed::{AgentCatalog, AgentWorker, AgentWorkerArgs, PLAN_VERSION, encode_plan};
use ids::{AgentId, UnixNs};
use kelvin::{Args, run};
use rpc::{CertificateAuthority, MutualTls, PeerIdentity};
use service::Shell;
use table_store::TableStore;
use tables::{ColumnDef, DataType, Relation, SemanticType};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

/// Anything that does not happen within this time never will.
const NEVER: Duration = Duration::from_mins(1);
/// Rows of an agent in tests where nothing may fit into windows and buffers.
const MANY: i64 = 60_000;
const EVERYTHING: &str = "#px:set max_output_rows_per_table=1000000\nimport px\npx.display(px.DataFrame('t'))\n";

fn relation() -> Relation {
    let column = |name: &str, data_type| ColumnDef { name: name.to_owned(), data_type, semantic_type: SemanticType::None };
    Relation { columns: vec![column("time_", DataType::Time64Ns), column("text", DataType::String), column("number", DataType::Int64)] }
}

/// A kilobyte, different for each row, that no compression makes smaller: windows and buffers are counted in bytes on the wire.
fn noise(row: i64) -> String {
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

fn store(rows: i64) -> Arc<TableStore> {
    let store = TableStore::empty(256 << 20);
    let table = store.create("t", relation()).unwrap();
    for from in (0..rows).step_by(1000) {
        let rows = from..rows.min(from + 1000);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from_iter_values(rows.clone())),
            Arc::new(StringArray::from_iter_values(rows.clone().map(noise))),
            Arc::new(Int64Array::from_iter_values(rows)),
        ];
        table.append(RecordBatch::try_new(Arc::clone(table.schema()), columns).unwrap()).unwrap();
    }
    Arc::new(store)
}

/// A Kelvin of its own for each test, and its agents.
struct Vizier {
    shell: Shell,
    kelvin: tokio::task::JoinHandle<Result<(), kelvin::Error>>,
    address: SocketAddr,
    agents_address: SocketAddr,
    identity: PeerIdentity,
    compute: Compute,
    workers: Vec<AgentWorker>,
    _folder: tempfile::TempDir,
}

impl Vizier {
    async fn start(stores: Vec<Arc<TableStore>>, flags: &[&str]) -> Vizier {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let authority = CertificateAuthority::open(&at("authority"), &[], SystemTime::now()).unwrap();
        let identity = authority.issue_peer(&[], SystemTime::now()).unwrap();
        for (name, text) in [("ca.crt", &identity.ca), ("kelvin.crt", &identity.certificate), ("kelvin.key", &identity.key)] {
            std::fs::write(at(name), text).unwrap();
        }
        let path = |name: &str| at(name).display().to_string();
        let (ca, cert, key, ready) = (path("ca.crt"), path("kelvin.crt"), path("kelvin.key"), path("ready"));
        let mut line = vec!["kelvin", "--listen", "127.0.0.1:0", "--agents-listen", "127.0.0.1:0"];
        line.extend(["--tls-ca-cert", &ca, "--tls-cert", &cert, "--tls-key", &key, "--ready-file", &ready]);
        line.extend(flags);
        let args = <Args as clap::Parser>::try_parse_from(line).unwrap();
        let shell = Shell::default();
        let kelvin = tokio::spawn(run(args, shell.clone()));
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

    async fn add(&mut self, store: Arc<TableStore>) {
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
    fn agent(&self, at: usize) -> AgentId {
        AgentId::from_halves(5, at as u64)
    }

    async fn channel(&self, identity: &PeerIdentity) -> Result<Channel, tonic::transport::Error> {
        let url = format!("https://localhost:{}", self.address.port());
        Endpoint::from_shared(url).unwrap().tls_config(identity.client_tls()).unwrap().connect().await
    }

    async fn client(&self) -> KelvinClient<Channel> {
        KelvinClient::new(self.channel(&self.identity).await.unwrap())
    }

    fn request(&self, query: u8, script: &str) -> ExecutePlanRequest {
        let catalog = AgentCatalog::new([("t".to_owned(), relation())]);
        let functions = funcs::registry(&funcs::Environment::default());
        let input = pxl::CompileInput { script, exec_funcs: &[], now: UnixNs(0), catalog: &catalog, functions: &functions };
        let outputs = pxl::compile(&input).unwrap().outputs.into_iter().map(|output| {
            let columns = output.relation.columns.iter().map(|column| PlanColumn {
                name: column.name.clone(),
                data_type: column.data_type.number(),
                semantic_type: column.semantic_type.number(),
            });
            PlanOutput { plan: encode_plan(&output.plan).unwrap(), columns: columns.collect() }
        });
        ExecutePlanRequest {
            query_id: vec![query; 16],
            plan_version: PLAN_VERSION.to_owned(),
            agent_ids: (0..self.workers.len()).map(|at| self.agent(at).to_bytes().to_vec()).collect(),
            outputs: outputs.collect(),
            time_max_ms: 0,
            streaming: false,
        }
    }

    async fn no_leaves(&self) {
        for worker in &self.workers {
            let mut leaves = worker.queries().leaves();
            tokio::time::timeout(NEVER, leaves.wait_for(|leaves| *leaves == 0)).await.expect("a scan that never ends").unwrap();
        }
    }

    async fn stop(self) {
        self.shell.stop.cancel();
        tokio::time::timeout(NEVER, self.kelvin).await.expect("Kelvin does not stop").unwrap().unwrap();
        self.shell.tasks.close();
        tokio::time::timeout(NEVER, self.shell.tasks.wait()).await.expect("a task that never ends");
    }
}

/// All rows of all outputs, and the end.
async fn read(mut answers: Streaming<ExecutePlanResponse>) -> Result<(Vec<Vec<RecordBatch>>, QueryEnd), Status> {
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
            Message::End(end) => {
                assert!(answers.message().await?.is_none());
                return Ok((rows, end));
            }
        }
    }
    panic!("a stream without an end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_answered_with_schemas_rows_and_an_end() {
    let vizier = Vizier::start(vec![store(10), store(20)], &[]).await;
    let script =
        "import px\ndf = px.DataFrame('t')\npx.display(df.agg(n=('number', px.sum)), 'sum')\npx.display(df[df.number > 14], 'some')\n";
    let mut request = vizier.request(1, script);
    request.agent_ids.push(vec![9; 16]);
    let answers = vizier.client().await.execute_plan(request).await.unwrap().into_inner();
    let (rows, end) = read(answers).await.unwrap();
    assert_eq!(rows[0][0].column(0).as_primitive::<Int64Type>().value(0), 45 + 190);
    assert_eq!(*rows[1][0].schema(), relation().arrow_schema());
    assert_eq!(rows[1].iter().map(RecordBatch::num_rows).sum::<usize>(), 5);
    assert_eq!((end.agents_counted, end.rows_read), (2, 60));
    assert_eq!(end.missing.iter().map(|missing| missing.agent_id.clone()).collect::<Vec<_>>(), [vec![9; 16]]);
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_come_in_messages_that_a_client_takes() {
    let vizier = Vizier::start(vec![store(MANY)], &[]).await;
    let answers = vizier.client().await.execute_plan(vizier.request(1, EVERYTHING)).await.unwrap().into_inner();
    let (rows, _) = read(answers).await.unwrap();
    assert_eq!(rows[0].iter().map(RecordBatch::num_rows).sum::<usize>(), MANY as usize);
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_cancelled_by_its_id() {
    let vizier = Vizier::start(vec![store(MANY), store(MANY)], &[]).await;
    let mut client = vizier.client().await;
    let answers = client.execute_plan(vizier.request(1, EVERYTHING)).await.unwrap().into_inner();
    let known = client.cancel(CancelRequest { query_id: vec![1; 16] }).await.unwrap().into_inner().known;
    assert!(known);
    assert_eq!(read(answers).await.unwrap_err().code(), Code::Cancelled);
    vizier.no_leaves().await;
    let known = client.cancel(CancelRequest { query_id: vec![1; 16] }).await.unwrap().into_inner().known;
    assert!(!known);
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_hangs_up_ends_its_query() {
    let vizier = Vizier::start(vec![store(MANY), store(MANY)], &[]).await;
    let mut answers = vizier.client().await.execute_plan(vizier.request(1, EVERYTHING)).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    answers.message().await.unwrap().unwrap();
    drop(answers);
    vizier.no_leaves().await;
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_gets_the_time_it_asks_for_and_no_more_than_is_allowed() {
    let vizier = Vizier::start(vec![store(MANY)], &["--query-time-max-ms", "8000"]).await;
    let request = ExecutePlanRequest { time_max_ms: u64::MAX, ..vizier.request(1, EVERYTHING) };
    let mut answers = vizier.client().await.execute_plan(request).await.unwrap().into_inner();
    // The schema, and the first rows.
    answers.message().await.unwrap().unwrap();
    answers.message().await.unwrap().unwrap();
    // Not read on: the agent stops when the time is over.
    vizier.no_leaves().await;
    assert_eq!(read_on(answers).await.code(), Code::DeadlineExceeded);
    vizier.stop().await;
}

/// The error that a stream ends with.
async fn read_on(mut answers: Streaming<ExecutePlanResponse>) -> Status {
    loop {
        match tokio::time::timeout(NEVER, answers.message()).await.expect("no message") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("no error"),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_make_no_sense_are_refused_with_what_is_wrong() {
    let vizier = Vizier::start(vec![store(10)], &[]).await;
    let mut client = vizier.client().await;
    let good = vizier.request(1, EVERYTHING);
    let other = ExecutePlanRequest { plan_version: "vizier 0.0.1".to_owned(), ..good.clone() };
    let status = client.execute_plan(other).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), format!("the plan is of `vizier 0.0.1`, this Kelvin runs plans of `{PLAN_VERSION}`"));
    let status = client.execute_plan(ExecutePlanRequest { query_id: vec![1], ..good.clone() }).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "query_id: not 16 bytes"));
    let mut garbage = good.clone();
    garbage.outputs[0].plan = vec![1, 2, 3];
    let answers = client.execute_plan(garbage).await.unwrap().into_inner();
    assert_eq!(read(answers).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(read(client.execute_plan(good).await.unwrap().into_inner()).await.unwrap().1.rows_read, 10);
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_without_a_certificate_of_ours_is_refused() {
    let vizier = Vizier::start(vec![store(10)], &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let foreign = CertificateAuthority::open(folder.path(), &[], SystemTime::now()).unwrap().issue_peer(&[], SystemTime::now()).unwrap();
    let mixed = PeerIdentity { ca: vizier.identity.ca.clone(), ..foreign };
    let refused = match vizier.channel(&mixed).await {
        Err(_) => true,
        Ok(channel) => KelvinClient::new(channel).cancel(CancelRequest { query_id: vec![1; 16] }).await.is_err(),
    };
    assert!(refused);
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_queries_run_at_once_and_one_too_many_is_refused() {
    let vizier = Vizier::start(vec![store(MANY)], &["--queries-running-max", "2", "--queries-waiting-max", "0"]).await;
    let mut client = vizier.client().await;
    let mut running = Vec::new();
    for query in 1..=2 {
        let mut answers = client.execute_plan(vizier.request(query, EVERYTHING)).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap();
        running.push(answers);
    }
    let refused = client.execute_plan(vizier.request(3, EVERYTHING)).await.unwrap().into_inner();
    let status = read(refused).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "2 queries run and 0 wait already: try again later");
    drop(running);
    vizier.no_leaves().await;
    vizier.stop().await;
}

#[test]
fn the_command_line_is_as_documented() {
    let command = <Args as clap::CommandFactory>::command();
    command.clone().debug_assert();
    let readme = include_str!("../README.md");
    let shell = <service::ServiceArgs as clap::Args>::augment_args(clap::Command::new("shell"));
    let of_the_shell = |argument: &clap::Arg| shell.get_arguments().any(|other| other.get_id() == argument.get_id());
    for argument in command.get_arguments().filter(|argument| argument.get_env().is_some() && !of_the_shell(argument)) {
        let row = format!("| `--{}` | `{}` |", argument.get_long().unwrap(), argument.get_env().unwrap().to_string_lossy());
        assert!(readme.contains(&row), "README.md has no row {row}");
    }
}

#[tokio::test]
async fn kelvin_says_which_certificate_it_cannot_read() {
    let line = ["kelvin", "--tls-ca-cert", "/nowhere/ca.crt", "--tls-cert", "/nowhere/a", "--tls-key", "/nowhere/b"];
    let args = <Args as clap::Parser>::try_parse_from(line).unwrap();
    let shell = Shell { stop: CancellationToken::new(), ..Shell::default() };
    let error = run(args, shell).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nowhere/"), "{error}");
}
