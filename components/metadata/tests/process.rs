//! The binary as a process: a real nats-server, mutual TLS, tokens, a kill, a second replica.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{
    AgentDataInfo, AgentUpdateInfo, CollectorStates, Heartbeat, HeartbeatAck, RegisterAgentRequest, VizierMessage,
};
use api::vizier::services::metadata::metadata_service_client::MetadataServiceClient;
use api::vizier::services::metadata::{AgentInfoRequest, AgentUpdatesRequest};
use api::vizier::services::shared::agent::{AgentCapabilities, AgentInfo, HostInfo};
use auth::{Bearer, SigningKey};
use bus::{Bus, Nats, Subscription, subject};
use harness_nats::{NatsServer, Setup};
use ids::AgentId;
use rpc::{Part, PeerIdentity, provision};
use support::Server;
use tempfile::TempDir;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request};

const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";
/// Starting takes a moment; on a machine that is busy, more.
const START_MAX: Duration = Duration::from_mins(1);
const ID: (u64, u64) = (7, 1);

/// A running `metadata`; ended with the test.
struct Running {
    child: Child,
    address: String,
    http: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Place {
    folder: TempDir,
    identity: PeerIdentity,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let part = Part { name: "metadata".to_owned(), names: vec![] };
        let files = provision(folder.path(), &[part], SystemTime::now()).unwrap().remove(0);
        let identity = PeerIdentity::read(&files.ca, &files.certificate, &files.key).unwrap();
        std::fs::write(folder.path().join("jwt.key"), KEY).unwrap();
        Place { folder, identity }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn start(&self, nats: &NatsServer, name: &str, more: &[&str]) -> Running {
        let ready = self.path(&format!("{name}.ready"));
        let _ = std::fs::remove_file(&ready);
        let mut command = Command::new(env!("CARGO_BIN_EXE_metadata"));
        command.args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--nats-plaintext", "--nats-url", &nats.url()]);
        for (flag, file) in [
            ("--tls-ca-cert", "ca.crt"),
            ("--tls-cert", "metadata.crt"),
            ("--tls-key", "metadata.key"),
            ("--jwt-signing-key-file", "jwt.key"),
            ("--store-path", "metadata.redb"),
        ] {
            command.arg(flag).arg(self.path(file));
        }
        command.arg("--ready-file").arg(&ready).args(more).stdin(Stdio::null());
        let child = command.spawn().unwrap();
        let mut running = Running { child, address: String::new(), http: String::new() };
        let lines = eventually("it is ready", || std::fs::read_to_string(&ready).ok().filter(|text| text.lines().count() == 2)).await;
        let mut lines = lines.lines().map(str::to_owned);
        (running.address, running.http) = (lines.next().unwrap(), lines.next().unwrap());
        running
    }

    fn client(&self, running: &Running) -> MetadataServiceClient<InterceptedService<Channel, Bearer>> {
        let channel = rpc::channel(&running.address, "localhost", &self.identity).unwrap();
        MetadataServiceClient::with_interceptor(channel, Bearer::new(SigningKey::new(KEY), "query_broker"))
    }
}

async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(START_MAX, async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("{what}"))
}

/// The status line's number of a plain GET, and the body.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let code = text.split(' ').nth(1).unwrap().parse().unwrap();
    (code, text.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// An agent of one word after the other, each said until it is answered.
struct Agent {
    bus: Bus,
    heard: Subscription<VizierMessage>,
    sequence: i64,
}

impl Agent {
    async fn new(nats: &NatsServer) -> Agent {
        let bus = Nats::new(nats.url(), "pem").connect().await.unwrap();
        bus.connected(START_MAX).await.unwrap();
        let heard = bus.subscribe(subject::agent(AgentId::from_halves(ID.0, ID.1))).await.unwrap();
        Agent { bus, heard, sequence: 0 }
    }

    async fn ask(&mut self, msg: Msg) -> Msg {
        let message = VizierMessage { msg: Some(msg) };
        let pace = bus::Pace { first: Duration::from_millis(100), max: Duration::from_secs(1), seed: 1 };
        let subject = subject::update_agent();
        let answer = self.bus.repeat(&subject, &message, pace).until(&mut self.heard, |received| received.message.msg);
        tokio::time::timeout(START_MAX, answer).await.unwrap().unwrap()
    }

    async fn register(&mut self) -> u32 {
        let info = AgentInfo {
            agent_id: Some(api::uuidpb::Uuid { high_bits: ID.0, low_bits: ID.1 }),
            host_info: Some(HostInfo { hostname: "node".to_owned(), host_ip: "10.0.0.1".to_owned(), ..HostInfo::default() }),
            capabilities: Some(AgentCapabilities { collects_data: true }),
            ..AgentInfo::default()
        };
        let asked = Msg::RegisterAgentRequest(RegisterAgentRequest { info: Some(info), asid: 0, incarnation: 5 });
        let Msg::RegisterAgentResponse(response) = self.ask(asked).await else { panic!("no answer to a registration") };
        assert_eq!(response.refusal, "");
        let data = AgentDataInfo { metadata_info: None, collectors: Some(CollectorStates::default()) };
        self.beat(Some(AgentUpdateInfo { does_update_schema: true, data: Some(data), ..AgentUpdateInfo::default() })).await;
        response.asid
    }

    async fn beat(&mut self, update_info: Option<AgentUpdateInfo>) -> HeartbeatAck {
        self.sequence += 1;
        let agent_id = Some(api::uuidpb::Uuid { high_bits: ID.0, low_bits: ID.1 });
        let heartbeat = Heartbeat { agent_id, time: 0, update_info, sequence_number: self.sequence, incarnation: 5 };
        loop {
            let answer = self.ask(Msg::Heartbeat(heartbeat.clone())).await;
            assert!(!matches!(answer, Msg::HeartbeatNack(_)), "{answer:?}");
            if let Msg::HeartbeatAck(ack) = answer
                && ack.sequence_number == self.sequence
            {
                return ack;
            }
        }
    }
}

async fn agents(client: &mut MetadataServiceClient<InterceptedService<Channel, Bearer>>) -> usize {
    client.get_agent_info(AgentInfoRequest {}).await.unwrap().into_inner().info.len()
}

fn terminate(running: &mut Running) -> std::process::ExitStatus {
    let pid = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    running.child.wait().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_registers_the_broker_hears_of_it_and_a_kill_costs_nobody_anything() {
    if !NatsServer::is_available() {
        return;
    }
    let (nats, place) = (NatsServer::start(&Setup::default()).unwrap(), Place::new());
    let running = place.start(&nats, "one", &[]).await;
    let mut agent = Agent::new(&nats).await;
    assert_eq!(agent.register().await, 1);
    let mut client = place.client(&running);
    let mut stream = client.get_agent_updates(AgentUpdatesRequest::default()).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!((first.agent_updates.len(), first.end_of_version), (2, true));

    let (code, text) = get(&running.http, "/readyz");
    assert_eq!((code, text.as_str()), (200, "OK\n[+]bus OK\n[+]leader OK\n"));
    let (code, text) = get(&running.http, "/metrics");
    assert!(code == 200 && text.contains("\npems 1\n") && text.contains("\nagent_registrations_total 1\n"), "{text}");

    // Without a certificate, without a token, with a token of another key.
    let plain = tonic::transport::Endpoint::from_shared(format!("http://{}", running.address)).unwrap().connect_lazy();
    assert!(MetadataServiceClient::new(plain).get_agent_info(AgentInfoRequest {}).await.is_err());
    let channel = rpc::channel(&running.address, "localhost", &place.identity).unwrap();
    let refused = MetadataServiceClient::new(channel.clone()).get_agent_info(Request::new(AgentInfoRequest {})).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let forged = Bearer::new(SigningKey::new("another key of at least thirty-two bytes"), "query_broker");
    let refused = MetadataServiceClient::with_interceptor(channel, forged).get_agent_info(AgentInfoRequest {}).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, auth::UNAUTHENTICATED));

    // A kill; the agent goes on with its heartbeats.
    drop(running);
    let mut running = place.start(&nats, "one", &[]).await;
    agent.beat(None).await;
    assert_eq!(agents(&mut place.client(&running)).await, 1);
    assert!(terminate(&mut running).success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_is_away_is_no_reason_to_restart_it() {
    if !NatsServer::is_available() {
        return;
    }
    let (mut nats, place) = (NatsServer::start(&Setup::default()).unwrap(), Place::new());
    let running = place.start(&nats, "one", &[]).await;
    let ready = |ready: bool| {
        let http = running.http.clone();
        eventually("it is ready or not", move || Some(get(&http, "/readyz")).filter(|(code, _)| (*code == 200) == ready))
    };
    ready(true).await;
    assert_eq!(get(&running.http, "/statusz").0, 200);
    nats.stop().unwrap();
    let (_, text) = ready(false).await;
    assert!(text.contains("[-]bus FAILED: ") && text.contains("[+]leader OK"), "{text}");
    assert_eq!(get(&running.http, "/healthz"), (200, "OK\n".to_owned()));
    assert_eq!(get(&running.http, "/statusz"), (503, "NATSUnavailable".to_owned()));
    nats.start_again().unwrap();
    ready(true).await;
    assert_eq!(get(&running.http, "/statusz").0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_replica_on_etcd_takes_over_from_one_that_stops() {
    let Some(etcd) = Server::start(false, &[]) else { return };
    if !NatsServer::is_available() {
        return;
    }
    let (nats, place) = (NatsServer::start(&Setup::default()).unwrap(), Place::new());
    let flags = ["--store", "etcd", "--etcd-endpoints", &etcd.endpoint, "--etcd-prefix", "/px"];
    let mut one = place.start(&nats, "one", &flags).await;
    eventually("the first one leads", || (get(&one.http, "/readyz").0 == 200).then_some(())).await;
    let two = place.start(&nats, "two", &flags).await;
    let mut agent = Agent::new(&nats).await;
    assert_eq!(agent.register().await, 1);
    let passive = place.client(&two).get_agent_info(AgentInfoRequest {}).await.unwrap_err();
    assert_eq!(passive.code(), Code::Unavailable);
    assert!(get(&two.http, "/readyz").0 != 200);

    assert!(terminate(&mut one).success());
    eventually("the second one leads", || (get(&two.http, "/readyz").0 == 200).then_some(())).await;
    agent.beat(None).await;
    assert_eq!(agents(&mut place.client(&two)).await, 1);
}

#[test]
fn what_keeps_it_from_starting_is_said_in_one_line() {
    let place = Place::new();
    let run = |more: &[(&str, &Path)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metadata"));
        command.env_clear().args(["--listen", "127.0.0.1:0", "--nats-url", "127.0.0.1:1", "--nats-plaintext"]);
        for (flag, path) in more {
            command.arg(flag).arg(path);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (ca, crt, key) = (place.path("ca.crt"), place.path("metadata.crt"), place.path("metadata.key"));
    let tls: [(&str, &Path); 3] = [("--tls-ca-cert", &ca), ("--tls-cert", &crt), ("--tls-key", &key)];
    let (code, text) = run(&tls);
    assert_eq!((code, text.trim_end()), (Some(1), "error: no key to sign tokens with: --jwt-signing-key-file names one"));
    let (jwt, store) = (place.path("jwt.key"), place.path("none.redb"));
    std::fs::write(&store, "something else\n".repeat(1000)).unwrap();
    let mut all = tls.to_vec();
    all.extend([("--jwt-signing-key-file", jwt.as_path()), ("--store-path", store.as_path())]);
    let (code, text) = run(&all);
    let last = text.lines().last().unwrap();
    assert!(code == Some(1) && last.contains("none.redb is damaged or no store"), "{text}");
}
