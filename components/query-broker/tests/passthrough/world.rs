//! A broker on a bus in memory, and what a connector says and hears there.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use crate::support::{Alive, Answer, MemoryEngine, kind, numbers, output, rows};
use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answered;
use api::cvmsgspb::{C2vMessage, C2vapiStreamCancel, C2vapiStreamRequest, V2cMessage, V2capiStreamResponse};
use auth::SigningKey;
use bus::subject::Topic;
use bus::{Bus, Hub, Subscription, subject};
use futures::stream::{self, StreamExt as _};
use ids::ClusterId;
use prost::Message as _;
use query_broker::{Access, Broker, BrokerArgs};
use tables::DataType;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const NEVER: Duration = Duration::from_mins(1);
pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const VIZIER: &str = "01234567-89ab-4cde-8f01-23456789abcd";

/// A broker on a bus, and the bus as the cloud connector has it.
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) connector: Bus,
    pub(crate) hub: Hub,
}

pub(crate) async fn world(engine: MemoryEngine) -> World {
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
    World { broker, connector: hub.connect("cloud-connector").unwrap(), hub }
}

pub(crate) fn token() -> String {
    SigningKey::new(KEY).cluster_token(ClusterId::from_halves(1, 2), SystemTime::now())
}

pub(crate) fn packed(request: &C2vapiStreamRequest) -> C2vMessage {
    let msg =
        prost_types::Any { type_url: "type.googleapis.com/px.cvmsgspb.C2VAPIStreamRequest".to_owned(), value: request.encode_to_vec() };
    C2vMessage { vizier_id: VIZIER.to_owned(), msg: Some(msg) }
}

impl World {
    pub(crate) async fn say(&self, message: &C2vMessage) {
        let to = subject::c2v(Topic::new("VizierPassthroughRequest").unwrap());
        self.connector.publish(&to, message).await.unwrap();
    }

    /// With a token of the caller's own, and no window.
    pub(crate) async fn call_as(&self, id: &str, token: &str, ask: Ask) -> Subscription<V2cMessage> {
        let answers = self.connector.subscribe(subject::v2c(Topic::new(&format!("reply-{id}")).unwrap())).await.unwrap();
        let request = C2vapiStreamRequest { request_id: id.to_owned(), token: token.to_owned(), msg: Some(ask), ..Default::default() };
        self.say(&packed(&request)).await;
        answers
    }

    pub(crate) async fn call(&self, id: &str, window: u32, ask: Ask) -> Subscription<V2cMessage> {
        let answers = self.connector.subscribe(subject::v2c(Topic::new(&format!("reply-{id}")).unwrap())).await.unwrap();
        let request = C2vapiStreamRequest { request_id: id.to_owned(), token: token(), window, msg: Some(ask), ..Default::default() };
        self.say(&packed(&request)).await;
        answers
    }

    pub(crate) async fn cancel(&self, id: &str) {
        let msg = Some(Ask::CancelReq(C2vapiStreamCancel::default()));
        self.say(&packed(&C2vapiStreamRequest { request_id: id.to_owned(), msg, ..Default::default() })).await;
    }
}

pub(crate) async fn next(answers: &mut Subscription<V2cMessage>) -> V2capiStreamResponse {
    let received = tokio::time::timeout(NEVER, answers.next()).await.expect("no answer").unwrap();
    assert_eq!(received.message.vizier_id, VIZIER);
    let any = received.message.msg.unwrap();
    assert_eq!(any.type_url, "type.googleapis.com/px.cvmsgspb.V2CAPIStreamResponse");
    V2capiStreamResponse::decode(any.value.as_slice()).unwrap()
}

/// What each answer is, to the last, and that they are numbered.
pub(crate) async fn all(answers: &mut Subscription<V2cMessage>) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let answer = next(answers).await;
        assert_eq!(answer.sequence, told.len() as u64 + 1);
        match answer.msg.unwrap() {
            Answered::ExecResp(message) => told.push(kind(&message)),
            Answered::GenerateOtelScriptResp(message) => told.push(format!("script {}", message.otel_script)),
            Answered::HcResp(message) => told.push(format!("health {}", message.status.unwrap().code)),
            Answered::Status(status) => {
                told.push(format!("end {} {}", status.code, status.message).trim_end().to_owned());
                return told;
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn one_row() -> MemoryEngine {
    let answer = Answer::of(vec![output("a", &[("x", DataType::Int64)])], || vec![Ok(rows(0, vec![numbers(&[42])]))]);
    MemoryEngine::new().with("one", Ok(answer))
}

pub(crate) fn endless(alive: &Arc<AtomicUsize>) -> MemoryEngine {
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
