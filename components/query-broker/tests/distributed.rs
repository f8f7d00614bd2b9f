//! The broker as its binary runs it, between a metadata service and Kelvins that say what they are told.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod cluster;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use api::cloudapi::vizier_cluster_info_client::VizierClusterInfoClient;
use api::cloudapi::{ClusterStatus, GetClusterInfoRequest};
use api::internal::plan_step::At;
use api::internal::{AgentQuality, MissingAgent, OutputPlan, PlanStep, QueryEnd, TableQuality};
use api::vizierpb::column::ColData;
use api::vizierpb::execute_script_response::Result as Body;
use api::vizierpb::vizier_service_client::VizierServiceClient;
use api::vizierpb::{ExecuteScriptRequest, ExecuteScriptResponse, HealthCheckRequest};
use auth::SigningKey;
use cluster::{
    API_KEY, COLUMNS, Certificates, Deed, KelvinServerHandle, MetadataServer, NEVER, SIGNING_KEY, a_moment, broker, failed_collector, gone,
    kelvin, kelvin_at, metadata, metadata_at, pem, schema, version, with_key,
};
use support::kind;
use tables::DataType;
use tokio::task::JoinHandle;
use tonic::{Code, Request, Status};

const SCRIPT: &str = "import px\npx.display(px.DataFrame('t'), 'out')\n";

fn answer(values: &[i64]) -> Deed {
    Deed::Answer(values.to_vec(), QueryEnd { rows_read: 7, bytes_read: 56, agents_counted: 1, ..Default::default() })
}

fn values(messages: &[ExecuteScriptResponse]) -> Vec<i64> {
    let mut values = Vec::new();
    for message in messages {
        let Some(Body::Data(data)) = &message.result else { continue };
        let Some(batch) = &data.batch else { continue };
        if let Some(ColData::Int64Data(column)) = batch.cols.get(1).and_then(|column| column.col_data.as_ref()) {
            values.extend(&column.data);
        }
    }
    values
}

fn agents(call: &api::internal::ExecutePlanRequest) -> Vec<u8> {
    call.agent_ids.iter().map(|id| id[15]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_is_answered_over_the_agents_that_the_metadata_service_tells() {
    let certificates = Certificates::new();
    let (metadata, mut kelvin) = (metadata(&certificates).await, kelvin(&certificates, vec![answer(&[1, 2, 3])]).await);
    let broker = broker(&certificates, metadata.server.address, &[]).await;

    let early = broker.execute(SCRIPT).await.unwrap();
    let status = early.1.unwrap_err();
    assert_eq!((early.0.len(), status.code(), status.message()), (0, Code::Unavailable, "not ready yet"));

    let agents_now = vec![pem(1), pem(2), kelvin_at(100, kelvin.server.address)];
    metadata.said.say(version(agents_now, Some(vec![schema("t", &COLUMNS, &[1, 2])])));
    let messages = broker.execute_when_ready(SCRIPT).await;
    assert_eq!(messages.iter().map(kind).collect::<Vec<_>>(), ["table out", "3 rows", "0 rows, end", "statistics"]);
    assert_eq!(values(&messages), [1, 2, 3]);
    kelvin.called(1).await;
    assert_eq!(agents(&kelvin.calls.borrow()[0]), [1, 2]);
    let Some(Body::Data(data)) = &messages[3].result else { panic!() };
    let stats = data.execution_stats.as_ref().unwrap();
    assert_eq!((stats.records_processed, stats.bytes_processed), (7, 56));
    let token = metadata.tokens.lock().unwrap()[0].clone();
    SigningKey::new(SIGNING_KEY).verify(token.strip_prefix("Bearer ").unwrap(), SystemTime::now()).unwrap();

    // One agent less, and a table more.
    metadata.said.say(version(vec![gone(2)], Some(vec![schema("t", &COLUMNS, &[1]), schema("u", &COLUMNS, &[1])])));
    broker.execute_when_ready("import px\npx.display(px.DataFrame('u'), 'out')\n").await;
    let count = kelvin.calls.borrow().len();
    assert_eq!(agents(&kelvin.calls.borrow()[count - 1]), [1]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_callers_with_a_token_or_a_key_get_in() {
    let certificates = Certificates::new();
    let metadata = metadata(&certificates).await;
    let broker = broker(&certificates, metadata.server.address, &[]).await;
    let mut client = VizierServiceClient::new(broker.channel().await);
    let key = SigningKey::new(SIGNING_KEY);
    let bearer = |token: String| ("authorization", format!("bearer {token}"));
    let now = SystemTime::now();
    let hours = std::time::Duration::from_hours(2);
    let cluster = ids::ClusterId::from_halves(1, 2);
    let refused = [
        ("nothing", "x".to_owned()),
        ("pixie-api-key", "px-api-another".to_owned()),
        bearer("forged".to_owned()),
        bearer(SigningKey::new("another key, of thirty-two bytes").service_token("px", now)),
        bearer(key.service_token("px", now - hours)),
        bearer(key.service_token("px", now + hours)),
    ];
    for (name, value) in refused {
        let mut request = Request::new(ExecuteScriptRequest { query_str: SCRIPT.to_owned(), ..Default::default() });
        request.metadata_mut().insert(name, value.parse().unwrap());
        let status = client.execute_script(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, auth::UNAUTHENTICATED), "{name}");
    }
    let once = bearer(key.service_token("px", now));
    let taken = [
        ("pixie-api-key", API_KEY.to_owned()),
        ("x-direct-vizier-key", API_KEY.to_owned()),
        bearer(key.cluster_token(cluster, now)),
        once.clone(),
    ];
    for (name, value) in taken {
        let mut request = Request::new(GetClusterInfoRequest::default());
        request.metadata_mut().insert(name, value.parse().unwrap());
        VizierClusterInfoClient::new(broker.channel().await).get_cluster_info(request).await.unwrap();
    }
    let mut replayed = Request::new(GetClusterInfoRequest::default());
    replayed.metadata_mut().insert(once.0, once.1.parse().unwrap());
    let status = VizierClusterInfoClient::new(broker.channel().await).get_cluster_info(replayed).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    broker.stop().await;
}

/// What a query whose Kelvins died was answered.
type Died = JoinHandle<(Vec<ExecuteScriptResponse>, Status)>;

/// A query over two Kelvins that hang: the one that has it, the other, how it ends once they have died, and who knows them.
async fn hanging(script: &'static str) -> (KelvinServerHandle, KelvinServerHandle, Died, MetadataServer) {
    let certificates = Certificates::new();
    let metadata = metadata(&certificates).await;
    let mut one = kelvin(&certificates, vec![Deed::Hang(vec![])]).await;
    let mut other = kelvin(&certificates, vec![Deed::Hang(vec![])]).await;
    let all = vec![pem(1), kelvin_at(100, one.server.address), kelvin_at(101, other.server.address)];
    metadata.said.say(version(all, Some(vec![schema("t", &COLUMNS, &[1])])));
    let broker = broker(&certificates, metadata.server.address, &[]).await;
    let query = tokio::spawn(async move {
        loop {
            let (messages, end) = broker.execute(script).await.unwrap();
            let status = end.unwrap_err();
            if status.message() != "not ready yet" {
                return (messages, status);
            }
        }
    });
    let first_is_one = tokio::select! {
        () = one.called(1) => true,
        () = other.called(1) => false,
    };
    if first_is_one { (one, other, query, metadata) } else { (other, one, query, metadata) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_whose_kelvin_dies_before_it_sent_rows_runs_on_another() {
    let (mut first, mut second, query, _metadata) = hanging(SCRIPT).await;
    first.server.kill();
    second.called(1).await;
    // The agents may remember the first attempt.
    assert_ne!(first.calls.borrow()[0].query_id, second.calls.borrow()[0].query_id);
    assert_eq!(first.calls.borrow()[0].outputs, second.calls.borrow()[0].outputs);
    second.server.kill();
    let (messages, status) = query.await.unwrap();
    assert_eq!(messages.iter().map(kind).collect::<Vec<_>>(), ["table out", "status 14"]);
    assert!(status.message().starts_with("no Kelvin could run the query: node-10"), "{}", status.message());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kelvin_that_dies_after_it_sent_rows_fails_the_query_and_that_is_said() {
    let certificates = Certificates::new();
    let metadata = metadata(&certificates).await;
    let mut kelvin = kelvin(&certificates, vec![answer(&[0]), Deed::Hang(vec![1, 2])]).await;
    metadata.said.say(version(vec![pem(1), kelvin_at(100, kelvin.server.address)], Some(vec![schema("t", &COLUMNS, &[1])])));
    let broker = broker(&certificates, metadata.server.address, &[]).await;
    broker.execute_when_ready(SCRIPT).await;
    let mut stream = VizierServiceClient::new(broker.channel().await).execute_script(with_key(SCRIPT)).await.unwrap().into_inner();
    let mut seen = vec![stream.message().await.unwrap().unwrap(), stream.message().await.unwrap().unwrap()];
    assert_eq!(values(&seen), [1, 2]);
    kelvin.server.kill();
    let status = loop {
        match tokio::time::timeout(NEVER, stream.message()).await.unwrap() {
            Ok(message) => seen.push(message.unwrap()),
            Err(status) => break status,
        }
    };
    assert_eq!(seen.iter().map(kind).collect::<Vec<_>>(), ["table out", "2 rows", "status 14"]);
    assert!(
        status.message().starts_with("the Kelvin that ran the query was lost after it had sent rows: run the script again"),
        "{status}"
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kelvin_of_another_version_is_named_with_both_versions() {
    let certificates = Certificates::new();
    let metadata = metadata(&certificates).await;
    let words = "the plan is of `vizier 1`, this Kelvin runs plans of `vizier 2`";
    let kelvin = kelvin(&certificates, vec![answer(&[0]), Deed::Refuse(Status::failed_precondition(words))]).await;
    metadata.said.say(version(vec![pem(1), kelvin_at(100, kelvin.server.address)], Some(vec![schema("t", &COLUMNS, &[1])])));
    let broker = broker(&certificates, metadata.server.address, &[]).await;
    broker.execute_when_ready(SCRIPT).await;
    let status = broker.execute(SCRIPT).await.unwrap().1.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().ends_with(words), "{status}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_frees_the_kelvin_and_one_that_does_not_read_slows_it() {
    let certificates = Certificates::new();
    let metadata = metadata(&certificates).await;
    let sent: Arc<AtomicUsize> = Arc::default();
    let mut kelvin = kelvin(&certificates, vec![answer(&[0]), Deed::Flood(Arc::clone(&sent))]).await;
    metadata.said.say(version(vec![pem(1), kelvin_at(100, kelvin.server.address)], Some(vec![schema("t", &COLUMNS, &[1])])));
    let broker = broker(&certificates, metadata.server.address, &["--reattach-max-ms", "0"]).await;
    broker.execute_when_ready(SCRIPT).await;
    let mut stream = VizierServiceClient::new(broker.channel().await).execute_script(with_key(SCRIPT)).await.unwrap().into_inner();
    for _ in 0..3 {
        stream.message().await.unwrap().unwrap();
    }
    // It stops when what lies between is full: messages that wait, and the windows of two connections.
    let mut before = usize::MAX;
    while sent.load(Ordering::SeqCst) != before {
        before = sent.load(Ordering::SeqCst);
        for _ in 0..25 {
            a_moment().await;
        }
    }
    assert!(before < 60, "{before} megabytes were sent to a client that does not read");
    drop(stream);
    kelvin.was_hung_up().await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_told_in_a_table_and_in_a_trailer() {
    let certificates = Certificates::new();
    let metadata = metadata(&certificates).await;
    let id = |number: u8| {
        let mut id = vec![0; 16];
        id[15] = number;
        id
    };
    let expired = TableQuality { table: "t".to_owned(), oldest_ns: 5, rows_expired: 9, expired_in_range: true, ..Default::default() };
    let end = QueryEnd {
        agents_counted: 1,
        missing: vec![MissingAgent { agent_id: id(2), reason: "it does not answer".to_owned() }],
        qualities: vec![AgentQuality { agent_id: id(1), tables: vec![expired] }],
        ..Default::default()
    };
    let kelvin = kelvin(&certificates, vec![Deed::Answer(vec![4], end)]).await;
    let other = [("time_", DataType::Time64Ns), ("n", DataType::String)];
    let agents_now = vec![pem(1), pem(2), pem(3), failed_collector(1, "no ring"), kelvin_at(100, kelvin.server.address)];
    metadata.said.say(version(agents_now, Some(vec![schema("t", &COLUMNS, &[1, 2]), schema("t", &other, &[3])])));
    let broker = broker(&certificates, metadata.server.address, &[]).await;
    broker.execute_when_ready(SCRIPT).await;
    assert_eq!(agents(&kelvin.calls.borrow()[0]), [1, 2]);

    let mut request = with_key(&format!("#px:set data_quality=true\n{SCRIPT}"));
    request.metadata_mut().insert(query_broker::QUALITY_HEADER, "true".parse().unwrap());
    let mut stream = VizierServiceClient::new(broker.channel().await).execute_script(request).await.unwrap().into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        messages.push(message);
    }
    let kinds: Vec<_> = messages.iter().map(kind).collect();
    let expected = ["table out", "table __data_quality__", "1 rows", "0 rows, end", "4 rows", "0 rows, end", "statistics"];
    assert_eq!(kinds, expected);
    let trailers = stream.trailers().await.unwrap().unwrap();
    let summary = trailers.get_bin(query_broker::QUALITY_TRAILER).unwrap().to_bytes().unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    let told: Vec<_> = summary["troubles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| format!("{} {} {} {}: {}", t["hostname"], t["what"], t["table"], t["number"], t["detail"]).replace('"', ""))
        .collect();
    assert_eq!(
        told,
        [
            "node-2 agent_missing  0: it does not answer",
            "node-3 agent_missing  0: its table `t` differs from that of most agents: its column `n` is STRING, not INT64",
            "node-1 rows_expired t 9: since the agent started; all rows were asked for, and the oldest is of 5 ns",
            "node-1 collector_failed  0: socket data: no ring",
        ]
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_metadata_service_is_away_scripts_are_answered_as_before_and_then_as_it_says() {
    let certificates = Certificates::new();
    let mut first = metadata(&certificates).await;
    let kelvin = kelvin(&certificates, vec![answer(&[1])]).await;
    first.said.say(version(vec![pem(1), kelvin_at(100, kelvin.server.address)], Some(vec![schema("t", &COLUMNS, &[1])])));
    let broker = broker(&certificates, first.server.address, &[]).await;
    broker.execute_when_ready(SCRIPT).await;
    let mut request = Request::new(GetClusterInfoRequest::default());
    request.metadata_mut().insert("pixie-api-key", API_KEY.parse().unwrap());
    let cluster = VizierClusterInfoClient::new(broker.channel().await).get_cluster_info(request).await.unwrap().into_inner();
    assert_eq!((cluster.clusters[0].status(), cluster.clusters[0].num_nodes), (ClusterStatus::CsHealthy, 1));

    let address = first.server.address;
    first.server.kill();
    assert!(broker.execute(SCRIPT).await.unwrap().1.is_ok());
    let said = cluster::Said(tokio::sync::watch::Sender::new(Vec::new()));
    said.say(version(vec![pem(1), kelvin_at(100, kelvin.server.address)], Some(vec![schema("v", &COLUMNS, &[1])])));
    let _second = metadata_at(&certificates, address, said).await;
    // Its tables are all there are: nothing is left of what the one before had said.
    broker.execute_when_ready("import px\npx.display(px.DataFrame('v'), 'out')\n").await;
    let status = broker.execute(SCRIPT).await.unwrap().1.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vizier_without_an_agent_answers_and_says_that_it_has_no_rows() {
    let certificates = Certificates::new();
    let (metadata, kelvin) = (metadata(&certificates).await, kelvin(&certificates, vec![answer(&[1])]).await);
    metadata.said.say(version(vec![kelvin_at(100, kelvin.server.address)], Some(vec![])));
    let broker = broker(&certificates, metadata.server.address, &[]).await;
    let messages = broker.execute_when_ready(query_broker::HEALTH_SCRIPT).await;
    assert_eq!(messages.iter().map(kind).collect::<Vec<_>>(), ["table output", "1 rows", "0 rows, end", "statistics"]);

    let mut request = Request::new(HealthCheckRequest::default());
    request.metadata_mut().insert("pixie-api-key", API_KEY.parse().unwrap());
    let mut health = VizierServiceClient::new(broker.channel().await).health_check(request).await.unwrap().into_inner();
    let good = async {
        loop {
            let status = health.message().await.unwrap().unwrap().status.unwrap();
            if status.code == 0 {
                return status.message;
            }
        }
    };
    let why = "no agent is alive: there are no rows";
    assert_eq!(tokio::time::timeout(NEVER, good).await.unwrap(), why);
    let mut request = Request::new(GetClusterInfoRequest::default());
    request.metadata_mut().insert("pixie-api-key", API_KEY.parse().unwrap());
    let listed = VizierClusterInfoClient::new(broker.channel().await).get_cluster_info(request).await.unwrap().into_inner();
    let [cluster] = &listed.clusters[..] else { panic!("{listed:?}") };
    assert_eq!((cluster.status(), cluster.status_message.as_str(), cluster.num_nodes), (ClusterStatus::CsDegraded, why, 0));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_shows_where_each_step_runs_and_agents_that_were_left_out_are_not_missing() {
    let certificates = Certificates::new();
    let metadata = metadata(&certificates).await;
    let id = |number: u8| [vec![0; 15], vec![number]].concat();
    let step = |depth: u32, text: &str, at: Option<At>| PlanStep { depth, text: text.to_owned(), at };
    let steps = vec![step(0, "Sort, metrics=[output_rows=1]", None), step(1, "AgentScan: table=t", Some(At::AgentId(id(1))))];
    let end = QueryEnd { agents_counted: 1, plans: vec![OutputPlan { output: 0, steps }], left_out: vec![id(2)], ..Default::default() };
    let kelvin = kelvin(&certificates, vec![Deed::Answer(vec![4], end)]).await;
    let agents_now = vec![pem(1), pem(2), failed_collector(2, "no ring"), kelvin_at(100, kelvin.server.address)];
    metadata.said.say(version(agents_now, Some(vec![schema("t", &COLUMNS, &[1, 2])])));
    let broker = broker(&certificates, metadata.server.address, &[]).await;
    broker.execute_when_ready(SCRIPT).await;
    for (flag, analyze) in [("explain", false), ("analyze", true)] {
        let messages = broker.execute_when_ready(&format!("#px:set {flag}=true\n#px:set data_quality=true\n{SCRIPT}")).await;
        let call = kelvin.calls.borrow().last().unwrap().clone();
        assert_eq!((call.explain, call.analyze), (true, analyze));
        let plan: String = texts(&messages).concat();
        for part in ["label=\"out\";", "(127.0.0.1:", "label=\"Sort, metrics=[output_rows=1]\"", "label=\"node-1 (", "o0_1 -> o0_0;"] {
            assert!(plan.contains(part), "{part} is not in {plan}");
        }
        assert!(!plan.contains("no ring"), "the node that was left out has no part in it: {plan}");
    }
    broker.stop().await;
}

/// Of tables with a text in their first column.
fn texts(messages: &[ExecuteScriptResponse]) -> Vec<String> {
    let mut texts = Vec::new();
    for message in messages {
        let Some(Body::Data(data)) = &message.result else { continue };
        let columns = data.batch.as_ref().map_or(&[][..], |batch| &batch.cols);
        for column in columns {
            if let Some(ColData::StringData(column)) = &column.col_data {
                texts.extend(column.data.iter().map(|text| String::from_utf8(text.to_vec()).unwrap()));
            }
        }
    }
    texts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_exports_is_given_to_one_kelvin_and_never_to_another_beside_it() {
    let script = "import px\ndf = px.DataFrame('t')\npx.export(df, px.otel.Data({'service.name': 'a'}, [px.otel.metric.Gauge('n', df.n)], \
                  px.otel.Endpoint('otel:4317', {'api-key': 'secret'})))\npx.display(df, 'out')\n";
    let (mut first, second, query, _metadata) = hanging(script).await;
    let outputs = first.calls.borrow()[0].outputs.clone();
    let export = outputs[1].export.clone().unwrap();
    assert_eq!((outputs.len(), outputs[0].export.clone(), export.endpoint.clone().unwrap().url), (2, None, "otel:4317".to_owned()));
    assert!(!format!("{export:?}").contains("secret"));
    // It has said nothing yet, and may have exported rows.
    first.server.kill();
    let (messages, status) = query.await.unwrap();
    assert_eq!(messages.iter().map(kind).collect::<Vec<_>>(), ["table out", "status 14"]);
    assert!(status.message().contains("run the script again"), "{}", status.message());
    assert_eq!(second.calls.borrow().len(), 0);
}
