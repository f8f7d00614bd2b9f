//! Calls through the control plane to a Vizier and back.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use api::cloudapi::ClusterStatus;
use api::cvmsgspb::VizierStatus;
use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answer;
use api::vizierpb::vizier_debug_service_client::VizierDebugServiceClient;
use api::vizierpb::vizier_service_client::VizierServiceClient;
use api::vizierpb::{
    DebugPodsRequest, DebugPodsResponse, ExecuteScriptRequest, ExecuteScriptResponse, GenerateOTelScriptRequest,
    GenerateOTelScriptResponse, QueryData, RowBatchData, execute_script_response,
};
use support::{Plane, Vizier, cluster_id, register, with};
use tonic::{Code, Status, Streaming};

async fn execute(plane: &Plane, api_key: &str, cluster: &str, script: &str) -> Result<Streaming<ExecuteScriptResponse>, Status> {
    let request = ExecuteScriptRequest { query_str: script.to_owned(), cluster_id: cluster.to_owned(), ..Default::default() };
    Ok(VizierServiceClient::new(plane.channel()).execute_script(with("pixie-api-key", api_key, request)).await?.into_inner())
}

fn rows(number: i64, bytes: usize) -> Answer {
    let batch = RowBatchData { table_id: "x".repeat(bytes), num_rows: number, ..Default::default() };
    let result = execute_script_response::Result::Data(QueryData { batch: Some(batch), ..Default::default() });
    Answer::ExecResp(ExecuteScriptResponse { query_id: "q".to_owned(), result: Some(result), ..Default::default() })
}

fn number(answer: &ExecuteScriptResponse) -> i64 {
    match &answer.result {
        Some(execute_script_response::Result::Data(data)) => data.batch.as_ref().unwrap().num_rows,
        other => panic!("{other:?}"),
    }
}

struct Stage {
    plane: Plane,
    api: String,
    deploy: String,
    vizier: Vizier,
    cluster: String,
}

async fn stage() -> Stage {
    stage_with(false).await
}

/// `ours`: the Vizier knows calls again.
async fn stage_with(ours: bool) -> Stage {
    let plane = Plane::start(false).await;
    let (deploy, api) = (plane.key("deploy", "default"), plane.key("api", "default"));
    let vizier = Vizier::healthy_as(&plane, &deploy, &api, ours).await;
    let cluster = cluster_id(vizier.id).to_string();
    Stage { plane, api, deploy, vizier, cluster }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_in_order_and_end_as_the_vizier_says() {
    let mut stage = stage().await;
    let mut answers = execute(&stage.plane, &stage.api, &stage.cluster, "import px").await.unwrap();
    let call = stage.vizier.call().await;
    let Some(Ask::ExecReq(asked)) = &call.msg else { panic!("{call:?}") };
    assert_eq!((asked.query_str.as_str(), call.window > 0), ("import px", true));
    for sequence in 1..=3 {
        stage.vizier.answer(&call.request_id, sequence, rows(sequence as i64, 0)).await;
    }
    stage.vizier.end(&call.request_id, 4, 0, "").await;
    for expected in 1..=3 {
        assert_eq!(number(&answers.message().await.unwrap().unwrap()), expected);
    }
    assert_eq!(answers.message().await.unwrap(), None);

    let mut answers = execute(&stage.plane, &stage.api, &stage.cluster, "import px").await.unwrap();
    let call = stage.vizier.call().await;
    stage.vizier.end(&call.request_id, 1, Code::InvalidArgument as i32, "the script is wrong").await;
    let status = answers.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "the script is wrong"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_cancels_its_call() {
    let mut stage = stage().await;
    let answers = execute(&stage.plane, &stage.api, &stage.cluster, "endless").await.unwrap();
    let call = stage.vizier.call().await;
    drop(answers);
    let cancel = stage.vizier.call().await;
    assert_eq!(cancel.request_id, call.request_id);
    assert!(matches!(cancel.msg, Some(Ask::CancelReq(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_has_read_is_acknowledged_so_that_a_slow_one_slows_its_query() {
    let mut stage = stage().await;
    let mut answers = execute(&stage.plane, &stage.api, &stage.cluster, "much").await.unwrap();
    let call = stage.vizier.call().await;
    for sequence in 1..=u64::from(call.window) {
        stage.vizier.answer(&call.request_id, sequence, rows(sequence as i64, 0)).await;
    }
    for _ in 0..call.window {
        answers.message().await.unwrap().unwrap();
    }
    let mut acknowledged = 0;
    while acknowledged < u64::from(call.window) / 2 {
        let request = stage.vizier.call().await;
        assert_eq!((request.msg, request.acknowledged > acknowledged), (None, true));
        acknowledged = request.acknowledged;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_on_the_way_from_a_vizier_that_says_nothing_again_fails_the_call_instead_of_missing_rows() {
    let mut stage = stage().await;
    let mut answers = execute(&stage.plane, &stage.api, &stage.cluster, "import px").await.unwrap();
    let call = stage.vizier.call().await;
    stage.vizier.answer(&call.request_id, 1, rows(1, 0)).await;
    // One that comes twice is the same.
    stage.vizier.answer(&call.request_id, 1, rows(1, 0)).await;
    stage.vizier.answer(&call.request_id, 3, rows(3, 0)).await;
    assert_eq!(number(&answers.message().await.unwrap().unwrap()), 1);
    assert_eq!(answers.message().await.unwrap_err().code(), Code::DataLoss);
    assert!(matches!(stage.vizier.call().await.msg, Some(Ask::CancelReq(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_which_nothing_is_heard_is_said_again_with_its_id_until_it_is_answered() {
    let mut stage = stage_with(true).await;
    let mut answers = execute(&stage.plane, &stage.api, &stage.cluster, "import px").await.unwrap();
    let first = stage.vizier.call().await;
    for _ in 0..2 {
        let again = stage.vizier.call().await;
        assert_eq!((&again.request_id, &again.msg, again.window), (&first.request_id, &first.msg, first.window));
    }
    stage.vizier.answer(&first.request_id, 1, rows(1, 0)).await;
    assert_eq!(number(&answers.message().await.unwrap().unwrap()), 1);
    // From now on what was heard is said, and that there may be more.
    let more = loop {
        let call = stage.vizier.call().await;
        if call.msg.is_none() {
            break call;
        }
    };
    assert_eq!((more.request_id, more.acknowledged, more.again), (first.request_id.clone(), 1, true));
    stage.vizier.end(&first.request_id, 2, 0, "").await;
    assert_eq!(answers.message().await.unwrap(), None);
    // It has everything: the Vizier need keep nothing.
    while !matches!(stage.vizier.call().await.msg, Some(Ask::CancelReq(_))) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_missing_is_asked_for_and_no_row_is_handed_over_twice() {
    let mut stage = stage_with(true).await;
    let mut answers = execute(&stage.plane, &stage.api, &stage.cluster, "import px").await.unwrap();
    let call = stage.vizier.call().await;
    for sequence in [1, 1, 3, 4] {
        stage.vizier.answer(&call.request_id, sequence, rows(sequence as i64, 0)).await;
    }
    let asked = stage.vizier.call().await;
    assert_eq!((asked.msg, asked.acknowledged, asked.again), (None, 1, true));
    for sequence in [2, 3, 4] {
        stage.vizier.answer(&call.request_id, sequence, rows(sequence as i64, 0)).await;
    }
    stage.vizier.end(&call.request_id, 5, 0, "").await;
    for expected in 1..=4 {
        assert_eq!(number(&answers.message().await.unwrap().unwrap()), expected);
    }
    assert_eq!(answers.message().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused_with_advice() {
    let mut stage = stage().await;
    let mut answers = execute(&stage.plane, &stage.api, &stage.cluster, "import px").await.unwrap();
    let call = stage.vizier.call().await;
    stage.vizier.answer(&call.request_id, 1, rows(1, 1024 * 1024)).await;
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().starts_with("Large data batch rejected by passthrough proxy limits"), "{}", status.message());
    let status = execute(&stage.plane, &stage.api, &stage.cluster, &"#".repeat(1024 * 1024)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_cluster_of_ones_own_that_is_healthy_takes_scripts() {
    let mut stage = stage().await;
    let refused = |status: Status| (status.code(), status.message().to_owned());
    let text = |code, message: &str| (code, message.to_owned());
    let malformed = execute(&stage.plane, &stage.api, "x", "import px").await.unwrap_err();
    assert_eq!(refused(malformed), text(Code::InvalidArgument, "missing/malformed cluster_id"));
    stage.plane.command(&["org", "create", "other"]).unwrap();
    let stranger = stage.plane.key("api", "other");
    let unknown = "00000000-0000-0000-0000-000000000001";
    for (key, cluster) in [(&stranger, stage.cluster.as_str()), (&stage.api, unknown)] {
        let status = execute(&stage.plane, key, cluster, "import px").await.unwrap_err();
        assert_eq!(refused(status), text(Code::Internal, "failed to fetch creds for cluster"));
    }
    stage.vizier.beat(VizierStatus::VzStUnhealthy, "no agents").await;
    stage.plane.cluster_is(&stage.api, ClusterStatus::CsUnhealthy).await;
    let status = execute(&stage.plane, &stage.api, &stage.cluster, "import px").await.unwrap_err();
    assert_eq!(refused(status), text(Code::Unavailable, "cluster is not in a healthy state"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vizier_answers_its_own_calls_alone() {
    let mut stage = stage().await;
    stage.plane.command(&["org", "create", "other"]).unwrap();
    let deploy = stage.plane.key("deploy", "other");
    let id = register(&stage.plane, &deploy, "uid-9", "nine").await.unwrap().vizier_id.unwrap();
    let mut other = Vizier::open(&stage.plane, &deploy, id, "uid-9", 1).await.unwrap();
    let mut answers = execute(&stage.plane, &stage.api, &stage.cluster, "import px").await.unwrap();
    let call = stage.vizier.call().await;
    // It has learnt the call's id, and says that it is its own.
    other.answer(&call.request_id, 1, rows(666, 0)).await;
    let refused = other.call().await;
    assert!(matches!(refused.msg, Some(Ask::CancelReq(_))), "nobody waits for it there");
    stage.vizier.answer(&call.request_id, 1, rows(1, 0)).await;
    stage.vizier.end(&call.request_id, 2, 0, "").await;
    assert_eq!(number(&answers.message().await.unwrap().unwrap()), 1);
    assert_eq!(answers.message().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_end_with_their_bridge_and_what_is_left_of_them_is_cancelled_on_the_next() {
    let mut stage = stage().await;
    let mut answers = execute(&stage.plane, &stage.api, &stage.cluster, "endless").await.unwrap();
    let call = stage.vizier.call().await;
    let mut newer = Vizier::open(&stage.plane, &stage.deploy, stage.vizier.id, "uid-1", 2).await.unwrap();
    let status = answers.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the connection to the cluster broke"));
    newer.answer(&call.request_id, 7, rows(7, 0)).await;
    let cancel = newer.call().await;
    assert_eq!(cancel.request_id, call.request_id);
    assert!(matches!(cancel.msg, Some(Ask::CancelReq(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_calls_need_no_healthy_cluster() {
    let mut stage = stage().await;
    stage.vizier.beat(VizierStatus::VzStUnhealthy, "").await;
    stage.plane.cluster_is(&stage.api, ClusterStatus::CsUnhealthy).await;
    let channel = stage.plane.channel();
    let otel = GenerateOTelScriptRequest { cluster_id: stage.cluster.clone(), pxl_script: "s".to_owned() };
    let otel = with("pixie-api-key", &stage.api, otel);
    let asked = tokio::spawn({
        let mut client = VizierServiceClient::new(channel.clone());
        async move { client.generate_o_tel_script(otel).await }
    });
    let call = stage.vizier.call().await;
    let answer = GenerateOTelScriptResponse { otel_script: "o".to_owned(), ..Default::default() };
    stage.vizier.answer(&call.request_id, 1, Answer::GenerateOtelScriptResp(answer)).await;
    assert_eq!(asked.await.unwrap().unwrap().into_inner().otel_script, "o");

    let pods = with("pixie-api-key", &stage.api, DebugPodsRequest { cluster_id: stage.cluster.clone() });
    let mut pods = VizierDebugServiceClient::new(channel).debug_pods(pods).await.unwrap().into_inner();
    let mut call = stage.vizier.call().await;
    // The end of the one before may come first.
    while !matches!(call.msg, Some(Ask::DebugPodsReq(_))) {
        call = stage.vizier.call().await;
    }
    stage.vizier.answer(&call.request_id, 1, Answer::DebugPodsResp(DebugPodsResponse::default())).await;
    stage.vizier.end(&call.request_id, 2, 0, "").await;
    assert!(pods.message().await.unwrap().is_some() && pods.message().await.unwrap().is_none());
}
