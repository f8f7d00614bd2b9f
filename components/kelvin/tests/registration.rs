//! The program over a real nats-server: it registers with both of its addresses, beats, and leaves when it is asked to.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use agent::wire::{decode_rows, decode_schema, encode_output};
use api::internal::ExecutePlanRequest;
use api::internal::execute_plan_response::Message;
use api::internal::kelvin_client::KelvinClient;
use api::shared::k8s::metadatapb::{MissingK8sMetadataResponse, NamespaceUpdate, ResourceUpdate, resource_update};
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{
    HeartbeatAck, K8sMetadataMessage, KelvinAddress, MetadataUpdateInfo, RegisterAgentResponse, VizierMessage, k8s_metadata_message,
};
use bus::{Bus, Nats, Selector, Subscription, subject};
use engine::distributed::{AgentCatalog, PLAN_VERSION};
use harness_nats::{NatsServer, Setup};
use ids::{AgentId, UnixNs};
use rpc::{CertificateAuthority, PeerIdentity};
use tonic::transport::Endpoint;

/// Anything that does not happen within this time never will.
const NEVER: Duration = Duration::from_mins(2);

async fn next(heard: &mut Subscription<VizierMessage>) -> Msg {
    let received = tokio::time::timeout(NEVER, heard.next()).await.expect("Kelvin speaks").unwrap();
    received.message.msg.unwrap()
}

async fn say(bus: &Bus, to: AgentId, msg: Msg) {
    bus.publish(&subject::agent(to), &VizierMessage { msg: Some(msg) }).await.unwrap();
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// What that agent says to `px._DebugMDState()`.
async fn state_of(identity: &PeerIdentity, kelvin: &str, agent: AgentId) -> String {
    let functions = funcs::registry(&funcs::Environment::default());
    let catalog = AgentCatalog::of_agents();
    let script = "import px\npx.display(px._DebugMDState())\n";
    let input = pxl::CompileInput::new(script, UnixNs(0), &catalog, &functions);
    let plan = encode_output(&pxl::compile(&input).unwrap().outputs[0]).unwrap();
    let request = ExecutePlanRequest {
        query_id: vec![1; 16],
        plan_version: PLAN_VERSION.to_owned(),
        agent_ids: vec![agent.to_bytes().to_vec()],
        outputs: vec![plan],
        ..Default::default()
    };
    let url = format!("https://localhost:{}", kelvin.rsplit(':').next().unwrap());
    let channel = Endpoint::from_shared(url).unwrap().tls_config(identity.client_tls()).unwrap().connect().await.unwrap();
    let mut answers = KelvinClient::new(channel).execute_plan(request).await.unwrap().into_inner();
    let (mut schema, mut text) = (None, String::new());
    while let Some(answer) = tokio::time::timeout(NEVER, answers.message()).await.expect("no message").unwrap() {
        match answer.message {
            Some(Message::Schema(told)) => schema = Some(decode_schema(&told).unwrap()),
            Some(Message::Rows(rows)) => text = format!("{text}{:?}", decode_rows(&rows, schema.as_ref().unwrap()).unwrap()),
            Some(Message::End(end)) => assert_eq!(end.missing, []),
            Some(Message::Exported(_)) | None => {}
        }
    }
    text
}

/// Until its metrics have this line.
async fn counted(http: &str, line: &str) {
    let told = tokio::time::timeout(NEVER, async {
        while !get(http, "/metrics").contains(&format!("{line}\n")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    told.await.unwrap_or_else(|_| panic!("{line} never came"));
}

/// The program, with that identity on that bus.
fn started(folder: &Path, identity: &PeerIdentity, nats: &str) -> Child {
    let path = |name: &str| folder.join(name);
    for (name, text) in [("ca.crt", &identity.ca), ("kelvin.crt", &identity.certificate), ("kelvin.key", &identity.key)] {
        std::fs::write(path(name), text).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_kelvin"));
    command.args(["--listen", "127.0.0.1:0", "--agents-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    command.args(["--nats-url", nats, "--nats-plaintext", "--hostname", "node-1", "--pod-name", "pl/kelvin-1"]);
    command.arg("--tls-ca-cert").arg(path("ca.crt")).arg("--tls-cert").arg(path("kelvin.crt"));
    command.arg("--tls-key").arg(path("kelvin.key")).arg("--ready-file").arg(path("ready"));
    command.stdin(Stdio::null()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kelvin_registers_with_both_addresses_and_asks_for_all_names() {
    if !NatsServer::is_available() {
        return;
    }
    let nats = NatsServer::start(&Setup::default()).unwrap();
    let bus = Nats::new(nats.url(), "metadata").connect().await.unwrap();
    bus.connected(NEVER).await.unwrap();
    let mut heard = bus.subscribe(subject::update_agent()).await.unwrap();
    let mut missing = bus.subscribe(subject::missing_metadata_requests()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::open(&folder.path().join("authority"), &[], SystemTime::now()).unwrap();
    let identity = authority.issue_peer(&[], SystemTime::now()).unwrap();
    let mut kelvin = started(folder.path(), &identity, &nats.url());

    let Msg::RegisterAgentRequest(request) = next(&mut heard).await else { panic!("its first word is its registration") };
    let info = request.info.unwrap();
    let ready = std::fs::read_to_string(folder.path().join("ready")).unwrap();
    let [address, agents_address, http] = ready.lines().collect::<Vec<_>>()[..] else { panic!("{ready}") };
    assert_eq!((info.query_address.as_str(), info.rpc_address.as_str()), (address, agents_address));
    assert_eq!((info.tls_server_name.as_str(), info.capabilities.unwrap().collects_data), ("localhost", false));
    assert!(agents_address.parse::<SocketAddr>().is_ok());
    let id = info.agent_id.map(|id| AgentId::from_halves(id.high_bits, id.low_bits)).unwrap();
    let response = RegisterAgentResponse { asid: 4, incarnation: request.incarnation, ..Default::default() };
    say(&bus, id, Msg::RegisterAgentResponse(response)).await;
    let beat = loop {
        if let Msg::Heartbeat(beat) = next(&mut heard).await {
            break beat;
        }
    };
    assert!(beat.update_info.unwrap().does_update_schema, "it says that it has no tables");
    let itself = KelvinAddress { agent_id: info.agent_id, address: agents_address.to_owned(), tls_server_name: "localhost".to_owned() };
    let update_info = Some(MetadataUpdateInfo { kelvins: vec![itself], ..Default::default() });
    let ack = HeartbeatAck { sequence_number: beat.sequence_number, incarnation: beat.incarnation, update_info, ..Default::default() };
    say(&bus, id, Msg::HeartbeatAck(ack)).await;
    assert!(get(http, "/readyz").contains("[+]registered OK"));

    // Names of the whole cluster.
    let asked = tokio::time::timeout(NEVER, missing.next()).await.unwrap().unwrap().message;
    let Some(Msg::K8sMetadataMessage(K8sMetadataMessage { msg: Some(k8s_metadata_message::Msg::MissingK8sMetadataRequest(asked)) })) =
        asked.msg
    else {
        panic!("a request for names")
    };
    assert_eq!((asked.selector.as_str(), asked.from_update_version), ("all", 0));
    let namespace = NamespaceUpdate { uid: "n".to_owned(), name: "shop".to_owned(), ..Default::default() };
    let update =
        ResourceUpdate { update: Some(resource_update::Update::NamespaceUpdate(namespace)), update_version: 1, prev_update_version: 0 };
    let answer = MissingK8sMetadataResponse { updates: vec![update], first_update_available: 1, last_update_available: 1 };
    let answer = K8sMetadataMessage { msg: Some(k8s_metadata_message::Msg::MissingK8sMetadataResponse(answer)) };
    let answer = VizierMessage { msg: Some(Msg::K8sMetadataMessage(answer)) };
    bus.publish(&subject::k8s_updates(Selector::All), &answer).await.unwrap();
    counted(http, "px_agent_names_applied_total 1").await;

    // As one of the agents of all Kelvins it tells of itself: it dials itself.
    counted(http, "px_kelvin_agents_connected 1").await;
    let text = state_of(&identity, address, id).await;
    assert!(text.contains('4') && text.contains("pl/kelvin-1") && text.contains("Namespace shop uid=n"), "{text}");

    assert!(Command::new("kill").arg(kelvin.id().to_string()).status().unwrap().success());
    assert!(kelvin.wait().unwrap().success(), "it leaves when it is asked to");
}
