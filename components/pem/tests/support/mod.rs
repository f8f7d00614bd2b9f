//! A bus, a metadata service that says what the test tells it to, and a Kelvin's hub.

#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::print_stdout, reason = "shared by tests that each need a part")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use agent::{DIAL_PROTOCOL, Hub, HubArgs};
use api::uuidpb::Uuid;
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{
    Heartbeat, HeartbeatAck, KelvinAddress, MetadataUpdateInfo, RegisterAgentRequest, RegisterAgentResponse, VizierMessage,
};
use bus::{Bus, Nats, Subscription, subject};
use harness_nats::{NatsServer, Setup};
use ids::{AgentId, Asid};
use rpc::{CertificateAuthority, MutualTls};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Anything that does not happen within this time never will.
pub const NEVER: Duration = Duration::from_mins(2);
/// Between two looks at something that nobody tells of.
const LOOK: Duration = Duration::from_millis(20);

pub struct Vizier {
    pub nats: NatsServer,
    pub bus: Bus,
    heard: Subscription<VizierMessage>,
    pub hub: Hub,
    address: SocketAddr,
    folder: tempfile::TempDir,
    stop: CancellationToken,
}

/// A process that does not outlive its test.
pub struct Owned(pub Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

impl Deref for Owned {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Owned {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Vizier {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Vizier {
    /// `None` where there is no nats-server.
    pub async fn start() -> Option<Vizier> {
        if !NatsServer::is_available() {
            return None;
        }
        let nats = NatsServer::start(&Setup::default()).unwrap();
        let bus = Nats::new(nats.url(), "metadata").connect().await.unwrap();
        bus.connected(NEVER).await.unwrap();
        let heard = bus.subscribe(subject::update_agent()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::open(&folder.path().join("authority"), &[], SystemTime::now()).unwrap();
        let identity = authority.issue_peer(&[], SystemTime::now()).unwrap();
        for (name, text) in [("ca.crt", &identity.ca), ("pem.crt", &identity.certificate), ("pem.key", &identity.key)] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let tls = MutualTls::new(&identity, DIAL_PROTOCOL).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (hub, stop) = (Hub::new(HubArgs::default()), CancellationToken::new());
        let (serving, stopped) = (hub.clone(), stop.clone());
        tokio::spawn(async move { serving.serve(listener, tls.server(), stopped).await });
        Some(Vizier { nats, bus, heard, hub, address, folder, stop })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A node that captures nothing.
    pub fn pem(&self, more: &[&str]) -> Owned {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vizier-pem"));
        command.args(["--hostname", "node-1", "--host-ip", "127.0.0.1", "--capture", "off"]);
        command.args(["--nats-url", &self.nats.url(), "--nats-plaintext", "--table-store-bytes-max", "67108864"]);
        command.arg("--tls-ca-cert").arg(self.path("ca.crt"));
        command.arg("--tls-cert").arg(self.path("pem.crt")).arg("--tls-key").arg(self.path("pem.key"));
        command.arg("--ready-file").arg(self.path("ready"));
        if more.is_empty() {
            command.args(["--http-listen", "127.0.0.1:0"]);
        }
        let log = std::fs::File::create(self.path("log")).unwrap();
        Owned(command.args(more).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// What the program has logged.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    pub async fn next(&mut self) -> Msg {
        let received = tokio::time::timeout(NEVER, self.heard.next()).await;
        let received = received.unwrap_or_else(|_| panic!("the agent is silent: {}", self.said()));
        received.unwrap().message.msg.unwrap()
    }

    pub async fn beat(&mut self) -> Heartbeat {
        loop {
            if let Msg::Heartbeat(beat) = self.next().await {
                return beat;
            }
        }
    }

    async fn registration(&mut self) -> RegisterAgentRequest {
        loop {
            if let Msg::RegisterAgentRequest(request) = self.next().await {
                return request;
            }
        }
    }

    pub async fn say(&self, to: Uuid, msg: Msg) {
        let to = AgentId::from_halves(to.high_bits, to.low_bits);
        self.bus.publish(&subject::agent(to), &VizierMessage { msg: Some(msg) }).await.unwrap();
        // Whoever waits for the process next holds up what sends.
        self.bus.flush().await.unwrap();
    }

    /// Takes the agent under a number, and acknowledges its first beat under it that has its tables.
    pub async fn join(&mut self, asid: u32) -> (RegisterAgentRequest, Heartbeat) {
        let request = self.registration().await;
        let id = request.info.as_ref().unwrap().agent_id.unwrap();
        let response = RegisterAgentResponse { asid, incarnation: request.incarnation, ..Default::default() };
        self.say(id, Msg::RegisterAgentResponse(response)).await;
        loop {
            let beat = self.beat().await;
            self.acknowledge(&beat).await;
            if beat.update_info.as_ref().is_some_and(|update| !update.schema.is_empty()) {
                return (request, beat);
            }
        }
    }

    pub async fn acknowledge(&self, beat: &Heartbeat) {
        let kelvin = KelvinAddress {
            agent_id: Some(Uuid { high_bits: 1, low_bits: 1 }),
            address: self.address.to_string(),
            tls_server_name: "localhost".to_owned(),
        };
        let ack = HeartbeatAck {
            sequence_number: beat.sequence_number,
            update_info: Some(MetadataUpdateInfo { kelvins: vec![kelvin], ..Default::default() }),
            incarnation: beat.incarnation,
            ..Default::default()
        };
        self.say(beat.agent_id.unwrap(), Msg::HeartbeatAck(ack)).await;
    }

    pub async fn kelvin_connected(&self) {
        let mut connected = self.hub.connected();
        tokio::time::timeout(NEVER, connected.wait_for(|count| *count == 1)).await.expect("the agent dials").unwrap();
    }

    /// The lines of the ready file, once it is there.
    pub async fn ready(&self) -> Vec<String> {
        let read = || std::fs::read_to_string(self.path("ready")).unwrap_or_default();
        until(|| read().lines().count() >= 2 && read().ends_with('\n')).await;
        read().lines().map(str::to_owned).collect()
    }

    /// Waits until the ready file names this number.
    pub async fn ready_as(&self, asid: &str) {
        let read = || std::fs::read_to_string(self.path("ready")).unwrap_or_default();
        until(|| read().lines().nth(1) == Some(asid)).await;
    }
}

/// Asks a process to leave.
pub fn terminate(child: &Child) {
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
}

/// Looks again and again.
pub async fn until(mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(NEVER, async {
        while !holds() {
            tokio::time::sleep(LOOK).await;
        }
    });
    waited.await.expect("it comes to hold");
}

/// The body of a page.
pub fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The value of a metric; 0 if it is not told.
pub fn number(metrics: &str, name: &str) -> u64 {
    metrics.lines().find_map(|line| line.strip_prefix(name)).map_or(0, |value| value.trim().parse().unwrap())
}

/// Field 22 of a process's stat.
pub fn start_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap()
}

/// Whether this machine lets functions be probed; where it does not, the test is skipped.
pub fn can_probe() -> bool {
    match collectors::Probes::start(Asid(1)) {
        Ok(_) => true,
        Err(error) => {
            println!("skipped: functions cannot be probed here: {error}; {}", error.remedy());
            false
        }
    }
}
