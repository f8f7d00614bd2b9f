//! The connector and its control plane: registration, heartbeats, restarts of either.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use api::cvmsgspb::VizierStatus;
use api::uuidpb::Uuid;
use api::vizierpb::Status as WireStatus;
use support::{SIGNING_KEY, Stage};

const FIRST: Option<Uuid> = Some(Uuid { high_bits: 7, low_bits: 1 });

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_registers_says_who_it_is_and_how_the_vizier_is() {
    let Some(mut stage) = Stage::new().await else { return };
    stage.start();
    let mut bridge = stage.bridge().await;
    assert_eq!((bridge.registered.vizier_id, bridge.registered.jwt_key.as_str()), (FIRST, SIGNING_KEY));
    let info = bridge.registered.cluster_info.clone().unwrap();
    assert_eq!((info.cluster_uid.as_str(), info.cluster_name.as_str()), ("uid-1", "one"));
    let beat = bridge.beat(|beat| beat.status == VizierStatus::VzStHealthy as i32 && beat.num_nodes > 0).await;
    assert_eq!((beat.vizier_id, beat.num_nodes, beat.num_instrumented_nodes), (FIRST, 2, 1));
    stage.health.send_replace(WireStatus { code: 14, message: "no agents".to_owned(), ..Default::default() });
    let beat = bridge.beat(|beat| beat.status == VizierStatus::VzStUnhealthy as i32).await;
    assert_eq!(beat.status_message, "no agents");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_survives_restarts_of_the_control_plane_and_of_the_connector() {
    let Some(mut stage) = Stage::new().await else { return };
    stage.start();
    let first = stage.bridge().await;
    assert_eq!(first.registered.vizier_id, FIRST);
    stage.stop_plane().await;
    drop(first);
    stage.start_plane().await;
    let mut second = stage.bridge().await;
    assert_eq!(second.registered.vizier_id, FIRST);
    second.beat(|_| true).await;
    stage.stop().await;
    stage.start();
    let third = stage.bridge().await;
    assert_eq!((third.registered.vizier_id, third.session > second.session), (FIRST, true));
    assert_eq!(*stage.registrations.borrow(), 1);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_for_a_control_plane_that_is_not_there_yet_or_does_not_take_its_key_yet() {
    let Some(mut stage) = Stage::new().await else { return };
    stage.stop_plane().await;
    stage.start();
    stage.rules.lock().refuses_key = true;
    stage.start_plane().await;
    stage.rules.lock().refuses_key = false;
    assert_eq!(stage.bridge().await.registered.vizier_id, FIRST);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_that_does_not_know_it_for_a_while_costs_it_no_identity() {
    let Some(mut stage) = Stage::new().await else { return };
    stage.rules.lock().knows_nobody = true;
    stage.start();
    let kept = stage.state.path().join("state/cluster");
    let waiting = async {
        while !kept.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::SOON, waiting).await.unwrap();
    stage.rules.lock().knows_nobody = false;
    assert_eq!(stage.bridge().await.registered.vizier_id, FIRST);
    assert_eq!(*stage.registrations.borrow(), 1);
    stage.stop().await;
}
