//! A cluster whose metadata service and Kelvins say what a test tells them to, over real gRPC with real certificates, and a real broker.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "each test binary uses its part")]

pub mod store;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use agent::wire::{encode_rows, encode_schema};
use api::carnot::planner::distributedpb::SchemaInfo;
use api::internal::execute_plan_response::Message;
use api::internal::kelvin_server::{Kelvin, KelvinServer};
use api::internal::{CancelRequest, CancelResponse, ExecutePlanRequest, ExecutePlanResponse, QueryEnd};
use api::table_store::schemapb::{Relation as WireRelation, relation::ColumnInfo};
use api::uuidpb::Uuid;
use api::vizier::messages::{AgentDataInfo, CollectorState, CollectorStates};
use api::vizier::services::metadata::agent_update::Update;
use api::vizier::services::metadata::cron_script_store_service_server::CronScriptStoreServiceServer;
use api::vizier::services::metadata::metadata_config_service_server::MetadataConfigServiceServer;
use api::vizier::services::metadata::metadata_service_server::{MetadataService, MetadataServiceServer};
use api::vizier::services::metadata::metadata_tracepoint_service_server::MetadataTracepointServiceServer;
use api::vizier::services::metadata::{
    AgentInfoRequest, AgentInfoResponse, AgentUpdate, AgentUpdatesRequest, AgentUpdatesResponse, SchemaRequest, SchemaResponse,
    WithPrefixKeyRequest, WithPrefixKeyResponse,
};
use api::vizier::services::shared::agent::{Agent, AgentCapabilities, AgentInfo, HostInfo};
use api::vizierpb::vizier_service_client::VizierServiceClient;
use api::vizierpb::{ExecuteScriptRequest, ExecuteScriptResponse};
use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use futures::stream::{BoxStream, StreamExt as _};
use query_broker::{Args, run};
use rpc::{CertificateAuthority, PeerIdentity, Security};
use service::Shell;
use tables::{ColumnDef, DataType, Relation, SemanticType};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Response, Status};

/// Anything that does not happen within this time never will.
pub const NEVER: Duration = Duration::from_mins(1);
pub const SIGNING_KEY: &str = "0123456789abcdef0123456789abcdef";
pub const API_KEY: &str = "px-api-11223344-5566-7788-99aa-bbccddeeff00";

/// Certificates of one Vizier.
pub struct Certificates {
    pub folder: tempfile::TempDir,
    authority: CertificateAuthority,
}

impl Certificates {
    pub fn new() -> Certificates {
        let folder = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::open(&folder.path().join("authority"), &[], SystemTime::now()).unwrap();
        Certificates { folder, authority }
    }

    pub fn peer(&self) -> PeerIdentity {
        self.authority.issue_peer(&[], SystemTime::now()).unwrap()
    }
}

/// Before something is looked at again that nobody tells of.
pub async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

pub fn uuid(number: u64) -> Uuid {
    Uuid { high_bits: 0, low_bits: number }
}

/// A node's agent, number 1 to 99.
pub fn pem(number: u64) -> AgentUpdate {
    agent(number, true, String::new())
}

/// A Kelvin at `address`.
pub fn kelvin_at(number: u64, address: SocketAddr) -> AgentUpdate {
    agent(number, false, address.to_string())
}

fn agent(number: u64, collects_data: bool, query_address: String) -> AgentUpdate {
    let info = AgentInfo {
        agent_id: Some(uuid(number)),
        capabilities: Some(AgentCapabilities { collects_data }),
        host_info: Some(HostInfo { hostname: format!("node-{number}"), ..Default::default() }),
        tls_server_name: "localhost".to_owned(),
        query_address,
        ..Default::default()
    };
    let agent = Agent { info: Some(info), asid: number as u32, ..Default::default() };
    AgentUpdate { agent_id: Some(uuid(number)), update: Some(Update::Agent(agent)) }
}

pub fn gone(number: u64) -> AgentUpdate {
    AgentUpdate { agent_id: Some(uuid(number)), update: Some(Update::Deleted(true)) }
}

pub fn failed_collector(number: u64, reason: &str) -> AgentUpdate {
    let state = CollectorState { collector: "socket data".to_owned(), state: 3, reason: reason.to_owned(), ..Default::default() };
    let info = AgentDataInfo { collectors: Some(CollectorStates { states: vec![state] }), ..Default::default() };
    AgentUpdate { agent_id: Some(uuid(number)), update: Some(Update::DataInfo(info)) }
}

/// `t`: a time and a number.
pub fn relation() -> Relation {
    let column = |name: &str, data_type| ColumnDef { name: name.to_owned(), data_type, semantic_type: SemanticType::None };
    Relation { columns: vec![column("time_", DataType::Time64Ns), column("n", DataType::Int64)] }
}

pub fn schema(name: &str, columns: &[(&str, DataType)], agents: &[u64]) -> SchemaInfo {
    let column = |(name, data_type): &(&str, DataType)| ColumnInfo {
        column_name: (*name).to_owned(),
        column_type: data_type.number(),
        column_semantic_type: SemanticType::None.number(),
        ..Default::default()
    };
    let relation = WireRelation { columns: columns.iter().map(column).collect(), ..Default::default() };
    SchemaInfo { name: name.to_owned(), relation: Some(relation), agent_list: agents.iter().copied().map(uuid).collect() }
}

pub const COLUMNS: [(&str, DataType); 2] = [("time_", DataType::Time64Ns), ("n", DataType::Int64)];

/// One version of the cluster: agents, and their tables if they are told.
pub fn version(agents: Vec<AgentUpdate>, schemas: Option<Vec<SchemaInfo>>) -> AgentUpdatesResponse {
    AgentUpdatesResponse {
        agent_updates: agents,
        agent_schemas_updated: schemas.is_some(),
        agent_schemas: schemas.unwrap_or_default(),
        end_of_version: true,
    }
}

/// What the metadata service was told to say: each stream says all of it, and what is added later.
#[derive(Clone)]
pub struct Said(pub watch::Sender<Vec<AgentUpdatesResponse>>);

impl Said {
    pub fn say(&self, version: AgentUpdatesResponse) {
        self.0.send_modify(|said| said.push(version));
    }
}

struct Metadata {
    said: Said,
    tokens: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl MetadataService for Metadata {
    type GetAgentUpdatesStream = BoxStream<'static, Result<AgentUpdatesResponse, Status>>;

    async fn get_agent_updates(&self, request: Request<AgentUpdatesRequest>) -> Result<Response<Self::GetAgentUpdatesStream>, Status> {
        self.tokens.lock().unwrap().push(header(request.metadata(), "authorization"));
        let (sender, receiver) = mpsc::channel(1);
        let mut said = self.said.0.subscribe();
        tokio::spawn(async move {
            let mut next = 0;
            loop {
                let all = said.borrow_and_update().clone();
                for response in &all[next..] {
                    if sender.send(Ok(response.clone())).await.is_err() {
                        return;
                    }
                }
                next = all.len();
                if said.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }

    async fn get_schemas(&self, _: Request<SchemaRequest>) -> Result<Response<SchemaResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn get_agent_info(&self, _: Request<AgentInfoRequest>) -> Result<Response<AgentInfoResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn get_with_prefix_key(&self, request: Request<WithPrefixKeyRequest>) -> Result<Response<WithPrefixKeyResponse>, Status> {
        let prefix = request.into_inner().prefix;
        let kv = api::vizier::services::metadata::with_prefix_key_response::Kv { key: format!("{prefix}a"), value: b"{}".to_vec() };
        Ok(Response::new(WithPrefixKeyResponse { kvs: vec![kv] }))
    }
}

fn header(headers: &MetadataMap, name: &str) -> String {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// What a Kelvin does with one query.
#[derive(Clone)]
pub enum Deed {
    /// Sends these numbers, and this end.
    Answer(Vec<i64>, QueryEnd),
    /// Sends these numbers, then nothing.
    Hang(Vec<i64>),
    /// Refuses.
    Refuse(Status),
    /// Sends batches of a megabyte until nobody reads; counts them.
    Flood(Arc<std::sync::atomic::AtomicUsize>),
}

struct FakeKelvin {
    deeds: Mutex<Vec<Deed>>,
    calls: watch::Sender<Vec<ExecutePlanRequest>>,
    /// Of calls that were hung up.
    hung_up: watch::Sender<usize>,
}

pub fn numbers(values: &[i64]) -> RecordBatch {
    let times = TimestampNanosecondArray::from_iter_values(values.iter().copied());
    let columns: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(Int64Array::from(values.to_vec()))];
    RecordBatch::try_new(Arc::new(relation().arrow_schema()), columns).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "what the stream of a service yields")]
fn said(message: Message) -> Result<ExecutePlanResponse, Status> {
    Ok(ExecutePlanResponse { message: Some(message) })
}

/// The answer to the broker's self-test, the only query that asks no agent: a row of no text.
fn self_test(request: &ExecutePlanRequest) -> mpsc::Receiver<Result<ExecutePlanResponse, Status>> {
    let column = |column: &api::internal::PlanColumn| ColumnDef {
        name: column.name.clone(),
        data_type: DataType::from_number(column.data_type).unwrap(),
        semantic_type: SemanticType::None,
    };
    let relation = Relation { columns: request.outputs[0].columns.iter().map(column).collect() };
    let schema = Arc::new(relation.arrow_schema());
    let values: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![0])), Arc::new(StringArray::from(vec![""]))];
    let rows = RecordBatch::try_new(Arc::clone(&schema), values).unwrap();
    let mut messages = vec![Message::Schema(encode_schema(0, &schema))];
    messages.extend(encode_rows(0, &rows).unwrap().into_iter().map(Message::Rows));
    messages.push(Message::End(QueryEnd::default()));
    let (sender, receiver) = mpsc::channel(messages.len());
    for message in messages {
        sender.try_send(said(message)).unwrap();
    }
    receiver
}

#[tonic::async_trait]
impl Kelvin for FakeKelvin {
    type ExecutePlanStream = ReceiverStream<Result<ExecutePlanResponse, Status>>;

    async fn execute_plan(&self, request: Request<ExecutePlanRequest>) -> Result<Response<Self::ExecutePlanStream>, Status> {
        if request.get_ref().agent_ids.is_empty() {
            return Ok(Response::new(ReceiverStream::new(self_test(request.get_ref()))));
        }
        let outputs = request.get_ref().outputs.len() as u32;
        self.calls.send_modify(|calls| calls.push(request.into_inner()));
        let deed = {
            let mut deeds = self.deeds.lock().unwrap();
            if deeds.len() > 1 { deeds.remove(0) } else { deeds[0].clone() }
        };
        let (sender, receiver) = mpsc::channel(1);
        if let Deed::Refuse(status) = deed {
            return Err(status);
        }
        let hung_up = self.hung_up.clone();
        tokio::spawn(async move {
            for output in 0..outputs {
                sender.send(said(Message::Schema(encode_schema(output, &Arc::new(relation().arrow_schema()))))).await.ok();
            }
            let rows = |values: &[i64]| encode_rows(0, &numbers(values)).unwrap().into_iter().map(Message::Rows);
            match deed {
                Deed::Answer(values, end) => {
                    for message in rows(&values) {
                        sender.send(said(message)).await.ok();
                    }
                    sender.send(said(Message::End(end))).await.ok();
                }
                Deed::Hang(values) => {
                    for message in rows(&values) {
                        sender.send(said(message)).await.ok();
                    }
                    sender.closed().await;
                    hung_up.send_modify(|count| *count += 1);
                }
                Deed::Flood(count) => {
                    let batch: Vec<i64> = (0..50_000).collect();
                    loop {
                        for message in rows(&batch) {
                            if sender.send(said(message)).await.is_err() {
                                hung_up.send_modify(|count| *count += 1);
                                return;
                            }
                            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        }
                    }
                }
                Deed::Refuse(_) => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn cancel(&self, _: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        Ok(Response::new(CancelResponse { known: false }))
    }
}

/// A server on a runtime of its own: to kill it is to close its connections without a word.
pub struct Server {
    pub address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    async fn start(identity: PeerIdentity, address: SocketAddr, routes: tonic::service::Routes) -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let security = Security::Mutual(Box::new(identity));
        let serving = async move {
            let listener = rpc::bind(address, &security).await.unwrap();
            let address = listener.address();
            let server = rpc::server(&security).unwrap().add_routes(routes);
            tokio::spawn(server.serve_with_incoming(listener.into_incoming()));
            address
        };
        let address = runtime.spawn(serving).await.unwrap();
        Server { address, runtime: Some(runtime) }
    }

    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub struct KelvinServerHandle {
    pub server: Server,
    pub calls: watch::Receiver<Vec<ExecutePlanRequest>>,
    pub hung_up: watch::Receiver<usize>,
}

impl KelvinServerHandle {
    /// Waits until it was given so many queries.
    pub async fn called(&mut self, count: usize) {
        tokio::time::timeout(NEVER, self.calls.wait_for(|calls| calls.len() >= count)).await.expect("no query comes").unwrap();
    }

    pub async fn was_hung_up(&mut self) {
        tokio::time::timeout(NEVER, self.hung_up.wait_for(|count| *count > 0)).await.expect("nobody hangs up").unwrap();
    }
}

pub async fn kelvin(certificates: &Certificates, deeds: Vec<Deed>) -> KelvinServerHandle {
    let (calls, hung_up) = (watch::Sender::new(Vec::new()), watch::Sender::new(0));
    let fake = FakeKelvin { deeds: Mutex::new(deeds), calls: calls.clone(), hung_up: hung_up.clone() };
    let routes = tonic::service::Routes::new(KelvinServer::new(fake));
    let server = Server::start(certificates.peer(), "127.0.0.1:0".parse().unwrap(), routes).await;
    KelvinServerHandle { server, calls: calls.subscribe(), hung_up: hung_up.subscribe() }
}

pub struct MetadataServer {
    pub server: Server,
    pub said: Said,
    /// Shown by those who called.
    pub tokens: Arc<Mutex<Vec<String>>>,
    pub store: store::Store,
}

pub async fn metadata(certificates: &Certificates) -> MetadataServer {
    metadata_at(certificates, "127.0.0.1:0".parse().unwrap(), Said(watch::Sender::new(Vec::new()))).await
}

pub async fn metadata_at(certificates: &Certificates, address: SocketAddr, said: Said) -> MetadataServer {
    let tokens: Arc<Mutex<Vec<String>>> = Arc::default();
    let service = Metadata { said: said.clone(), tokens: Arc::clone(&tokens) };
    let store = store::Store::default();
    let mut routes = tonic::service::RoutesBuilder::default();
    routes
        .add_service(MetadataServiceServer::new(service))
        .add_service(MetadataTracepointServiceServer::new(store.clone()))
        .add_service(MetadataConfigServiceServer::new(store.clone()))
        .add_service(CronScriptStoreServiceServer::new(store.clone()));
    MetadataServer { server: Server::start(certificates.peer(), address, routes.routes()).await, said, tokens, store }
}

/// A broker as its binary runs it.
pub struct Broker {
    pub shell: Shell,
    pub address: SocketAddr,
    pub running: tokio::task::JoinHandle<Result<(), query_broker::Error>>,
    ca: String,
}

pub fn write_certificates(folder: &Path, identity: &PeerIdentity) -> [String; 3] {
    let path = |name: &str| folder.join(name).display().to_string();
    let files = [path("ca.crt"), path("broker.crt"), path("broker.key")];
    for (file, text) in files.iter().zip([&identity.ca, &identity.certificate, &identity.key]) {
        std::fs::write(file, text).unwrap();
    }
    files
}

pub async fn broker(certificates: &Certificates, metadata: SocketAddr, flags: &[&str]) -> Broker {
    let folder = certificates.folder.path();
    let identity = certificates.peer();
    let [ca, cert, key] = write_certificates(folder, &identity);
    let path = |name: &str| folder.join(name).display().to_string();
    let (ready, keys, signing) = (path("ready"), path("keys"), path("signing"));
    std::fs::write(&keys, API_KEY).unwrap();
    std::fs::write(&signing, SIGNING_KEY).unwrap();
    std::fs::remove_file(&ready).ok();
    let metadata = metadata.to_string();
    let mut line =
        vec!["query-broker", "--listen", "127.0.0.1:0", "--metadata-address", &metadata, "--metadata-tls-server-name", "localhost"];
    line.extend(["--tls-ca-cert", &ca, "--tls-cert", &cert, "--tls-key", &key, "--jwt-signing-key-file", &signing]);
    line.extend(["--ready-file", &ready, "--direct-keys-file", &keys]);
    if !flags.contains(&"--nats-url") {
        // Nobody listens there: the broker serves without the bus.
        line.extend(["--nats-url", "127.0.0.1:9", "--nats-plaintext"]);
    }
    line.extend(flags);
    let args = <Args as clap::Parser>::try_parse_from(line).unwrap();
    let shell = Shell::default();
    let running = tokio::spawn(run(args, shell.clone()));
    let address = async {
        loop {
            if let Some(line) = std::fs::read_to_string(&ready).unwrap_or_default().lines().next() {
                return line.parse().unwrap();
            }
            assert!(!running.is_finished(), "the broker has ended");
            a_moment().await;
        }
    };
    let address = tokio::time::timeout(NEVER, address).await.unwrap();
    Broker { shell, address, running, ca: identity.ca }
}

impl Broker {
    pub async fn channel(&self) -> Channel {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca)).domain_name("localhost");
        Endpoint::from_shared(format!("https://{}", self.address)).unwrap().tls_config(tls).unwrap().connect().await.unwrap()
    }

    /// All messages, and how the call ended.
    pub async fn execute(&self, script: &str) -> Result<(Vec<ExecuteScriptResponse>, Result<(), Status>), Status> {
        let mut stream = VizierServiceClient::new(self.channel().await).execute_script(with_key(script)).await?.into_inner();
        let mut messages = Vec::new();
        loop {
            match tokio::time::timeout(NEVER, stream.message()).await.expect("no message") {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return Ok((messages, Ok(()))),
                Err(status) => return Ok((messages, Err(status))),
            }
        }
    }

    /// As soon as the broker knows the cluster well enough for the script to run without an error.
    pub async fn execute_when_ready(&self, script: &str) -> Vec<ExecuteScriptResponse> {
        let run = async {
            loop {
                if let Ok((messages, Ok(()))) = self.execute(script).await {
                    return messages;
                }
                a_moment().await;
            }
        };
        tokio::time::timeout(NEVER, run).await.expect("the broker does not get ready")
    }

    pub async fn stop(self) {
        self.shell.stop.cancel();
        tokio::time::timeout(NEVER, self.running).await.expect("the broker does not stop").unwrap().unwrap();
        self.shell.tasks.close();
        tokio::time::timeout(NEVER, self.shell.tasks.wait()).await.expect("a task that never ends");
    }
}

pub fn with_key(script: &str) -> Request<ExecuteScriptRequest> {
    let mut request = Request::new(ExecuteScriptRequest { query_str: script.to_owned(), ..Default::default() });
    request.metadata_mut().insert("pixie-api-key", API_KEY.parse().unwrap());
    request
}
