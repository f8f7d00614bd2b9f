//! `HealthCheck`, `GenerateOTelScript` and `VizierClusterInfo`.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use api::cloudapi::vizier_cluster_info_server::VizierClusterInfo as _;
use api::cloudapi::{ClusterStatus, GetClusterInfoRequest};
use api::uuidpb::Uuid;
use api::vizierpb::vizier_service_server::VizierService as _;
use api::vizierpb::{GenerateOTelScriptRequest, HealthCheckRequest};
use futures::StreamExt as _;
use query_broker::{Broker, ClusterState, CompileFailure, HEALTH_SCRIPT, Problem, SCRIPT_BYTES_MAX, serve};
use rpc::Security;
use support::{MemoryEngine, broker};
use tokio::time::{Duration, Instant};
use tonic::{Code, Request};

async fn served(engine: MemoryEngine) -> Broker {
    let broker = broker(engine);
    let listener = rpc::bind("127.0.0.1:0".parse().unwrap(), &Security::Plaintext).await.unwrap();
    #[allow(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(serve(broker.clone(), listener, Security::Plaintext));
    broker
}

#[tokio::test(start_paused = true)]
async fn health_is_told_at_once_and_then_every_five_seconds() {
    let broker = served(MemoryEngine::new()).await;
    let mut stream = broker.health_check(Request::new(HealthCheckRequest::default())).await.unwrap().into_inner();
    let start = Instant::now();
    let first = stream.next().await.unwrap().unwrap().status.unwrap();
    assert_eq!((first.code, first.message.as_str()), (14, "no healthcheck has run yet"));
    assert!(start.elapsed() < Duration::from_millis(1));
    for n in 1..4 {
        let status = stream.next().await.unwrap().unwrap().status.unwrap();
        assert_eq!((status.code, status.message.as_str()), (0, ""));
        assert_eq!(start.elapsed().as_secs(), 5 * n);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_self_test_is_told_with_its_reason() {
    let problem = Problem { line: 2, column: 1, message: "no functions".to_owned() };
    let broker = served(MemoryEngine::new().with(HEALTH_SCRIPT, Err(CompileFailure::Script(vec![problem])))).await;
    let mut stream = broker.health_check(Request::new(HealthCheckRequest::default())).await.unwrap().into_inner();
    stream.next().await.unwrap().unwrap();
    let status = stream.next().await.unwrap().unwrap().status.unwrap();
    assert_eq!((status.code, status.message.as_str()), (14, "the self-test failed: 2:1: no functions"));
}

#[tokio::test]
async fn scripts_with_exports_are_made_by_the_engine() {
    let ask = |script: String| GenerateOTelScriptRequest { pxl_script: script, ..GenerateOTelScriptRequest::default() };
    let broker = broker(MemoryEngine::new());
    let made = broker.generate_o_tel_script(Request::new(ask("show".to_owned()))).await.unwrap().into_inner();
    assert_eq!((made.status.unwrap().code, made.otel_script.as_str()), (0, "show, and export"));
    let status = broker.generate_o_tel_script(Request::new(ask("x".repeat(SCRIPT_BYTES_MAX + 1)))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_only_cluster_is_this_one_and_it_is_healthy_once_it_captures() {
    let broker = broker(MemoryEngine::new());
    let id = Uuid { high_bits: 0x0123_4567_89ab_4cde, low_bits: 0x8f01_2345_6789_abcd };
    for (state, status, message, nodes) in [
        (None, ClusterStatus::CsUpdating, "starting", 0),
        (Some(ClusterState::Healthy), ClusterStatus::CsHealthy, "", 1),
        (Some(ClusterState::Degraded("no ring".to_owned())), ClusterStatus::CsDegraded, "no ring", 1),
        (Some(ClusterState::Unhealthy("no BTF".to_owned())), ClusterStatus::CsUnhealthy, "no BTF", 0),
    ] {
        if let Some(state) = state {
            broker.set_state(state);
        }
        for asked in [None, Some(id)] {
            let clusters = broker.get_cluster_info(Request::new(GetClusterInfoRequest { id: asked })).await.unwrap().into_inner().clusters;
            let [cluster] = &clusters[..] else { panic!("{clusters:?}") };
            assert_eq!((cluster.id, cluster.cluster_name.as_str()), (Some(id), "this-host"));
            assert_eq!((cluster.status(), cluster.status_message.as_str()), (status, message));
            assert_eq!((cluster.num_nodes, cluster.num_instrumented_nodes), (1, nodes));
            assert_eq!((cluster.vizier_version.as_str(), cluster.cluster_version.as_str()), ("9.8.7", "6.1"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn scripts_are_answered_without_data_and_it_is_said_that_there_is_none() {
    let broker = served(MemoryEngine::new()).await;
    let why = "no agent captures anything: every collector is off";
    broker.set_state(ClusterState::Degraded(why.to_owned()));
    let mut stream = broker.health_check(Request::new(HealthCheckRequest::default())).await.unwrap().into_inner();
    stream.next().await.unwrap().unwrap();
    let status = stream.next().await.unwrap().unwrap().status.unwrap();
    assert_eq!((status.code, status.message.as_str()), (0, why));
}

#[tokio::test]
async fn another_cluster_is_not_found() {
    let request = GetClusterInfoRequest { id: Some(Uuid { high_bits: 1, low_bits: 2 }) };
    let status = broker(MemoryEngine::new()).get_cluster_info(Request::new(request)).await.unwrap_err();
    let message = "there is no cluster 00000000-0000-0001-0000-000000000002 here; the only one is 01234567-89ab-4cde-8f01-23456789abcd";
    assert_eq!((status.code(), status.message()), (Code::NotFound, message));
}
