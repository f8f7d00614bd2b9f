//! What the connector carries between the control plane and the bus.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answer;
use api::cvmsgspb::{
    C2vMessage, C2vapiStreamCancel, C2vapiStreamRequest, CronScriptUpdate, GetCronScriptsRequest, UpdateOrInstallVizierRequest,
    UpdateOrInstallVizierResponse, V2cMessage, V2capiStreamResponse, VizierHeartbeat,
};
use api::prometheus::WriteRequest;
use api::vizier::messages::MetricsMessage;
use api::vizierpb::{DebugLogRequest, DebugPodsRequest, ExecuteScriptRequest, ExecuteScriptResponse, Status as WireStatus};
use bus::subject::{self, Topic};
use bus::{Bus, Subscription};
use support::{Bridge, SOON, Stage, pack, unpack};

/// The topic of calls.
const CALLS: &str = "VizierPassthroughRequest";

/// The connector and its bus have found each other.
fn on_the_bus(beat: &VizierHeartbeat) -> bool {
    !beat.status_message.contains("not connected to the bus")
}

async fn next(calls: &mut Subscription<C2vMessage>) -> C2vapiStreamRequest {
    let received = tokio::time::timeout(SOON, calls.next()).await.unwrap().unwrap();
    unpack(received.message.msg.as_ref().unwrap())
}

/// What the query broker hears.
async fn calls_of(bus: &Bus) -> Subscription<C2vMessage> {
    bus.subscribe(&subject::c2v(Topic::new(CALLS).unwrap())).await.unwrap()
}

/// A connector on the bus, the bus as the query broker has it, the calls there, and the control plane's end of the bridge.
async fn running(stage: &mut Stage) -> (Bus, Subscription<C2vMessage>, Bridge) {
    let bus = stage.bus().await;
    let calls = calls_of(&bus).await;
    stage.start();
    let mut bridge = stage.bridge().await;
    bridge.beat(on_the_bus).await;
    (bus, calls, bridge)
}

fn call(id: &str) -> prost_types::Any {
    let msg = Some(Ask::ExecReq(ExecuteScriptRequest { query_str: "import px".to_owned(), ..Default::default() }));
    pack("C2VAPIStreamRequest", &C2vapiStreamRequest { request_id: id.to_owned(), token: "token".to_owned(), msg, ..Default::default() })
}

async fn answer(bus: &Bus, id: &str, sequence: u64, msg: Answer) {
    let answer = V2capiStreamResponse { request_id: id.to_owned(), sequence, msg: Some(msg) };
    let message = V2cMessage { msg: Some(pack("V2CAPIStreamResponse", &answer)), ..Default::default() };
    bus.publish(&subject::v2c(Topic::new(&format!("reply-{id}")).unwrap()), &message).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_to_the_broker_and_its_answers_back() {
    let Some(mut stage) = Stage::new().await else { return };
    let (bus, mut calls, mut bridge) = running(&mut stage).await;
    bridge.say(CALLS, call("a")).await;
    let asked = next(&mut calls).await;
    assert_eq!((asked.request_id.as_str(), asked.token.as_str()), ("a", "token"));
    answer(&bus, "a", 1, Answer::ExecResp(ExecuteScriptResponse::default())).await;
    answer(&bus, "a", 2, Answer::Status(WireStatus::default())).await;
    for sequence in 1..=2 {
        let came: V2capiStreamResponse = unpack(bridge.on("reply-a").await.msg.as_ref().unwrap());
        assert_eq!(came.sequence, sequence);
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_end_with_their_bridge_and_answers_that_nobody_asked_for_are_cancelled() {
    let Some(mut stage) = Stage::new().await else { return };
    let (bus, mut calls, bridge) = running(&mut stage).await;
    bridge.say(CALLS, call("a")).await;
    assert!(matches!(next(&mut calls).await.msg, Some(Ask::ExecReq(_))));
    stage.stop_plane().await;
    drop(bridge);
    let cancel = next(&mut calls).await;
    assert!(matches!((cancel.request_id.as_str(), cancel.msg), ("a", Some(Ask::CancelReq(_)))));
    answer(&bus, "stray", 1, Answer::ExecResp(ExecuteScriptResponse::default())).await;
    let cancel = next(&mut calls).await;
    assert!(matches!((cancel.request_id.as_str(), cancel.msg), ("stray", Some(Ask::CancelReq(_)))));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_said_again_after_the_end_of_a_call_pass_until_the_control_plane_has_all() {
    let Some(mut stage) = Stage::new().await else { return };
    let (bus, mut calls, mut bridge) = running(&mut stage).await;
    assert!(bridge.registered.repeats_calls);
    for _ in 0..2 {
        bridge.say(CALLS, call("a")).await;
        assert_eq!(next(&mut calls).await.request_id, "a", "the broker knows that it is the same");
    }
    // The first one was lost.
    for sequence in [2, 1, 2] {
        let msg = if sequence == 2 { Answer::Status(WireStatus::default()) } else { Answer::ExecResp(ExecuteScriptResponse::default()) };
        answer(&bus, "a", sequence, msg).await;
    }
    for sequence in [2, 1, 2] {
        let came: V2capiStreamResponse = unpack(bridge.on("reply-a").await.msg.as_ref().unwrap());
        assert_eq!(came.sequence, sequence);
    }
    let all = C2vapiStreamRequest { request_id: "a".to_owned(), msg: Some(Ask::CancelReq(C2vapiStreamCancel {})), ..Default::default() };
    bridge.say(CALLS, pack("C2VAPIStreamRequest", &all)).await;
    assert!(matches!(next(&mut calls).await.msg, Some(Ask::CancelReq(_))));
    answer(&bus, "a", 1, Answer::ExecResp(ExecuteScriptResponse::default())).await;
    assert!(matches!(next(&mut calls).await.msg, Some(Ask::CancelReq(_))), "nobody waits for it");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_s_questions_about_pods_are_answered_and_others_there_are_refused() {
    let Some(mut stage) = Stage::new().await else { return };
    let bus = stage.bus().await;
    stage.start();
    stage.bridge().await.beat(on_the_bus).await;
    let subject: subject::Subject<C2vapiStreamRequest> = subject::Subject::named("DebugPods").unwrap();
    let pods = Some(Ask::DebugPodsReq(DebugPodsRequest::default()));
    let log = Some(Ask::DebugLogReq(DebugLogRequest { pod_name: "vizier-pem".to_owned(), ..Default::default() }));
    for (msg, code, text) in [
        (pods, 9, "this Vizier does not run in Kubernetes"),
        (log, 9, "this Vizier does not run in Kubernetes"),
        (None, 3, "this is no question"),
    ] {
        let asked = C2vapiStreamRequest { request_id: "q".to_owned(), msg, ..Default::default() };
        let answer: V2capiStreamResponse = bus.request(&subject, &asked, SOON).await.unwrap();
        let Some(Answer::Status(status)) = answer.msg else { panic!("{answer:?}") };
        assert_eq!((status.code, status.message.starts_with(text), answer.request_id.as_str()), (code, true, "q"));
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_said_again_while_the_bus_is_away_is_not_refused_since_it_may_run() {
    let Some(mut stage) = Stage::new().await else { return };
    let (_bus, mut calls, mut bridge) = running(&mut stage).await;
    bridge.say(CALLS, call("runs")).await;
    assert_eq!(next(&mut calls).await.request_id, "runs");
    stage.nats.stop().unwrap();
    bridge.beat(|beat| beat.status_message.contains("not connected to the bus")).await;
    bridge.say(CALLS, call("runs")).await;
    bridge.say(CALLS, call("new")).await;
    // They are taken in order: the one that runs is not refused before the new one is.
    let refused = bridge.first_of(&["reply-runs", "reply-new"]).await;
    assert_eq!(refused.topic, "reply-new");
    stage.nats.start_again().unwrap();
    bridge.beat(on_the_bus).await;
    let bus = stage.bus().await;
    answer(&bus, "runs", 1, Answer::ExecResp(ExecuteScriptResponse::default())).await;
    let came: V2capiStreamResponse = unpack(bridge.on("reply-runs").await.msg.as_ref().unwrap());
    assert_eq!(came.sequence, 1);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_kubernetes_it_says_so_itself() {
    let Some(mut stage) = Stage::new().await else { return };
    stage.start();
    let mut bridge = stage.bridge().await;
    let msg = Some(Ask::DebugPodsReq(DebugPodsRequest::default()));
    let pods = C2vapiStreamRequest { request_id: "p".to_owned(), msg, ..Default::default() };
    bridge.say(CALLS, pack("C2VAPIStreamRequest", &pods)).await;
    let answer: V2capiStreamResponse = unpack(bridge.on("reply-p").await.msg.as_ref().unwrap());
    let Some(Answer::Status(status)) = answer.msg else { panic!("{answer:?}") };
    assert_eq!((status.code, status.message.starts_with("this Vizier does not run in Kubernetes")), (9, true));

    let update = UpdateOrInstallVizierRequest { version: "9.9".to_owned(), ..Default::default() };
    bridge.say("VizierUpdate", pack("UpdateOrInstallVizierRequest", &update)).await;
    let answer: UpdateOrInstallVizierResponse = unpack(bridge.on("VizierUpdateResponse").await.msg.as_ref().unwrap());
    assert!(!answer.update_started);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_topics_pass_both_ways_and_metrics_are_labelled() {
    let Some(mut stage) = Stage::new().await else { return };
    let bus = stage.bus().await;
    let mut updates = bus.subscribe(&subject::c2v(Topic::new("CronScriptsUpdates").unwrap())).await.unwrap();
    stage.start();
    let mut bridge = stage.bridge().await;
    bridge.beat(on_the_bus).await;
    let update = CronScriptUpdate { request_id: "r".to_owned(), ..Default::default() };
    bridge.say("CronScriptsUpdates", pack("CronScriptUpdate", &update)).await;
    let came = tokio::time::timeout(SOON, updates.next()).await.unwrap().unwrap().message;
    assert_eq!(unpack::<CronScriptUpdate>(came.msg.as_ref().unwrap()), update);

    let request = GetCronScriptsRequest { topic: "t".to_owned() };
    let message = V2cMessage { msg: Some(pack("GetCronScriptsRequest", &request)), ..Default::default() };
    bus.publish(&subject::v2c(Topic::new("GetCronScriptsRequest").unwrap()), &message).await.unwrap();
    assert_eq!(unpack::<GetCronScriptsRequest>(bridge.on("GetCronScriptsRequest").await.msg.as_ref().unwrap()), request);

    let metrics = MetricsMessage { prom_metrics_text: "rows 5\n".to_owned(), pod_name: "pem-1".to_owned() };
    bus.publish(&subject::metrics(), &metrics).await.unwrap();
    let written: WriteRequest = unpack(bridge.on("VZMetrics").await.msg.as_ref().unwrap());
    let labels: Vec<String> = written.timeseries[0].labels.iter().map(|label| label.value.clone()).collect();
    assert_eq!(labels[..3], ["rows", "00000000-0000-0007-0000-000000000001", "pem-1"]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_while_the_bus_is_away_is_refused_at_once_and_all_works_again_after_it() {
    let Some(mut stage) = Stage::new().await else { return };
    stage.start();
    let mut bridge = stage.bridge().await;
    bridge.beat(on_the_bus).await;
    stage.nats.stop().unwrap();
    let mut number = 0;
    loop {
        // Until the connector has noticed, a call goes nowhere, or to the bus when that is back.
        number += 1;
        bridge.say(CALLS, call(&format!("n{number}"))).await;
        let beat = bridge.beat(|_| true).await;
        if beat.status_message.contains("not connected to the bus") {
            break;
        }
    }
    bridge.say(CALLS, call("away")).await;
    let answer: V2capiStreamResponse = unpack(bridge.on("reply-away").await.msg.as_ref().unwrap());
    assert!(matches!(answer.msg, Some(Answer::Status(WireStatus { code: 14, .. }))));
    stage.nats.start_again().unwrap();
    let bus = stage.bus().await;
    let mut calls = calls_of(&bus).await;
    bridge.beat(on_the_bus).await;
    bridge.say(CALLS, call("back")).await;
    loop {
        let came = next(&mut calls).await.request_id;
        if came == "back" {
            break;
        }
        let late: u32 = came.strip_prefix('n').unwrap_or_else(|| panic!("{came} was refused")).parse().unwrap();
        assert!(late <= number);
    }
    stage.stop().await;
}
