//! Registration, heartbeats, and who is refused.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use api::cloudapi::ClusterStatus;
use api::cvmsgspb::VizierStatus;
use support::{Plane, Vizier, cluster_id, register};
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_registered_connected_and_as_its_heartbeats_say() {
    let plane = Plane::start(false).await;
    let (deploy, api) = (plane.key("deploy", "default"), plane.key("api", "default"));
    let registered = register(&plane, &deploy, "uid-1", "prod").await.unwrap();
    assert_eq!(registered.vizier_name, "prod");
    let id = registered.vizier_id.unwrap();
    assert_eq!(plane.clusters(&api).await.unwrap()[0].last_heartbeat_ns, -1);
    let mut vizier = Vizier::open(&plane, &deploy, id, "uid-1", 1).await.unwrap();
    plane.cluster_is(&api, ClusterStatus::CsConnected).await;
    vizier.beat(VizierStatus::VzStUnhealthy, "no agents").await;
    let seen = plane.cluster_is(&api, ClusterStatus::CsUnhealthy).await;
    assert_eq!((seen.status_message.as_str(), seen.num_nodes, seen.num_instrumented_nodes), ("no agents", 3, 2));
    assert_eq!((seen.previous_status, seen.vizier_version.as_str()), (ClusterStatus::CsConnected as i32, "0.1.0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_registered_survives_a_restart_and_so_do_keys() {
    let mut plane = Plane::start(false).await;
    let (deploy, api) = (plane.key("deploy", "default"), plane.key("api", "default"));
    let vizier = Vizier::healthy(&plane, &deploy, &api).await;
    plane.restart().await;
    let seen = plane.cluster_is(&api, ClusterStatus::CsHealthy).await;
    assert_eq!(seen.id, Some(vizier.id));
    let mut again = Vizier::open(&plane, &deploy, vizier.id, "uid-1", 1).await.unwrap();
    again.beat(VizierStatus::VzStDegraded, "one agent is missing").await;
    plane.cluster_is(&api, ClusterStatus::CsDegraded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_cluster_with_the_uid_of_an_active_one_is_refused_and_only_its_owner_is_told_why() {
    let plane = Plane::start(false).await;
    plane.command(&["org", "create", "other"]).unwrap();
    let (deploy, api) = (plane.key("deploy", "default"), plane.key("api", "default"));
    // One that has not come yet may have lost the answer.
    let first = register(&plane, &deploy, "uid-1", "one").await.unwrap();
    assert_eq!(register(&plane, &deploy, "uid-1", "one").await.unwrap(), first);
    let _vizier = Vizier::healthy(&plane, &deploy, &api).await;
    let refused = register(&plane, &deploy, "uid-1", "one").await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert!(refused.message().contains("still active"));
    // To another organisation that cluster does not exist: it gets one of its own.
    let other = register(&plane, &plane.key("deploy", "other"), "uid-1", "one").await.unwrap();
    assert_ne!(other.vizier_id, first.vizier_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_key_of_another_organisation_opens_no_bridge_and_learns_nothing() {
    let plane = Plane::start(false).await;
    plane.command(&["org", "create", "other"]).unwrap();
    let id = register(&plane, &plane.key("deploy", "default"), "uid-1", "one").await.unwrap().vizier_id.unwrap();
    let stranger = plane.key("deploy", "other");
    let of_other = Vizier::open(&plane, &stranger, id, "uid-1", 1).await.err().unwrap();
    let of_nobody = Vizier::open(&plane, &stranger, api::uuidpb::Uuid { high_bits: 1, low_bits: 2 }, "uid-1", 1).await.err().unwrap();
    assert_eq!((of_other.code(), of_other.message()), (of_nobody.code(), of_nobody.message()));
    assert_eq!(of_other.code(), Code::NotFound);
    assert!(plane.clusters(&plane.key("api", "other")).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_valid_deploy_key_nothing_is_registered() {
    let plane = Plane::start(false).await;
    let api = plane.key("api", "default");
    for key in ["px-dep-00000000-0000-4000-8000-000000000000", "", api.as_str()] {
        let refused = register(&plane, key, "uid-1", "one").await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, "the deploy key is not valid"), "{key}");
    }
    let deleted = plane.key("deploy", "default");
    let listed = plane.command(&["key", "list", "--kind", "deploy"]).unwrap();
    let id = listed.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    plane.command(&["key", "delete", &id]).unwrap();
    assert_eq!(register(&plane, &deleted, "uid-1", "one").await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(plane.command(&["key", "delete", &id]).unwrap_err(), format!("error: there is no key {id}\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_told_apart_within_an_organisation() {
    let plane = Plane::start(false).await;
    let deploy = plane.key("deploy", "default");
    let first = register(&plane, &deploy, "uid-1", "prod").await.unwrap();
    let second = register(&plane, &deploy, "uid-2", "prod").await.unwrap();
    let unnamed = register(&plane, &deploy, "uid-3", "").await.unwrap();
    assert_eq!(first.vizier_name, "prod");
    assert!(second.vizier_name.starts_with("prod_") && second.vizier_name.len() == 13, "{}", second.vizier_name);
    assert!(unnamed.vizier_name.contains('_'));
    // It comes back under the name that it was given.
    assert_eq!(register(&plane, &deploy, "uid-2", "prod").await.unwrap().vizier_name, second.vizier_name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_bridge_of_a_vizier_takes_the_place_of_the_older_one_and_an_older_one_is_refused() {
    let plane = Plane::start(false).await;
    let deploy = plane.key("deploy", "default");
    let id = register(&plane, &deploy, "uid-1", "one").await.unwrap().vizier_id.unwrap();
    let mut older = Vizier::open(&plane, &deploy, id, "uid-1", 5).await.unwrap();
    let mut newer = Vizier::open(&plane, &deploy, id, "uid-1", 6).await.unwrap();
    assert_eq!(older.incoming.message().await.unwrap_err().code(), Code::Aborted);
    let stale = Vizier::open(&plane, &deploy, id, "uid-1", 4).await.err().unwrap();
    assert_eq!(stale.code(), Code::Aborted);
    newer.beat(VizierStatus::VzStHealthy, "").await;
    plane.cluster_is(&plane.key("api", "default"), ClusterStatus::CsHealthy).await;
    assert_eq!(cluster_id(newer.id), cluster_id(id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_that_names_another_cluster_says_how_its_sender_is() {
    let plane = Plane::start(false).await;
    plane.command(&["org", "create", "other"]).unwrap();
    let (deploy, api) = (plane.key("deploy", "default"), plane.key("api", "default"));
    let vizier = Vizier::healthy(&plane, &deploy, &api).await;
    let strangers = plane.key("deploy", "other");
    let id = register(&plane, &strangers, "uid-9", "nine").await.unwrap().vizier_id.unwrap();
    let mut stranger = Vizier::open(&plane, &strangers, id, "uid-9", 1).await.unwrap();
    stranger.id = vizier.id;
    stranger.beat(VizierStatus::VzStUnhealthy, "taken over").await;
    plane.cluster_is(&plane.key("api", "other"), ClusterStatus::CsUnhealthy).await;
    let seen = plane.cluster_is(&api, ClusterStatus::CsHealthy).await;
    assert_eq!(seen.status_message, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_a_bridge_is_dropped_and_the_bridge_goes_on() {
    let plane = Plane::start(false).await;
    let (deploy, api) = (plane.key("deploy", "default"), plane.key("api", "default"));
    let mut vizier = Vizier::healthy(&plane, &deploy, &api).await;
    let garbage = prost_types::Any { type_url: "type.googleapis.com/px.cvmsgspb.VizierHeartbeat".to_owned(), value: vec![0xff; 40] };
    for topic in ["heartbeat", "reply-x", "CronScriptsUpdatesResponse:y", "no such topic", ""] {
        vizier.say(topic, garbage.clone()).await;
    }
    vizier.beat(VizierStatus::VzStDegraded, "").await;
    plane.cluster_is(&api, ClusterStatus::CsDegraded).await;
}
