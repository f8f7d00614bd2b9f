//! The real control plane on a port of loopback, its commands, and a Vizier whose answers a test writes.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "a test may fail where it stands; not every test uses all")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use api::cloudapi::vizier_cluster_info_client::VizierClusterInfoClient;
use api::cloudapi::{ClusterInfo, ClusterStatus, GetClusterInfoRequest};
use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answer;
use api::cvmsgspb::{
    C2vapiStreamRequest, RegisterVizierAck, RegisterVizierRequest, V2capiStreamResponse, VizierClusterInfo, VizierHeartbeat, VizierStatus,
};
use api::services::vz_conn_service_client::VzConnServiceClient;
use api::services::{C2vBridgeMessage, RegisterVizierDeploymentRequest, RegisterVizierDeploymentResponse, V2cBridgeMessage};
use api::uuidpb::Uuid;
use api::vizierpb::Status as WireStatus;
use auth::SigningKey;
use clap::Parser as _;
use ids::ClusterId;
use prost::Message;
use prost_types::Any;
use service::Shell;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status, Streaming};

pub const SIGNING_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Longest wait for what must happen.
pub const SOON: Duration = Duration::from_secs(30);

pub struct Plane {
    pub state: TempDir,
    pub address: String,
    shell: Shell,
    serving: Option<JoinHandle<Result<(), cloud::Error>>>,
    tls: bool,
}

impl Plane {
    pub async fn start(tls: bool) -> Plane {
        let mut plane =
            Plane { state: tempfile::tempdir().unwrap(), address: "127.0.0.1:0".to_owned(), shell: Shell::default(), serving: None, tls };
        plane.serve().await;
        plane
    }

    /// Again, on the same state and the same port.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.serve().await;
    }

    pub async fn stop(&mut self) {
        self.shell.stop.cancel();
        if let Some(serving) = self.serving.take() {
            serving.await.unwrap().unwrap();
        }
        self.shell.tasks.close();
        self.shell.tasks.wait().await;
    }

    async fn serve(&mut self) {
        self.shell = Shell::default();
        let (state, ready) = (self.state.path().to_str().unwrap(), self.state.path().join("ready"));
        let _gone = std::fs::remove_file(&ready).is_err();
        let mut words = vec!["cloud", "serve", "--state-dir", state, "--listen", &self.address, "--ready-file", ready.to_str().unwrap()];
        if self.tls {
            words.push("--tls");
        }
        let args = cloud::Args::parse_from(words);
        self.serving = Some(tokio::spawn(cloud::run(args, self.shell.clone())));
        let address = until(|| std::fs::read_to_string(&ready).ok().filter(|text| text.ends_with('\n'))).await;
        address.trim().clone_into(&mut self.address);
    }

    /// What a command prints.
    pub fn command(&self, words: &[&str]) -> Result<String, String> {
        let output = Command::new(env!("CARGO_BIN_EXE_cloud"))
            .args(words)
            .args(["--state-dir", self.state.path().to_str().unwrap()])
            .env_clear()
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// A new key of this organisation.
    pub fn key(&self, kind: &str, org: &str) -> String {
        self.command(&["key", "create", "--kind", kind, "--org", org, "--short"]).unwrap().trim().to_owned()
    }

    pub fn ca(&self) -> std::path::PathBuf {
        self.state.path().join("tls/ca.crt")
    }

    pub fn channel(&self) -> Channel {
        if self.tls {
            let port = self.address.rsplit_once(':').unwrap().1;
            let ca = Certificate::from_pem(std::fs::read(self.ca()).unwrap());
            let tls = ClientTlsConfig::new().ca_certificate(ca);
            return Endpoint::from_shared(format!("https://localhost:{port}")).unwrap().tls_config(tls).unwrap().connect_lazy();
        }
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    pub async fn clusters(&self, api_key: &str) -> Result<Vec<ClusterInfo>, Status> {
        let request = with("pixie-api-key", api_key, GetClusterInfoRequest::default());
        Ok(VizierClusterInfoClient::new(self.channel()).get_cluster_info(request).await?.into_inner().clusters)
    }

    /// Waits until the only cluster stands there.
    pub async fn cluster_is(&self, api_key: &str, status: ClusterStatus) -> ClusterInfo {
        let waiting = async {
            loop {
                let clusters = self.clusters(api_key).await.unwrap();
                if let [one] = &clusters[..]
                    && one.status == status as i32
                {
                    return one.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, waiting).await.unwrap()
    }
}

/// Waits for what must come.
pub async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.expect("it came in time")
}

pub fn with<T>(header: &'static str, value: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(header, value.parse().unwrap());
    request
}

pub fn pack(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/px.cvmsgspb.{name}"), value: message.encode_to_vec() }
}

pub fn unpack<M: Message + Default>(message: &C2vBridgeMessage) -> M {
    M::decode(message.msg.as_ref().unwrap().value.as_slice()).unwrap()
}

pub async fn register(plane: &Plane, key: &str, uid: &str, name: &str) -> Result<RegisterVizierDeploymentResponse, Status> {
    let asked = RegisterVizierDeploymentRequest { k8s_cluster_uid: uid.to_owned(), k8s_cluster_name: name.to_owned() };
    let answer = VzConnServiceClient::new(plane.channel()).register_vizier_deployment(with("x-api-key", key, asked)).await?;
    Ok(answer.into_inner())
}

pub fn cluster_id(id: Uuid) -> ClusterId {
    ClusterId::from_halves(id.high_bits, id.low_bits)
}

/// A Vizier's end of the bridge.
pub struct Vizier {
    pub id: Uuid,
    pub out: mpsc::Sender<V2cBridgeMessage>,
    pub incoming: Streaming<C2vBridgeMessage>,
    session: i64,
    beats: i64,
}

impl Vizier {
    /// Opens a bridge as this cluster.
    pub async fn open(plane: &Plane, key: &str, id: Uuid, uid: &str, session: i64) -> Result<Vizier, Status> {
        Vizier::open_as(plane, key, (id, uid), session, false).await
    }

    /// The same; `repeats_calls`: it knows calls again, as those of ours do.
    pub async fn open_as(plane: &Plane, key: &str, (id, uid): (Uuid, &str), session: i64, repeats_calls: bool) -> Result<Vizier, Status> {
        let (out, stream) = mpsc::channel(64);
        let info = VizierClusterInfo { cluster_uid: uid.to_owned(), vizier_version: "0.1.0".to_owned(), ..Default::default() };
        let first = RegisterVizierRequest { vizier_id: Some(id), jwt_key: SIGNING_KEY.to_owned(), cluster_info: Some(info), repeats_calls };
        let first =
            V2cBridgeMessage { topic: "register".to_owned(), session_id: session, msg: Some(pack("RegisterVizierRequest", &first)) };
        out.send(first).await.unwrap();
        let request = with("x-api-key", key, ReceiverStream::new(stream));
        let mut incoming = VzConnServiceClient::new(plane.channel()).nats_bridge(request).await?.into_inner();
        let ack = incoming.message().await?.ok_or_else(|| Status::unknown("ended"))?;
        assert_eq!(ack.topic, "registerAck");
        match unpack::<RegisterVizierAck>(&ack).status {
            1 => Ok(Vizier { id, out, incoming, session, beats: 0 }),
            _ => Err(incoming.message().await.unwrap_err()),
        }
    }

    /// A new cluster that is healthy.
    pub async fn healthy(plane: &Plane, deploy_key: &str, api_key: &str) -> Vizier {
        Vizier::healthy_as(plane, deploy_key, api_key, false).await
    }

    /// The same, of ours or not.
    pub async fn healthy_as(plane: &Plane, deploy_key: &str, api_key: &str, repeats_calls: bool) -> Vizier {
        let id = register(plane, deploy_key, "uid-1", "one").await.unwrap().vizier_id.unwrap();
        let mut vizier = Vizier::open_as(plane, deploy_key, (id, "uid-1"), 1, repeats_calls).await.unwrap();
        vizier.beat(VizierStatus::VzStHealthy, "").await;
        plane.cluster_is(api_key, ClusterStatus::CsHealthy).await;
        vizier
    }

    pub async fn say(&self, topic: &str, msg: Any) {
        self.out.send(V2cBridgeMessage { topic: topic.to_owned(), session_id: self.session, msg: Some(msg) }).await.unwrap();
    }

    pub async fn beat(&mut self, status: VizierStatus, message: &str) {
        self.beats += 1;
        let heartbeat = VizierHeartbeat {
            vizier_id: Some(self.id),
            sequence_number: self.beats,
            status: status as i32,
            status_message: message.to_owned(),
            num_nodes: 3,
            num_instrumented_nodes: 2,
            ..Default::default()
        };
        self.say("heartbeat", pack("VizierHeartbeat", &heartbeat)).await;
    }

    pub async fn next(&mut self) -> C2vBridgeMessage {
        tokio::time::timeout(SOON, self.incoming.message()).await.unwrap().unwrap().expect("the bridge is open")
    }

    /// The next call, whose token is checked as a broker does.
    pub async fn call(&mut self) -> C2vapiStreamRequest {
        let message = self.next().await;
        assert_eq!(message.topic, "VizierPassthroughRequest");
        let request: C2vapiStreamRequest = unpack(&message);
        if !matches!(request.msg, Some(Ask::CancelReq(_))) {
            let identity = SigningKey::new(SIGNING_KEY).verify(&request.token, std::time::SystemTime::now()).unwrap();
            assert_eq!(identity, auth::Identity::Cluster { id: cluster_id(self.id) });
        }
        request
    }

    pub async fn answer(&self, call: &str, sequence: u64, msg: Answer) {
        answer(&self.out, self.session, call, sequence, msg).await;
    }

    /// The end of a call.
    pub async fn end(&self, call: &str, sequence: u64, code: i32, message: &str) {
        let status = WireStatus { code, message: message.to_owned(), ..Default::default() };
        self.answer(call, sequence, Answer::Status(status)).await;
    }
}

pub async fn answer(out: &mpsc::Sender<V2cBridgeMessage>, session: i64, call: &str, sequence: u64, msg: Answer) {
    let answer = V2capiStreamResponse { request_id: call.to_owned(), sequence, msg: Some(msg) };
    let msg = Some(pack("V2CAPIStreamResponse", &answer));
    out.send(V2cBridgeMessage { topic: format!("reply-{call}"), session_id: session, msg }).await.unwrap();
}

/// `PX_PYTHON`, or what `ci/setup` made. None where there is neither, which continuous integration does not accept.
pub fn python() -> Option<std::path::PathBuf> {
    if let Some(python) = std::env::var_os("PX_PYTHON") {
        return Some(python.into());
    }
    let venv = Path::new(&std::env::var_os("HOME")?).join(".cache/px/venv/bin/python");
    if venv.exists() {
        return Some(venv);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing: ci/setup makes it", venv.display());
    eprintln!("skipped: {} is missing; ci/setup makes it, PX_PYTHON names another", venv.display());
    None
}
