//! Calls that come by the bus, over the bus in memory, whose laws are those of NATS.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail where it stands")]

mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answered;
use api::cvmsgspb::{C2vMessage, C2vapiStreamCancel, C2vapiStreamRequest, V2cMessage, V2capiStreamResponse};
use api::vizierpb::{DebugPodsRequest, HealthCheckRequest};
use auth::SigningKey;
use bus::subject::Topic;
use bus::{Bus, Hub, Subscription, subject};
use futures::stream::{self, StreamExt as _};
use ids::ClusterId;
use prost::Message as _;
use query_broker::{Access, Broker, BrokerArgs, QueryEvent};
use support::{Alive, Answer, MemoryEngine, kind, numbers, output, request, rows, texts};
use tables::DataType;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const NEVER: Duration = Duration::from_mins(1);
const KEY: &str = "0123456789abcdef0123456789abcdef";
const VIZIER: &str = "01234567-89ab-4cde-8f01-23456789abcd";

/// A broker on a bus, and the bus as the cloud connector has it.
struct World {
    broker: Broker,
    connector: Bus,
    _hub: Hub,
}

async fn world(engine: MemoryEngine) -> World {
    let hub = Hub::new();
    let identity = query_broker::ClusterIdentity {
        id: VIZIER.parse().unwrap(),
        name: String::new(),
        vizier_version: String::new(),
        cluster_version: String::new(),
    };
    let args = BrokerArgs { access: Access::checked(SigningKey::new(KEY), None), ..BrokerArgs::default() };
    let broker = Broker::with(args, (Arc::new(engine), identity), CancellationToken::new(), TaskTracker::new());
    broker.connect(hub.connect("query-broker").unwrap());
    // Until it listens: what was sent before is not heard.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    World { broker, connector: hub.connect("cloud-connector").unwrap(), _hub: hub }
}

fn token() -> String {
    SigningKey::new(KEY).cluster_token(ClusterId::from_halves(1, 2), SystemTime::now())
}

fn packed(request: &C2vapiStreamRequest) -> C2vMessage {
    let msg =
        prost_types::Any { type_url: "type.googleapis.com/px.cvmsgspb.C2VAPIStreamRequest".to_owned(), value: request.encode_to_vec() };
    C2vMessage { vizier_id: VIZIER.to_owned(), msg: Some(msg) }
}

impl World {
    async fn say(&self, message: &C2vMessage) {
        let to = subject::c2v(Topic::new("VizierPassthroughRequest").unwrap());
        self.connector.publish(&to, message).await.unwrap();
    }

    async fn call(&self, id: &str, window: u32, ask: Ask) -> Subscription<V2cMessage> {
        let answers = self.connector.subscribe(subject::v2c(Topic::new(&format!("reply-{id}")).unwrap())).await.unwrap();
        let request = C2vapiStreamRequest { request_id: id.to_owned(), token: token(), window, msg: Some(ask), ..Default::default() };
        self.say(&packed(&request)).await;
        answers
    }

    async fn cancel(&self, id: &str) {
        let msg = Some(Ask::CancelReq(C2vapiStreamCancel::default()));
        self.say(&packed(&C2vapiStreamRequest { request_id: id.to_owned(), msg, ..Default::default() })).await;
    }
}

async fn next(answers: &mut Subscription<V2cMessage>) -> V2capiStreamResponse {
    let received = tokio::time::timeout(NEVER, answers.next()).await.expect("no answer").unwrap();
    assert_eq!(received.message.vizier_id, VIZIER);
    let any = received.message.msg.unwrap();
    assert_eq!(any.type_url, "type.googleapis.com/px.cvmsgspb.V2CAPIStreamResponse");
    V2capiStreamResponse::decode(any.value.as_slice()).unwrap()
}

/// What each answer is, to the last, and that they are numbered.
async fn all(answers: &mut Subscription<V2cMessage>) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let answer = next(answers).await;
        assert_eq!(answer.sequence, told.len() as u64 + 1);
        match answer.msg.unwrap() {
            Answered::ExecResp(message) => told.push(kind(&message)),
            Answered::HcResp(message) => told.push(format!("health {}", message.status.unwrap().code)),
            Answered::Status(status) => {
                told.push(format!("end {} {}", status.code, status.message).trim_end().to_owned());
                return told;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn one_row() -> MemoryEngine {
    let answer = Answer::of(vec![output("a", &[("x", DataType::Int64)])], || vec![Ok(rows(0, vec![numbers(&[42])]))]);
    MemoryEngine::new().with("one", Ok(answer))
}

fn endless(alive: &Arc<AtomicUsize>) -> MemoryEngine {
    let alive = Arc::clone(alive);
    let events = move || {
        let alive = Alive::new(&alive);
        stream::repeat_with(move || {
            let _held = &alive;
            Ok(rows(0, vec![numbers(&[1])]))
        })
        .boxed()
    };
    let answer = Answer { outputs: vec![output("a", &[("x", DataType::Int64)])], explains: false, events: Arc::new(events) };
    MemoryEngine::new().with("endless", Ok(answer))
}

#[tokio::test]
async fn a_call_is_answered_in_order_and_its_end_comes_last() {
    let world = world(one_row()).await;
    let mut answers = world.call("r1", 0, Ask::ExecReq(request("one"))).await;
    assert_eq!(all(&mut answers).await, ["table a", "1 rows", "0 rows, end", "statistics", "end 0"]);
    let mut answers = world.call("r2", 0, Ask::ExecReq(request("unknown"))).await;
    let told = all(&mut answers).await;
    assert!(told[1].starts_with("end 3 1:1: no answer to"), "{told:?}");
}

#[tokio::test]
async fn a_call_without_a_valid_token_is_refused() {
    let world = world(one_row()).await;
    let mut answers = world.connector.subscribe(subject::v2c(Topic::new("reply-r").unwrap())).await.unwrap();
    let forged = SigningKey::new("another key, of thirty-two bytes").cluster_token(ClusterId::from_halves(1, 2), SystemTime::now());
    for token in ["", "x.y.z", "not\nascii é", &forged] {
        let request = C2vapiStreamRequest {
            request_id: "r".to_owned(),
            token: token.to_owned(),
            msg: Some(Ask::ExecReq(request("one"))),
            ..Default::default()
        };
        world.say(&packed(&request)).await;
        assert_eq!(all(&mut answers).await, [format!("end 16 {}", auth::UNAUTHENTICATED)]);
    }
    assert_eq!(world.broker.counters().snapshot().queries_started, 0);
}

#[tokio::test]
async fn what_is_no_call_is_counted_and_dropped() {
    let world = world(one_row()).await;
    let good = C2vapiStreamRequest { request_id: "r".to_owned(), token: token(), ..Default::default() };
    let any = |type_url: &str, value: &[u8]| prost_types::Any { type_url: type_url.to_owned(), value: value.to_vec() };
    let wrong = [
        None,
        Some(any("type.googleapis.com/px.cvmsgspb.VizierHeartbeat", &[])),
        Some(any("type.googleapis.com/px.cvmsgspb.C2VAPIStreamRequest", &[255, 255, 255])),
        packed(&C2vapiStreamRequest { request_id: String::new(), ..good.clone() }).msg,
        packed(&C2vapiStreamRequest { request_id: "a b".to_owned(), msg: Some(Ask::ExecReq(request("one"))), ..good.clone() }).msg,
    ];
    let count = wrong.len() as u64;
    for msg in wrong {
        world.say(&C2vMessage { vizier_id: VIZIER.to_owned(), msg }).await;
    }
    // About calls that do not run: no harm.
    world.cancel("nobody").await;
    world.say(&packed(&C2vapiStreamRequest { acknowledged: 7, ..good })).await;
    let mut answers = world.call("r", 0, Ask::ExecReq(request("one"))).await;
    assert_eq!(all(&mut answers).await.len(), 5);
    assert_eq!(world.broker.counters().snapshot().passthrough_malformed, count);
}

#[tokio::test]
async fn a_cancelled_call_ends_its_query_at_once() {
    let alive = Arc::default();
    let world = world(endless(&alive)).await;
    let mut answers = world.call("r", 8, Ask::ExecReq(request("endless"))).await;
    next(&mut answers).await;
    world.cancel("r").await;
    let status = loop {
        if let Some(Answered::Status(status)) = next(&mut answers).await.msg {
            break status;
        }
    };
    assert_eq!((status.code, status.message.as_str()), (1, "the client is gone"));
    while world.broker.queries_running() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(alive.load(std::sync::atomic::Ordering::SeqCst), 0);
}

async fn quiet(answers: &mut Subscription<V2cMessage>) -> bool {
    tokio::time::timeout(Duration::from_millis(50), answers.next()).await.is_err()
}

#[tokio::test]
async fn no_more_answers_are_under_way_than_the_window_allows() {
    let alive = Arc::default();
    let world = world(endless(&alive)).await;
    let mut answers = world.call("r", 5, Ask::ExecReq(request("endless"))).await;
    for sequence in 1..=5 {
        assert_eq!(next(&mut answers).await.sequence, sequence);
    }
    assert!(quiet(&mut answers).await);
    // The later one first, and one of them twice.
    for acknowledged in [3, 2, 3] {
        world.say(&packed(&C2vapiStreamRequest { request_id: "r".to_owned(), acknowledged, ..Default::default() })).await;
    }
    for sequence in 6..=8 {
        assert_eq!(next(&mut answers).await.sequence, sequence);
    }
    assert!(quiet(&mut answers).await);
}

#[tokio::test]
async fn a_row_that_the_bus_does_not_carry_ends_the_call_with_what_to_do() {
    let answer = Answer::of(vec![output("a", &[("text", DataType::String)])], || {
        let big = "x".repeat(2_000_000);
        vec![Ok::<QueryEvent, _>(rows(0, vec![texts(&[&big])]))]
    });
    let world = world(MemoryEngine::new().with("big", Ok(answer))).await;
    let mut answers = world.call("r", 0, Ask::ExecReq(request("big"))).await;
    let told = all(&mut answers).await;
    assert!(told[1].starts_with("end 13 Large data batch rejected by passthrough proxy limits"), "{told:?}");
    assert!(told[1].ends_with("add a head() to the script"));
}

#[tokio::test]
async fn health_is_told_until_it_is_cancelled_and_pods_are_nobodys_here() {
    let world = world(one_row()).await;
    let mut answers = world.call("h", 0, Ask::HcReq(HealthCheckRequest::default())).await;
    assert!(matches!(next(&mut answers).await.msg, Some(Answered::HcResp(_))));
    world.cancel("h").await;
    let Some(Answered::Status(status)) = next(&mut answers).await.msg else { panic!() };
    assert_eq!(status.code, 1);
    let mut answers = world.call("d", 0, Ask::DebugPodsReq(DebugPodsRequest::default())).await;
    let told = all(&mut answers).await;
    assert!(told[0].starts_with("end 9 this Vizier does not know of pods: no cloud connector runs in Kubernetes here"), "{told:?}");
}
