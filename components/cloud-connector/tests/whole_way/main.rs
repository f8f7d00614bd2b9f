//! Calls from a client through the real control plane, the connector and a nats-server to a real broker, while parts of that way are lost.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod engine;
mod world;

use std::time::Duration;

use api::vizierpb::vizier_debug_service_client::VizierDebugServiceClient;
use api::vizierpb::{DebugLogRequest, DebugPodsRequest};
use tokio::time::Instant;
use tonic::{Code, Request};
use world::{SOON, World};

/// What a control plane waits before it says something again, twice, and what this machine may be busy with.
const AT_ONCE: Duration = Duration::from_secs(15);

fn count(rows: i64) -> Vec<i64> {
    (0..rows).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_on_when_the_bus_is_restarted_under_it_and_no_row_comes_twice_or_not_at_all() {
    let Some(mut world) = World::new().await else { return };
    // Before it compiles, between two rows, and with the window full of rows that nobody has read.
    for (before, read) in [(0, 0), (5, 5), (5, 2), (40, 3)] {
        let script = world.script(60);
        world.gate.send_replace(before);
        let mut answers = world.execute(&script).await.unwrap();
        world.engine.began(&script).await;
        assert_eq!(answers.rows(read).await.unwrap(), count(read as i64));
        world.nats.stop().unwrap();
        // Rows that are made while there is no bus.
        world.gate.send_replace(before + 5);
        world.nats.start_again().unwrap();
        world.gate.send_replace(60);
        assert_eq!(answers.all().await.unwrap(), count(60), "{before} rows made, {read} read");
        assert_eq!(world.engine.runs(&script), 1);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_the_broker_did_not_hear_is_said_again_and_runs_once() {
    let Some(mut world) = World::new().await else { return };
    world.gate.send_replace(7);
    // A broker that starts, and is not on the bus yet.
    world.crash_broker().await;
    world.start_broker().await;
    let script = world.script(7);
    let mut answers = world.execute(&script).await.unwrap();
    let lost = world.bus.lost_call(&script).await;
    world.connect_broker();
    assert_eq!(answers.all().await.unwrap(), count(7));
    assert_eq!(world.engine.runs(&script), 1, "call {lost}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_restarted_runs_a_call_of_which_nothing_came_and_ends_one_of_which_rows_came() {
    let Some(mut world) = World::new().await else { return };
    let (nothing, some) = (world.script(3), world.script(4));
    world.gate.send_replace(0);
    let mut unanswered = world.execute(&nothing).await.unwrap();
    world.engine.began(&nothing).await;
    world.crash_broker().await;
    world.start_broker().await;
    world.connect_broker();
    world.gate.send_replace(2);
    assert_eq!(unanswered.rows(2).await.unwrap(), count(2));
    let mut answered = world.execute(&some).await.unwrap();
    assert_eq!(answered.rows(2).await.unwrap(), count(2));
    world.crash_broker().await;
    world.start_broker().await;
    world.connect_broker();
    world.gate.send_replace(10);
    let began = Instant::now();
    for (answers, what) in [(&mut unanswered, "the first"), (&mut answered, "the second")] {
        let status = answers.all().await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{what}: {status:?}");
        assert!(status.message().contains("does not know this call any more"), "{what}: {status:?}");
    }
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_kubernetes_pods_are_nobodys_by_the_control_plane_and_by_the_broker() {
    let Some(world) = World::new().await else { return };
    let pods = world.with_key(DebugPodsRequest { cluster_id: world.cluster.clone() });
    let mut by_cloud = VizierDebugServiceClient::new(world.channel());
    let status = by_cloud.debug_pods(pods).await.unwrap().into_inner().message().await.unwrap_err();
    assert_eq!((status.code(), status.message().starts_with("this Vizier does not run in Kubernetes")), (Code::FailedPrecondition, true));
    let mut by_broker = VizierDebugServiceClient::new(world.broker_channel());
    let asked = by_broker.debug_pods(Request::new(DebugPodsRequest::default())).await.unwrap_err();
    let log = by_broker.debug_log(Request::new(DebugLogRequest { pod_name: "vizier-pem".to_owned(), ..Default::default() })).await;
    for refused in [asked, log.unwrap_err()] {
        assert_eq!((refused.code(), refused.message()), (status.code(), status.message()));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_while_the_bus_is_away_leaves_no_query_behind() {
    let Some(mut world) = World::new().await else { return };
    let script = world.script(10);
    world.gate.send_replace(3);
    let mut answers = world.execute(&script).await.unwrap();
    assert_eq!(answers.rows(3).await.unwrap(), count(3));
    world.nats.stop().unwrap();
    drop(answers);
    world.nats.start_again().unwrap();
    // Its next row is unwanted, and is answered with a cancellation.
    world.gate.send_replace(4);
    tokio::time::timeout(SOON, world.engine.ended(&script)).await.unwrap();
    world.stop().await;
}
