//! The connector in this process, a control plane, a broker and a metadata service whose words a test writes, over a real nats-server.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "a test may fail where it stands; not every test uses all")]

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use api::cvmsgspb::{RegisterVizierAck, RegisterVizierRequest, VizierHeartbeat};
use api::services::vz_conn_service_server::{VzConnService, VzConnServiceServer};
use api::services::{C2vBridgeMessage, RegisterVizierDeploymentRequest, RegisterVizierDeploymentResponse, V2cBridgeMessage};
use api::uuidpb::Uuid;
use api::vizier::services::metadata::metadata_service_server::{MetadataService, MetadataServiceServer};
use api::vizier::services::metadata::{
    AgentInfoRequest, AgentInfoResponse, AgentMetadata, AgentUpdatesRequest, AgentUpdatesResponse, SchemaRequest, SchemaResponse,
    WithPrefixKeyRequest, WithPrefixKeyResponse,
};
use api::vizier::services::shared::agent::{Agent, AgentCapabilities, AgentInfo, AgentState, AgentStatus};
use api::vizierpb::vizier_service_server::{VizierService, VizierServiceServer};
use api::vizierpb::{
    ExecuteScriptRequest, ExecuteScriptResponse, GenerateOTelScriptRequest, GenerateOTelScriptResponse, HealthCheckRequest,
    HealthCheckResponse, Status as WireStatus,
};
use auth::{Guard, SigningKey};
use bus::{Bus, Nats};
use clap::Parser as _;
use futures::Stream;
use harness_nats::{NatsServer, Setup};
use parking_lot::Mutex;
use prost::Message;
use prost_types::Any;
use rpc::{CertificateAuthority, PeerIdentity, Security};
use service::Shell;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub const SIGNING_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
pub const DEPLOY_KEY: &str = "px-dep-00000000-0000-4000-8000-000000000001";

/// Longest wait for what must happen.
pub const SOON: Duration = Duration::from_secs(30);

/// What a control plane is told to do.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Refuses all keys.
    pub refuses_key: bool,
    /// Knows no cluster.
    pub knows_nobody: bool,
}

/// One bridge as the control plane sees it.
pub struct Bridge {
    pub registered: RegisterVizierRequest,
    pub session: i64,
    pub incoming: Streaming<V2cBridgeMessage>,
    pub out: mpsc::Sender<Result<C2vBridgeMessage, Status>>,
}

impl Bridge {
    /// The next message on this topic; others are left aside.
    pub async fn on(&mut self, topic: &str) -> V2cBridgeMessage {
        self.first_of(&[topic]).await
    }

    /// The next message on one of these topics.
    pub async fn first_of(&mut self, topics: &[&str]) -> V2cBridgeMessage {
        let waiting = async {
            loop {
                let message = self.incoming.message().await.unwrap().expect("the bridge is open");
                if topics.contains(&message.topic.as_str()) {
                    return message;
                }
            }
        };
        tokio::time::timeout(SOON, waiting).await.expect("it came in time")
    }

    /// The next heartbeat of which this holds.
    pub async fn beat(&mut self, holds: impl Fn(&VizierHeartbeat) -> bool) -> VizierHeartbeat {
        let waiting = async {
            loop {
                let heartbeat: VizierHeartbeat = unpack(self.on("heartbeat").await.msg.as_ref().unwrap());
                if holds(&heartbeat) {
                    return heartbeat;
                }
            }
        };
        tokio::time::timeout(SOON, waiting).await.expect("it was said in time")
    }

    pub async fn say(&self, topic: &str, msg: Any) {
        self.out.send(Ok(C2vBridgeMessage { topic: topic.to_owned(), msg: Some(msg) })).await.unwrap();
    }
}

#[derive(Clone)]
struct Plane {
    rules: Arc<Mutex<Rules>>,
    registrations: watch::Sender<u64>,
    bridges: mpsc::Sender<Bridge>,
}

#[tonic::async_trait]
impl VzConnService for Plane {
    type NATSBridgeStream = ReceiverStream<Result<C2vBridgeMessage, Status>>;

    async fn register_vizier_deployment(
        &self,
        request: Request<RegisterVizierDeploymentRequest>,
    ) -> Result<Response<RegisterVizierDeploymentResponse>, Status> {
        self.key(&request)?;
        assert_eq!(request.get_ref().k8s_cluster_uid, "uid-1");
        self.registrations.send_modify(|count| *count += 1);
        // Another id each time: who asks twice is found out.
        let vizier_id = Some(Uuid { high_bits: 7, low_bits: *self.registrations.borrow() });
        Ok(Response::new(RegisterVizierDeploymentResponse { vizier_id, vizier_name: "one".to_owned() }))
    }

    async fn nats_bridge(&self, request: Request<Streaming<V2cBridgeMessage>>) -> Result<Response<Self::NATSBridgeStream>, Status> {
        self.key(&request)?;
        let mut incoming = request.into_inner();
        let (out, stream) = mpsc::channel(64);
        let own = self.clone();
        tokio::spawn(async move {
            let Ok(Some(first)) = incoming.message().await else { return };
            assert_eq!(first.topic, "register");
            let registered: RegisterVizierRequest = unpack(first.msg.as_ref().unwrap());
            let status = if own.rules.lock().knows_nobody { 2 } else { 1 };
            let ack = RegisterVizierAck { status, vizier_name: "one".to_owned() };
            let ack = C2vBridgeMessage { topic: "registerAck".to_owned(), msg: Some(pack("RegisterVizierAck", &ack)) };
            let _gone = out.send(Ok(ack)).await.is_err();
            if status == 1 {
                let bridge = Bridge { registered, session: first.session_id, incoming, out };
                let _gone = own.bridges.send(bridge).await.is_err();
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Plane {
    fn key<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let right = request.metadata().get("x-api-key").is_some_and(|key| key == DEPLOY_KEY);
        if right && !self.rules.lock().refuses_key { Ok(()) } else { Err(Status::unauthenticated("the deploy key is not valid")) }
    }
}

/// A broker that is as it is told, and a metadata service with two agents, of which one is heard.
#[derive(Clone)]
struct Inside {
    health: watch::Receiver<WireStatus>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl VizierService for Inside {
    type ExecuteScriptStream = Answers<ExecuteScriptResponse>;
    type HealthCheckStream = Answers<HealthCheckResponse>;

    async fn execute_script(&self, _request: Request<ExecuteScriptRequest>) -> Result<Response<Self::ExecuteScriptStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn health_check(&self, _request: Request<HealthCheckRequest>) -> Result<Response<Self::HealthCheckStream>, Status> {
        let health = self.health.clone();
        let stream = futures::stream::unfold((health, true), |(mut health, first)| async move {
            if !first {
                health.changed().await.ok()?;
            }
            let status = health.borrow_and_update().clone();
            Some((Ok(HealthCheckResponse { status: Some(status) }), (health, false)))
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn generate_o_tel_script(
        &self,
        _request: Request<GenerateOTelScriptRequest>,
    ) -> Result<Response<GenerateOTelScriptResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

#[tonic::async_trait]
impl MetadataService for Inside {
    type GetAgentUpdatesStream = Answers<AgentUpdatesResponse>;

    async fn get_agent_updates(&self, _request: Request<AgentUpdatesRequest>) -> Result<Response<Self::GetAgentUpdatesStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_schemas(&self, _request: Request<SchemaRequest>) -> Result<Response<SchemaResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_agent_info(&self, _request: Request<AgentInfoRequest>) -> Result<Response<AgentInfoResponse>, Status> {
        let agent = |collects_data, state: AgentState| {
            let info = AgentInfo { capabilities: Some(AgentCapabilities { collects_data }), ..Default::default() };
            let agent = Agent { info: Some(info), ..Default::default() };
            let status = AgentStatus { state: state as i32, ..Default::default() };
            AgentMetadata { agent: Some(agent), status: Some(status), ..Default::default() }
        };
        let info = vec![
            agent(true, AgentState::Healthy),
            agent(true, AgentState::Unresponsive),
            // A Kelvin is no node.
            agent(false, AgentState::Healthy),
        ];
        Ok(Response::new(AgentInfoResponse { info }))
    }

    async fn get_with_prefix_key(&self, _request: Request<WithPrefixKeyRequest>) -> Result<Response<WithPrefixKeyResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

pub struct Stage {
    pub nats: NatsServer,
    pub state: TempDir,
    pub rules: Arc<Mutex<Rules>>,
    pub registrations: watch::Receiver<u64>,
    pub bridges: mpsc::Receiver<Bridge>,
    pub health: watch::Sender<WireStatus>,
    plane: Plane,
    plane_stop: Option<(Shell, JoinHandle<()>)>,
    plane_address: std::net::SocketAddr,
    words: Vec<String>,
    _inside: Shell,
    running: Option<(Shell, JoinHandle<Result<(), cloud_connector::Error>>)>,
}

impl Stage {
    /// Everything but the connector. None where there is no nats-server.
    pub async fn new() -> Option<Stage> {
        if !NatsServer::is_available() {
            return None;
        }
        let nats = NatsServer::start(&Setup::default()).unwrap();
        let state = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::open(&state.path().join("ca"), &[], SystemTime::now()).unwrap();
        let peer = authority.issue_peer(&[], SystemTime::now()).unwrap();
        let file = |name: &str, text: &str| {
            let path = state.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (ca, certificate, key) = (file("ca.crt", &peer.ca), file("peer.crt", &peer.certificate), file("peer.key", &peer.key));
        let (health, told) = watch::channel(WireStatus::default());
        let inside = Shell::default();
        let inside_address = serve_inside(Inside { health: told }, peer, &inside).await;
        let rules = Arc::new(Mutex::new(Rules::default()));
        let (registrations, registered) = watch::channel(0);
        let (bridges, incoming) = mpsc::channel(8);
        let plane = Plane { rules: Arc::clone(&rules), registrations, bridges };
        let kept = state.path().join("state");
        let words = [
            "cloud-connector",
            "--deploy-key",
            DEPLOY_KEY,
            "--cluster-uid",
            "uid-1",
            "--cluster-name",
            "one",
            "--jwt-signing-key",
            SIGNING_KEY,
            "--nats-plaintext",
            "--nats-url",
            &nats.url(),
            "--tls-ca-cert",
            &ca,
            "--tls-cert",
            &certificate,
            "--tls-key",
            &key,
            "--broker-address",
            &inside_address,
            "--metadata-address",
            &inside_address,
            "--state-dir",
            kept.to_str().unwrap(),
        ];
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let mut stage = Stage {
            nats,
            state,
            rules,
            registrations: registered,
            bridges: incoming,
            health,
            plane,
            plane_stop: None,
            plane_address: "127.0.0.1:0".parse().unwrap(),
            words,
            _inside: inside,
            running: None,
        };
        stage.start_plane().await;
        Some(stage)
    }

    /// The control plane, again at the same port.
    pub async fn start_plane(&mut self) {
        let listener = rpc::bind(self.plane_address, &Security::Plaintext).await.unwrap();
        self.plane_address = listener.address();
        let shell = Shell::default();
        let stop = shell.stop.clone();
        let server = rpc::server(&Security::Plaintext).unwrap().add_service(VzConnServiceServer::new(self.plane.clone()));
        let serving = tokio::spawn(async move {
            // Dropped, and all connections with it: a control plane that dies takes no leave.
            tokio::select! {
                () = stop.cancelled() => {}
                served = server.serve_with_incoming(listener.into_incoming()) => served.unwrap(),
            }
        });
        self.plane_stop = Some((shell, serving));
    }

    pub async fn stop_plane(&mut self) {
        let (shell, serving) = self.plane_stop.take().unwrap();
        shell.stop.cancel();
        serving.await.unwrap();
    }

    pub fn start(&mut self) {
        let mut words = self.words.clone();
        words.extend(["--cloud-addr".to_owned(), format!("http://{}", self.plane_address)]);
        let shell = Shell::default();
        let args = cloud_connector::Args::parse_from(words);
        let running = tokio::spawn(cloud_connector::run(args, shell.clone()));
        self.running = Some((shell, running));
    }

    pub async fn stop(&mut self) {
        let (shell, running) = self.running.take().unwrap();
        shell.stop.cancel();
        running.await.unwrap().unwrap();
        shell.tasks.close();
        tokio::time::timeout(SOON, shell.tasks.wait()).await.expect("all tasks end");
    }

    pub async fn bridge(&mut self) -> Bridge {
        tokio::time::timeout(SOON, self.bridges.recv()).await.expect("a bridge came in time").unwrap()
    }

    /// Somebody else on the bus.
    pub async fn bus(&self) -> Bus {
        let bus = Nats::new(self.nats.url(), "test").connect().await.unwrap();
        bus.connected(SOON).await.unwrap();
        bus
    }
}

async fn serve_inside(inside: Inside, peer: PeerIdentity, shell: &Shell) -> String {
    let security = Security::Mutual(Box::new(peer));
    let listener = rpc::bind("127.0.0.1:0".parse().unwrap(), &security).await.unwrap();
    let port = listener.address().port();
    let guard = Guard::new(SigningKey::new(SIGNING_KEY));
    let server = rpc::server(&security)
        .unwrap()
        .add_service(VizierServiceServer::with_interceptor(inside.clone(), guard.clone()))
        .add_service(MetadataServiceServer::with_interceptor(inside, guard));
    let stop = shell.stop.clone();
    tokio::spawn(async move { server.serve_with_incoming_shutdown(listener.into_incoming(), stop.cancelled_owned()).await });
    format!("localhost:{port}")
}

pub fn pack(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/px.cvmsgspb.{name}"), value: message.encode_to_vec() }
}

pub fn unpack<M: Message + Default>(any: &Any) -> M {
    M::decode(any.value.as_slice()).unwrap()
}
