//! All parts between a client and an engine: a control plane, a connector, a nats-server and a broker that can crash.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use api::cloudapi::vizier_cluster_info_client::VizierClusterInfoClient;
use api::cloudapi::{ClusterStatus, GetClusterInfoRequest};
use api::cvmsgspb::{C2vMessage, C2vapiStreamRequest, c2vapi_stream_request};
use api::vizierpb::column::ColData;
use api::vizierpb::execute_script_response::Result as Body;
use api::vizierpb::vizier_service_client::VizierServiceClient;
use api::vizierpb::{ExecuteScriptRequest, ExecuteScriptResponse};
use auth::{Bearer, SigningKey};
use bus::subject::{self, Topic};
use bus::{Bus, Nats, Subscription};
use clap::Parser as _;
use harness_nats::{NatsServer, Setup};
use ids::ClusterId;
use prost::Message as _;
use query_broker::{Access, Broker, BrokerArgs, ClusterIdentity, serve};
use rpc::{CertificateAuthority, PeerIdentity, Security};
use service::Shell;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::engine::Paced;

const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Longest wait for what must happen.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// Somebody who hears every call on the bus.
pub(crate) struct Listener(Subscription<C2vMessage>);

impl Listener {
    /// Waits until a call with this script is on the bus. Its id.
    pub(crate) async fn lost_call(&mut self, script: &str) -> String {
        let hearing = async {
            loop {
                let any = self.0.next().await.unwrap().message.msg.unwrap();
                let request = C2vapiStreamRequest::decode(any.value.as_slice()).unwrap();
                if matches!(&request.msg, Some(c2vapi_stream_request::Msg::ExecReq(exec)) if exec.query_str == script) {
                    return request.request_id;
                }
            }
        };
        tokio::time::timeout(SOON, hearing).await.unwrap()
    }
}

/// A broker in a runtime of its own, which can end as a process does that is killed.
struct Process {
    runtime: Runtime,
    broker: Broker,
    bus: Bus,
}

impl Process {
    fn connect(&self) {
        let _within = self.runtime.enter();
        self.broker.connect(self.bus.clone());
    }
}

pub(crate) struct World {
    pub(crate) nats: NatsServer,
    pub(crate) gate: watch::Sender<usize>,
    pub(crate) engine: Paced,
    pub(crate) bus: Listener,
    pub(crate) cluster: String,
    api_key: String,
    cloud_address: String,
    broker_address: SocketAddr,
    peer: PeerIdentity,
    broker: Option<Process>,
    scripts: usize,
    shells: Vec<Shell>,
    cloud: JoinHandle<Result<(), cloud::Error>>,
    connector: JoinHandle<Result<(), cloud_connector::Error>>,
    folder: TempDir,
}

impl World {
    /// A cluster that is healthy. None where there is no nats-server.
    pub(crate) async fn new() -> Option<World> {
        if !NatsServer::is_available() {
            return None;
        }
        let nats = NatsServer::start(&Setup::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::open(&folder.path().join("ca"), &[], SystemTime::now()).unwrap();
        let peer = authority.issue_peer(&[], SystemTime::now()).unwrap();
        let (gate, opened) = watch::channel(0);
        let engine = Paced::new(opened);
        let listening = Nats::new(nats.url(), "test").connect().await.unwrap();
        listening.connected(SOON).await.unwrap();
        let calls = listening.subscribe(subject::c2v(Topic::new("VizierPassthroughRequest").unwrap())).await.unwrap();
        let broker = process(&nats.url(), "127.0.0.1:0".parse().unwrap(), &peer, &engine).await;
        broker.0.connect();
        let (cloud_shell, cloud_address, cloud) = control_plane(&folder).await;
        let (deploy, api_key) = (key(&folder, "deploy").await, key(&folder, "api").await);
        let connector_shell = Shell::default();
        let args = connector_args(&folder, &peer, &[&nats.url(), &cloud_address, &deploy, &format!("localhost:{}", broker.1.port())]);
        let connector = tokio::spawn(cloud_connector::run(args, connector_shell.clone()));
        let mut world = World {
            nats,
            gate,
            engine,
            bus: Listener(calls),
            cluster: String::new(),
            api_key,
            cloud_address,
            broker_address: broker.1,
            peer,
            broker: Some(broker.0),
            scripts: 0,
            shells: vec![connector_shell, cloud_shell],
            cloud,
            connector,
            folder,
        };
        world.cluster = world.healthy().await;
        Some(world)
    }

    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.cloud_address)).unwrap().connect_lazy()
    }

    pub(crate) fn broker_channel(&self) -> InterceptedService<Channel, Bearer> {
        let channel = rpc::channel(&format!("localhost:{}", self.broker_address.port()), "localhost", &self.peer).unwrap();
        InterceptedService::new(channel, Bearer::new(SigningKey::new(KEY), "test"))
    }

    pub(crate) fn with_key<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("pixie-api-key", self.api_key.parse().unwrap());
        request
    }

    /// Waits until scripts may be passed. The cluster's id.
    pub(crate) async fn healthy(&self) -> String {
        let waiting = async {
            loop {
                let mut clusters = VizierClusterInfoClient::new(self.channel());
                let told = clusters.get_cluster_info(self.with_key(GetClusterInfoRequest::default())).await.unwrap().into_inner();
                let takes_scripts = [ClusterStatus::CsHealthy as i32, ClusterStatus::CsDegraded as i32];
                if let Some(cluster) = told.clusters.iter().find(|cluster| takes_scripts.contains(&cluster.status)) {
                    let id = cluster.id.unwrap();
                    return ClusterId::from_halves(id.high_bits, id.low_bits).to_string();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, waiting).await.expect("the cluster is healthy in time")
    }

    /// A script that nobody has run yet.
    pub(crate) fn script(&mut self, rows: usize) -> String {
        self.scripts += 1;
        format!("script-{} {rows}", self.scripts)
    }

    pub(crate) async fn execute(&self, script: &str) -> Result<Answers, Status> {
        let request = ExecuteScriptRequest { query_str: script.to_owned(), cluster_id: self.cluster.clone(), ..Default::default() };
        let call = async {
            loop {
                let mut client = VizierServiceClient::new(self.channel());
                match client.execute_script(self.with_key(request.clone())).await {
                    // The connector has not said yet that the broker, or the bus, is back.
                    Err(status) if status.message() == "cluster is not in a healthy state" => tokio::task::yield_now().await,
                    called => return called.map(|answers| Answers { messages: answers.into_inner(), seen: Vec::new() }),
                }
            }
        };
        tokio::time::timeout(SOON, call).await.unwrap()
    }

    /// As if its process were killed: it takes no leave.
    pub(crate) async fn crash_broker(&mut self) {
        let process = self.broker.take().unwrap();
        tokio::task::spawn_blocking(|| process.runtime.shutdown_timeout(Duration::from_secs(5))).await.unwrap();
    }

    /// Again, at the same address. It hears no calls by the bus yet.
    pub(crate) async fn start_broker(&mut self) {
        let (process, _) = process(&self.nats.url(), self.broker_address, &self.peer, &self.engine).await;
        self.broker = Some(process);
    }

    /// From now on it hears calls by the bus.
    pub(crate) fn connect_broker(&self) {
        self.broker.as_ref().unwrap().connect();
    }

    pub(crate) async fn stop(mut self) {
        for shell in &self.shells {
            shell.stop.cancel();
        }
        self.connector.await.unwrap().unwrap();
        self.cloud.await.unwrap().unwrap();
        for shell in &self.shells {
            shell.tasks.close();
            tokio::time::timeout(SOON, shell.tasks.wait()).await.expect("all tasks end");
        }
        let broker = self.broker.take();
        tokio::task::spawn_blocking(move || drop(broker)).await.unwrap();
        drop(self.folder);
    }
}

/// What a client gets.
pub(crate) struct Answers {
    messages: Streaming<ExecuteScriptResponse>,
    seen: Vec<i64>,
}

impl Answers {
    /// The first rows.
    pub(crate) async fn rows(&mut self, count: usize) -> Result<Vec<i64>, Status> {
        while self.seen.len() < count && self.next().await? {}
        Ok(self.seen.clone())
    }

    /// Every row, once the call has ended well.
    pub(crate) async fn all(&mut self) -> Result<Vec<i64>, Status> {
        while self.next().await? {}
        Ok(self.seen.clone())
    }

    async fn next(&mut self) -> Result<bool, Status> {
        let Some(message) = tokio::time::timeout(SOON, self.messages.message()).await.expect("an answer in time")? else {
            return Ok(false);
        };
        if let Some(Body::Data(data)) = message.result
            && let Some(batch) = data.batch
        {
            for column in batch.cols {
                let Some(ColData::Int64Data(numbers)) = column.col_data else { panic!("{column:?}") };
                self.seen.extend(numbers.data);
            }
        }
        Ok(true)
    }
}

async fn process(nats: &str, address: SocketAddr, peer: &PeerIdentity, engine: &Paced) -> (Process, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (nats, engine) = (nats.to_owned(), engine.clone());
    let peer = PeerIdentity { certificate: peer.certificate.clone(), key: peer.key.clone(), ca: peer.ca.clone() };
    let security = Security::Mutual(Box::new(peer));
    let started = runtime.spawn(async move {
        let bus = Nats::new(nats, "query-broker").connect().await.unwrap();
        bus.connected(SOON).await.unwrap();
        let identity = ClusterIdentity {
            id: ClusterId::from_halves(1, 2),
            name: String::new(),
            vizier_version: String::new(),
            cluster_version: String::new(),
        };
        let args = BrokerArgs { access: Access::checked(SigningKey::new(KEY), None), ..BrokerArgs::default() };
        let tasks = TaskTracker::new();
        let broker = Broker::with(args, (Arc::new(engine), identity), CancellationToken::new(), tasks.clone());
        let listener = loop {
            match rpc::bind(address, &security).await {
                Ok(listener) => break listener,
                // The one before holds it still.
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let address = listener.address();
        tasks.spawn(serve(broker.clone(), listener, security));
        (broker, bus, address)
    });
    let (broker, bus, address) = tokio::time::timeout(SOON, started).await.unwrap().unwrap();
    (Process { runtime, broker, bus }, address)
}

async fn control_plane(folder: &TempDir) -> (Shell, String, JoinHandle<Result<(), cloud::Error>>) {
    let (state, ready) = (folder.path().join("cloud"), folder.path().join("cloud.ready"));
    let (state, path) = (state.to_str().unwrap(), ready.to_str().unwrap());
    let words = ["cloud", "serve", "--listen", "127.0.0.1:0", "--state-dir", state, "--ready-file", path];
    let shell = Shell::default();
    let serving = tokio::spawn(cloud::run(cloud::Args::parse_from(words), shell.clone()));
    let waiting = async {
        loop {
            match std::fs::read_to_string(&ready) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                Ok(_) | Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let address = tokio::time::timeout(SOON, waiting).await.unwrap();
    (shell, address, serving)
}

/// As the control plane's own command makes it.
async fn key(folder: &TempDir, kind: &str) -> String {
    let state = folder.path().join("cloud");
    let words = ["cloud", "key", "create", "--kind", kind, "--short", "--state-dir", state.to_str().unwrap()];
    let cloud::Command::Key(command) = cloud::Args::parse_from(words).command else { unreachable!("it is one") };
    cloud::key(command).await.unwrap().trim().to_owned()
}

fn connector_args(folder: &TempDir, peer: &PeerIdentity, [nats, cloud, deploy, broker]: &[&str; 4]) -> cloud_connector::Args {
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let pairs = [
        ("--cloud-addr", format!("http://{cloud}")),
        ("--deploy-key", (*deploy).to_owned()),
        ("--cluster-uid", "uid-1".to_owned()),
        ("--jwt-signing-key", KEY.to_owned()),
        ("--nats-url", (*nats).to_owned()),
        ("--tls-ca-cert", file("ca.crt", &peer.ca)),
        ("--tls-cert", file("peer.crt", &peer.certificate)),
        ("--tls-key", file("peer.key", &peer.key)),
        ("--broker-address", (*broker).to_owned()),
        ("--metadata-address", (*broker).to_owned()),
        ("--state-dir", folder.path().join("connector").to_str().unwrap().to_owned()),
    ];
    let words = ["cloud-connector".to_owned(), "--nats-plaintext".to_owned()].into_iter();
    cloud_connector::Args::parse_from(words.chain(pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value])))
}
