use std::sync::Arc;
use std::time::{Duration, SystemTime};

use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answered;
use api::cvmsgspb::{C2vMessage, C2vapiStreamRequest, V2cMessage};
use api::vizierpb::{DebugPodsRequest, GenerateOTelScriptRequest, HealthCheckRequest};
use auth::{SigningKey, User};
use bus::subject::Topic;
use bus::{Subscription, subject};
use ids::ClusterId;
use query_broker::QueryEvent;
use tables::DataType;

use crate::support::{Answer, MemoryEngine, output, request, rows, texts};
use crate::world::{KEY, VIZIER, all, endless, next, one_row, packed, token, world};

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
async fn a_script_with_exports_is_made_for_who_asks() {
    let world = world(one_row()).await;
    let ask = GenerateOTelScriptRequest { pxl_script: "one".to_owned(), ..GenerateOTelScriptRequest::default() };
    let mut answers = world.call("r", 0, Ask::GenerateOtelScriptReq(ask)).await;
    assert_eq!(all(&mut answers).await, ["script one, and export", "end 0"]);
}

#[tokio::test]
async fn a_call_without_a_valid_token_is_refused() {
    let world = world(one_row()).await;
    let mut answers = world.connector.subscribe(subject::v2c(Topic::new("reply-r").unwrap())).await.unwrap();
    let forged = SigningKey::new("another key, of thirty-two bytes").cluster_token(ClusterId::from_halves(1, 2), SystemTime::now());
    let (key, hour, now) = (SigningKey::new(KEY), Duration::from_hours(1), SystemTime::now());
    let expired = key.cluster_token(ClusterId::from_halves(1, 2), now - 2 * hour);
    let of_a_client = key.user_token(&User { id: "u".to_owned(), org: "o".to_owned(), email: String::new(), is_api_user: true }, hour, now);
    // A part of this Vizier may call; whoever overheard it may not.
    let replayed = key.service_token("cloud_conn", now);
    let mut first = world.call_as("first", &replayed, Ask::ExecReq(request("one"))).await;
    assert_eq!(all(&mut first).await.len(), 5);
    for token in ["", "x.y.z", "not\nascii é", &forged, &expired, &of_a_client, &replayed] {
        let request = C2vapiStreamRequest {
            request_id: "r".to_owned(),
            token: token.to_owned(),
            msg: Some(Ask::ExecReq(request("one"))),
            ..Default::default()
        };
        world.say(&packed(&request)).await;
        assert_eq!(all(&mut answers).await, [format!("end 16 {}", auth::UNAUTHENTICATED)]);
    }
    assert_eq!(world.broker.counters().snapshot().queries_started, 1);
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
