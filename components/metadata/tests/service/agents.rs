use std::time::Duration;

use api::carnot::planner::distributedpb::MetadataInfo;
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{AgentDataInfo, AgentRefusal, AgentUpdateInfo, HeartbeatAck, RegisterAgentRequest, VizierMessage};
use api::vizier::services::metadata::agent_update::Update;
use api::vizier::services::metadata::{AgentInfoRequest, AgentUpdatesRequest, AgentUpdatesResponse, SchemaRequest, WithPrefixKeyRequest};
use api::vizier::services::shared::agent::AgentState;
use bus::{Hub, subject};
use tonic::Streaming;

use super::world::{Peer, World, everything, pem_info};

async fn version(stream: &mut Streaming<AgentUpdatesResponse>) -> AgentUpdatesResponse {
    let mut whole = AgentUpdatesResponse::default();
    loop {
        let part = stream.message().await.unwrap().unwrap();
        whole.agent_updates.extend(part.agent_updates);
        whole.agent_schemas.extend(part.agent_schemas);
        whole.agent_schemas_updated |= part.agent_schemas_updated;
        if part.end_of_version {
            return whole;
        }
    }
}

fn request(per_response: i32) -> AgentUpdatesRequest {
    let max_update_interval = Some(prost_types::Duration { seconds: 5, nanos: 0 });
    AgentUpdatesRequest { max_update_interval, max_updates_per_response: per_response }
}

fn kelvins(ack: &HeartbeatAck) -> Vec<(String, String)> {
    let update = ack.update_info.clone().unwrap();
    update.kelvins.into_iter().map(|kelvin| (kelvin.address, kelvin.tls_server_name)).collect()
}

#[tokio::test(start_paused = true)]
async fn agents_register_are_acknowledged_and_learn_of_all_kelvins() {
    let world = World::new().await;
    let mut pem = world.pem(1).await;
    assert_eq!(kelvins(&pem.join().await), []);
    let (mut one, mut two) = (world.kelvin(2).await, world.kelvin(3).await);
    one.join().await;
    two.join().await;
    assert_eq!((pem.asid, one.asid, two.asid), (1, 2, 3));
    let known = kelvins(&pem.beat(None).await);
    let expected = ["10.0.1.2:51211", "10.0.1.3:51211"].map(|address| (address.to_owned(), "kelvin.pl.svc".to_owned()));
    assert_eq!(known, expected);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_repeated_is_answered_alike() {
    let world = World::new().await;
    let mut pem = world.pem(1).await;
    let first = pem.ask_to_register().await;
    assert_eq!(pem.ask_to_register().await, first);
    pem.beat(Some(everything("http_events"))).await;
    let again = pem.heartbeat(Some(everything("http_events")));
    pem.say(again).await;
    let sequence = pem.hear(|msg| if let Msg::HeartbeatAck(ack) = msg { Some(ack.sequence_number) } else { None }).await;
    assert_eq!(sequence, 1);
    let told = world.agents().get_agent_info(AgentInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(told.info.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_silent_for_a_minute_is_forgotten_and_registers_again() {
    let world = World::new().await;
    let mut pem = world.pem(1).await;
    pem.join().await;
    let mut stream = world.agents().get_agent_updates(request(100)).await.unwrap().into_inner();
    assert_eq!(version(&mut stream).await.agent_updates.len(), 2);
    let state = async || {
        let told = world.agents().get_agent_info(AgentInfoRequest {}).await.unwrap().into_inner();
        told.info.first().map(|agent| agent.status.unwrap().state())
    };
    assert_eq!(state().await, Some(AgentState::Healthy));
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(state().await, Some(AgentState::Unresponsive));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(state().await, None);
    let gone = loop {
        let told = version(&mut stream).await;
        if let Some(update) = told.agent_updates.into_iter().next() {
            break (update.agent_id, update.update, told.agent_schemas_updated, told.agent_schemas.len());
        }
    };
    assert_eq!(gone, (pem.info.agent_id, Some(Update::Deleted(true)), true, 0));
    pem.sequence += 1;
    pem.say(pem.heartbeat(None)).await;
    assert!(pem.hear(|msg| if let Msg::HeartbeatNack(nack) = msg { Some(nack.reregister) } else { None }).await);
    let asid = pem.asid;
    pem.join().await;
    assert_eq!(pem.asid, asid);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_replaced_is_told_to_stop() {
    let world = World::new().await;
    let mut old = world.pem(1).await;
    old.join().await;
    let mut info = pem_info(9);
    info.host_info = old.info.host_info.clone();
    let mut new = Peer::new(world.hub.connect("pem-new").unwrap(), info, 20).await;
    new.join().await;
    assert_eq!((new.asid, new.id()), (old.asid, old.id()), "the place keeps its id and number");
    old.sequence += 1;
    old.say(old.heartbeat(None)).await;
    let nack = old.hear(|msg| if let Msg::HeartbeatNack(nack) = msg { Some(nack.clone()) } else { None }).await;
    assert_eq!((nack.reregister, nack.refusal_kind(), nack.incarnation), (false, AgentRefusal::Superseded, 10));
    let refused = old.ask_to_register().await;
    assert_eq!((refused.refusal_kind(), refused.incarnation), (AgentRefusal::Superseded, 10));
}

#[tokio::test(start_paused = true)]
async fn the_broker_is_told_everything_and_then_every_change() {
    let world = World::new().await;
    let (mut pem, mut kelvin) = (world.pem(1).await, world.kelvin(2).await);
    pem.join().await;
    kelvin.join().await;
    // Two agents with two updates each, one update in each response.
    let mut stream = world.agents().get_agent_updates(request(1)).await.unwrap().into_inner();
    let first = version(&mut stream).await;
    assert_eq!((first.agent_updates.len(), first.agent_schemas_updated), (4, true));
    let Some(Update::Agent(agent)) = &first.agent_updates[2].update else { panic!("{first:?}") };
    let info = agent.info.clone().unwrap();
    assert_eq!((info.query_address.as_str(), info.tls_server_name.as_str(), agent.asid), ("10.0.1.2:51210", "kelvin.pl.svc", 2));
    let Some(Update::DataInfo(data)) = &first.agent_updates[1].update else { panic!("{first:?}") };
    let collector = data.collectors.clone().unwrap().states.remove(0);
    assert_eq!((collector.way.as_str(), collector.remedy.as_str()), ("tracepoints", "a kernel with BTF"));
    let schema = &first.agent_schemas[0];
    assert_eq!((schema.name.as_str(), schema.agent_list.len()), ("http_events", 2));
    assert_eq!(schema.relation.clone().unwrap().columns[0].pattern_type(), api::types::PatternType::MetricCounter);

    // Names changed: no schema is told again.
    let names = MetadataInfo { metadata_fields: vec![1, 2], filter: None };
    let data = AgentDataInfo { metadata_info: Some(names.clone()), collectors: None };
    pem.beat(Some(AgentUpdateInfo { data: Some(data), ..AgentUpdateInfo::default() })).await;
    let second = version(&mut stream).await;
    assert_eq!((second.agent_updates.len(), second.agent_schemas_updated), (2, false));
    let Some(Update::DataInfo(data)) = &second.agent_updates[1].update else { panic!("{second:?}") };
    assert_eq!(data.metadata_info, Some(names));

    pem.beat(Some(everything("probe"))).await;
    let third = version(&mut stream).await;
    let tables: Vec<(&str, usize)> = third.agent_schemas.iter().map(|schema| (schema.name.as_str(), schema.agent_list.len())).collect();
    assert_eq!((third.agent_schemas_updated, tables), (true, vec![("http_events", 1), ("probe", 1)]));

    // Nothing changes: that is said too.
    let quiet = version(&mut stream).await;
    assert_eq!(quiet, AgentUpdatesResponse::default());
    let all = world.agents().get_schemas(SchemaRequest {}).await.unwrap().into_inner();
    assert_eq!(all.schema.unwrap().relation_map.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn agents_and_numbers_survive_a_restart_of_the_service() {
    let world = World::new().await;
    let (mut pem, mut kelvin) = (world.pem(1).await, world.kelvin(2).await);
    pem.join().await;
    kelvin.join().await;
    let world = world.restarted().await;
    assert_eq!(kelvins(&pem.beat(None).await).len(), 1, "nobody has to register again");
    let told = world.agents().get_agent_info(AgentInfoRequest {}).await.unwrap().into_inner();
    let agents: Vec<u32> = told.info.iter().map(|agent| agent.agent.clone().unwrap().asid).collect();
    assert_eq!(agents, [1, 2]);
    let kept = world.agents().get_with_prefix_key(WithPrefixKeyRequest { prefix: "/agent/".to_owned(), ..Default::default() }).await;
    let keys: Vec<String> = kept.unwrap().into_inner().kvs.into_iter().map(|kv| kv.key).collect();
    assert_eq!(keys, [format!("/agent/{}", pem.id()), format!("/agent/{}", kelvin.id())]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_had_not_said_everything_when_the_service_was_restarted_says_it_with_its_next_heartbeat() {
    const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
    let world = World::new().await;
    let (mut pem, mut told) = (world.pem(1).await, world.pem(2).await);
    pem.asid = pem.ask_to_register().await.asid;
    told.join().await;
    let world = world.restarted().await;
    let began = tokio::time::Instant::now();
    let tables = async || {
        let all = world.agents().get_schemas(SchemaRequest {}).await.unwrap().into_inner();
        all.schema.unwrap().relation_map.into_keys().collect::<Vec<String>>()
    };
    told.beat(None).await;
    assert_eq!(tables().await, ["http_events"], "of the one that had said them");
    // It has said everything to the service that is gone, as far as it knows.
    pem.sequence = 7;
    pem.say(pem.heartbeat(None)).await;
    assert!(pem.hear(|msg| if let Msg::HeartbeatNack(nack) = msg { Some(nack.reregister) } else { None }).await);
    pem.ask_to_register().await;
    pem.beat(Some(everything("probe"))).await;
    assert_eq!(tables().await.len(), 2);
    assert!(began.elapsed() < HEARTBEAT_EVERY, "{:?}", began.elapsed());
    // From then on it is known: the next restart asks for nothing.
    let world = world.restarted().await;
    pem.beat(None).await;
    let all = world.agents().get_schemas(SchemaRequest {}).await.unwrap().into_inner();
    assert_eq!(all.schema.unwrap().relation_map.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_counted_and_dropped() {
    let world = World::new().await;
    let mut pem = world.pem(1).await;
    pem.join().await;
    let stranger = world.hub.connect("stranger").unwrap();
    let say = async |msg| stranger.publish(&subject::update_agent(), &VizierMessage { msg }).await.unwrap();
    say(None).await;
    say(Some(Msg::RegisterAgentRequest(RegisterAgentRequest::default()))).await;
    say(Some(Msg::Heartbeat(api::vizier::messages::Heartbeat { sequence_number: -1, ..Default::default() }))).await;
    say(Some(Msg::HeartbeatAck(HeartbeatAck::default()))).await;
    let garbage = bus::Subject::<api::vizier::messages::MetricsMessage>::named("UpdateAgent").unwrap();
    let text = api::vizier::messages::MetricsMessage { prom_metrics_text: "x".repeat(40), pod_name: String::new() };
    stranger.publish(&garbage, &text).await.unwrap();
    pem.beat(None).await;
    world.settle().await;
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register_collector(Box::new(world.service.metrics()));
    let mut told = String::new();
    prometheus_client::encoding::text::encode(&mut told, &registry).unwrap();
    assert!(told.contains("messages_malformed_total 5\n"), "{told}");
    assert!(told.contains("pems 1\n") && told.contains("leader 1\n"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_before_it_is_kept() {
    let store = std::sync::Arc::new(super::leaders::Moody::default());
    let world = World::with_store(store.clone()).await;
    store.refuse(true);
    let mut pem = world.pem(1).await;
    let request = RegisterAgentRequest { info: Some(pem.info.clone()), asid: 0, incarnation: 10 };
    pem.say(Msg::RegisterAgentRequest(request)).await;
    assert!(pem.hears_nothing_for(Duration::from_secs(3)).await);
    store.refuse(false);
    pem.join().await;
    assert_eq!(pem.asid, 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_agents_that_come_at_once_all_have_a_number_of_their_own() {
    let world = World::new().await;
    let hub: &Hub = &world.hub;
    let mut peers = Vec::new();
    for number in 0..1000_u32 {
        let mut info = pem_info(0);
        info.agent_id = Some(api::uuidpb::Uuid { high_bits: 9, low_bits: u64::from(number) });
        info.host_info.as_mut().unwrap().host_ip = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
        peers.push(Peer::new(hub.connect(&format!("pem-{number}")).unwrap(), info, 1).await);
    }
    for peer in &peers {
        let request = RegisterAgentRequest { info: Some(peer.info.clone()), asid: 0, incarnation: 1 };
        peer.say(Msg::RegisterAgentRequest(request)).await;
    }
    let mut asids = std::collections::BTreeSet::new();
    for peer in &mut peers {
        asids.insert(peer.hear(|msg| if let Msg::RegisterAgentResponse(response) = msg { Some(response.asid) } else { None }).await);
    }
    assert_eq!((asids.len(), asids.first().copied()), (1000, Some(1)));
}
