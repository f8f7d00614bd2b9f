//! An agent on the bus: in memory through stops of the bus, and once over a real nats-server.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agent::life::{Collector, CollectorState, Incarnation, Profile, Standing, TableSchema};
use agent::{Error, MemberHandle, Membership, MembershipArgs, Request, Requests};
use api::uuidpb::Uuid;
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{
    AgentRefusal, ConfigUpdateMessage, ConfigUpdateRequest, Heartbeat, HeartbeatAck, HeartbeatNack, KelvinAddress, MetadataUpdateInfo,
    RegisterAgentRequest, RegisterAgentResponse, VizierMessage, config_update_message,
};
use bus::{Bus, Fate, Hub, Nats, Subscription, subject};
use harness_nats::{NatsServer, Setup};
use ids::{AgentId, Asid, UnixNs};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Anything that does not happen within this time never will.
const NEVER: Duration = Duration::from_mins(2);

/// The other side, which says what the test tells it to.
struct Peer {
    bus: Bus,
    heard: Subscription<VizierMessage>,
}

impl Peer {
    async fn new(bus: Bus) -> Peer {
        let heard = bus.subscribe(subject::update_agent()).await.unwrap();
        Peer { bus, heard }
    }

    async fn next(&mut self) -> Msg {
        let received = tokio::time::timeout(NEVER, self.heard.next()).await.expect("the agent speaks").unwrap();
        received.message.msg.unwrap()
    }

    async fn registration(&mut self) -> RegisterAgentRequest {
        loop {
            if let Msg::RegisterAgentRequest(request) = self.next().await {
                return request;
            }
        }
    }

    async fn beat(&mut self) -> Heartbeat {
        loop {
            if let Msg::Heartbeat(beat) = self.next().await {
                return beat;
            }
        }
    }

    async fn say(&self, to: Uuid, msg: Msg) {
        let to = AgentId::from_halves(to.high_bits, to.low_bits);
        self.bus.publish(&subject::agent(to), &VizierMessage { msg: Some(msg) }).await.unwrap();
    }

    async fn take(&mut self, asid: u32) -> RegisterAgentRequest {
        let request = self.registration().await;
        let id = request.info.as_ref().unwrap().agent_id.unwrap();
        let response = RegisterAgentResponse { asid, incarnation: request.incarnation, ..Default::default() };
        self.say(id, Msg::RegisterAgentResponse(response)).await;
        request
    }

    async fn acknowledge(&self, beat: &Heartbeat) {
        let kelvin = KelvinAddress { agent_id: Some(Uuid { high_bits: 1, low_bits: 1 }), address: "k:1".to_owned(), ..Default::default() };
        let update = MetadataUpdateInfo { kelvins: vec![kelvin], service_cidr: "10.96.0.0/12".to_owned(), ..Default::default() };
        let ack = HeartbeatAck {
            sequence_number: beat.sequence_number,
            update_info: Some(update),
            incarnation: beat.incarnation,
            ..Default::default()
        };
        self.say(beat.agent_id.unwrap(), Msg::HeartbeatAck(ack)).await;
    }
}

struct Agent {
    handle: MemberHandle,
    requests: Requests,
    stop: CancellationToken,
    running: JoinHandle<Result<(), Error>>,
}

impl Agent {
    fn start(bus: Bus) -> Agent {
        let profile = Profile { hostname: "node-1".to_owned(), host_ip: "10.0.0.1".to_owned(), collects_data: true, ..Profile::default() };
        let args =
            MembershipArgs { seed: 7, incarnation: Some(Incarnation(5)), wall: Arc::new(|| UnixNs(9)), ..MembershipArgs::new(profile) };
        let (membership, handle, requests) = Membership::new(bus, args);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let running = tokio::spawn(async move { membership.run(&stopped).await });
        Agent { handle, requests, stop, running }
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

fn table(name: &str) -> TableSchema {
    TableSchema { name: name.to_owned(), text: String::new(), columns: vec![] }
}

#[tokio::test(start_paused = true)]
async fn an_agent_registers_tells_what_it_has_and_learns_where_kelvins_are() {
    let hub = Hub::new();
    let mut peer = Peer::new(hub.connect("metadata").unwrap()).await;
    let agent = Agent::start(hub.connect("pem").unwrap());
    agent.handle.set_tables(vec![table("http_events")]);
    let failed = Collector { state: CollectorState::Failed, way: String::new(), reason: "no BTF".to_owned(), remedy: String::new() };
    agent.handle.set_collectors(BTreeMap::from([("socket data".to_owned(), failed)]));
    let request = peer.take(7).await;
    assert_eq!((request.asid, request.incarnation, request.info.unwrap().host_info.unwrap().hostname), (0, 5, "node-1".to_owned()));
    let member = agent.handle.member().await.unwrap();
    assert_eq!(member.asid, Asid(7));
    let first = peer.beat().await;
    let update = first.update_info.clone().unwrap();
    assert_eq!((update.does_update_schema, update.schema[0].name.as_str()), (true, "http_events"));
    assert_eq!(update.data.unwrap().collectors.unwrap().states[0].reason, "no BTF");
    assert_eq!(peer.beat().await, first, "what is not acknowledged is said again, unchanged");
    peer.acknowledge(&first).await;
    let second = peer.beat().await;
    assert_eq!((second.sequence_number, second.update_info.clone().unwrap().does_update_schema), (first.sequence_number + 1, false));
    let cluster = Arc::clone(&agent.handle.cluster().borrow());
    assert_eq!((cluster.kelvins[0].address.as_str(), cluster.service_cidr.as_str()), ("k:1", "10.96.0.0/12"));
    peer.acknowledge(&second).await;
    agent.handle.set_tables(vec![table("http_events"), table("calls")]);
    assert_eq!(peer.beat().await.update_info.unwrap().schema.len(), 2);
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn it_comes_back_by_itself_when_bus_and_metadata_were_gone() {
    let hub = Hub::new();
    let mut peer = Peer::new(hub.connect("metadata").unwrap()).await;
    let agent = Agent::start(hub.connect("pem").unwrap());
    let before = peer.take(7).await;
    let beat = peer.beat().await;
    peer.acknowledge(&beat).await;
    hub.stop();
    tokio::time::sleep(Duration::from_secs(90)).await;
    hub.start();
    let beat = peer.beat().await;
    let nack = HeartbeatNack { reregister: true, incarnation: beat.incarnation, ..Default::default() };
    peer.say(beat.agent_id.unwrap(), Msg::HeartbeatNack(nack)).await;
    let again = peer.take(7).await;
    assert_eq!((again.asid, again.info), (7, before.info), "its id and its number are kept");
    let everything = peer.beat().await;
    assert!(everything.sequence_number > beat.sequence_number);
    assert!(everything.update_info.unwrap().does_update_schema);
    assert_eq!(agent.handle.counts().life.joined, 2);
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_registration_is_said_again_with_growing_pauses() {
    let hub = Hub::new();
    let mut peer = Peer::new(hub.connect("metadata").unwrap()).await;
    let mut lost = 0;
    hub.set_fates(move |_| {
        lost += 1;
        if lost <= 5 { Fate::Lose } else { Fate::Deliver }
    });
    let began = tokio::time::Instant::now();
    let agent = Agent::start(hub.connect("pem").unwrap());
    peer.take(7).await;
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(8) && waited < Duration::from_secs(32), "{waited:?}");
    agent.handle.member().await.unwrap();
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_process_at_its_place_ends_it() {
    let hub = Hub::new();
    let mut peer = Peer::new(hub.connect("metadata").unwrap()).await;
    let agent = Agent::start(hub.connect("pem").unwrap());
    peer.take(7).await;
    let beat = peer.beat().await;
    let kind = AgentRefusal::Superseded.into();
    let nack = HeartbeatNack { reason: "a newer one".to_owned(), refusal_kind: kind, incarnation: beat.incarnation, ..Default::default() };
    peer.say(beat.agent_id.unwrap(), Msg::HeartbeatNack(nack)).await;
    let error = agent.running.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the metadata service says that this agent must not go on: a newer one");
    assert!(matches!(&*agent.handle.standing().borrow(), Standing::Stopped { .. }));
    assert!(agent.handle.member().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_it_is_handed_on_and_garbage_is_counted() {
    let hub = Hub::new();
    let mut peer = Peer::new(hub.connect("metadata").unwrap()).await;
    let mut agent = Agent::start(hub.connect("pem").unwrap());
    peer.take(7).await;
    let id = peer.beat().await.agent_id.unwrap();
    peer.say(id, Msg::HeartbeatAck(HeartbeatAck { sequence_number: -1, ..Default::default() })).await;
    peer.say(id, Msg::Heartbeat(Heartbeat::default())).await;
    let request = ConfigUpdateRequest { key: "k".to_owned(), value: "v".to_owned(), request_id: None };
    let message = ConfigUpdateMessage { msg: Some(config_update_message::Msg::ConfigUpdateRequest(request)) };
    peer.say(id, Msg::ConfigUpdateMessage(message.clone())).await;
    assert_eq!(agent.requests.next().await, Some(Request::Config(message)));
    assert_eq!(agent.handle.counts().malformed, 2);
    agent.end().await;
}

#[tokio::test]
async fn over_a_real_server_that_is_gone_for_a_while_it_is_the_same() {
    if !NatsServer::is_available() {
        return;
    }
    let mut server = NatsServer::start(&Setup::default()).unwrap();
    let connect = |name: &str| Nats::new(server.url(), name).connect();
    let (theirs, ours) = (connect("metadata").await.unwrap(), connect("pem").await.unwrap());
    theirs.connected(NEVER).await.unwrap();
    let mut peer = Peer::new(theirs).await;
    let agent = Agent::start(ours);
    peer.take(7).await;
    let first = peer.beat().await;
    server.stop().unwrap();
    server.start_again().unwrap();
    peer.bus.connected(NEVER).await.unwrap();
    let again = peer.beat().await;
    assert_eq!(again, first, "it waits for its answer");
    peer.acknowledge(&again).await;
    let mut next = peer.beat().await;
    // What was said before the answer came may still be on its way.
    while next.sequence_number == first.sequence_number {
        peer.acknowledge(&next).await;
        next = peer.beat().await;
    }
    assert_eq!(next.sequence_number, first.sequence_number + 1);
    agent.end().await;
}
