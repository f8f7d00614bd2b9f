//! What scripts want changed, and scripts that run again and again: the broker as its binary runs it.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod cluster;
mod support;

use api::cvmsgspb::{
    C2vMessage, CronScript, CronScriptUpdate, DeleteCronScriptRequest, GetCronScriptsChecksumRequest, GetCronScriptsChecksumResponse,
    GetCronScriptsRequest, GetCronScriptsResponse, cron_script_update,
};
use api::internal::QueryEnd;
use api::statuspb::LifeCycleState;
use api::vizier::services::metadata::get_tracepoint_info_response::TracepointState;
use api::vizier::services::metadata::record_execution_result_request::Result as Outcome;
use api::vizierpb::ExecuteScriptResponse;
use api::vizierpb::vizier_service_client::VizierServiceClient;
use bus::subject::Topic;
use bus::{Nats, Subscription, subject};
use cluster::{
    COLUMNS, Certificates, Deed, MetadataServer, NEVER, a_moment, broker, kelvin, kelvin_at, metadata, pem, schema, uuid, version, with_key,
};
use harness_nats::{NatsServer, Setup};
use prost::Message;
use support::kind;
use tonic::{Code, Status};

const TRACE: &str = "import pxtrace
import px

@pxtrace.probe('main.f')
def probe():
    return [{'n': pxtrace.ArgExpr('n')}]

pxtrace.UpsertTracepoint('probe', 'made', probe, px.uint128('123e4567-e89b-12d3-a456-426655440000'), '5m')
px.display(px.DataFrame('made'), 'out')
";
const READ: &str = "import px\npx.display(px.DataFrame('t'), 'out')\n";

fn standing(server: &MetadataServer, state: LifeCycleState, why: &str) {
    let status = api::statuspb::Status { msg: why.to_owned(), ..Default::default() };
    let tracepoint = TracepointState {
        id: Some(uuid(1)),
        state: state as i32,
        statuses: vec![status],
        name: "probe".to_owned(),
        schema_names: vec!["made".to_owned()],
        ..Default::default()
    };
    *server.store.inner.standing.lock().unwrap() = vec![tracepoint];
}

async fn mutate(broker: &cluster::Broker, script: &str) -> (Vec<ExecuteScriptResponse>, Result<(), Status>) {
    let mut request = with_key(script);
    request.get_mut().mutation = true;
    let mut stream = VizierServiceClient::new(broker.channel().await).execute_script(request).await.unwrap().into_inner();
    let mut messages = Vec::new();
    loop {
        match tokio::time::timeout(NEVER, stream.message()).await.unwrap() {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, Ok(())),
            Err(status) => return (messages, Err(status)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_deploys_a_tracepoint_runs_when_the_tracepoint_does() {
    let certificates = Certificates::new();
    let metadata = metadata(&certificates).await;
    let end = QueryEnd { agents_counted: 1, ..Default::default() };
    let kelvin = kelvin(&certificates, vec![Deed::Answer(vec![1], end)]).await;
    metadata.said.say(version(vec![pem(1), kelvin_at(100, kelvin.server.address)], Some(vec![schema("t", &COLUMNS, &[1])])));
    let broker = broker(&certificates, metadata.server.address, &["--no-cron-scripts"]).await;
    broker.execute_when_ready(READ).await;

    standing(&metadata, LifeCycleState::PendingState, "");
    let (messages, end) = mutate(&broker, TRACE).await;
    let info = messages[0].mutation_info.as_ref().unwrap_or_else(|| panic!("{messages:?}"));
    let status = info.status.as_ref().unwrap();
    assert_eq!((messages.len(), status.code, status.message.as_str()), (1, 14, "probe installation in progress"));
    assert_eq!((info.states[0].name.as_str(), info.states[0].state), ("probe", 1));
    assert_eq!(end.unwrap_err().code(), Code::Unavailable);
    let registered = metadata.store.inner.registered.lock().unwrap()[0].clone();
    let deployment = registered.requests[0].tracepoint_deployment.as_ref().unwrap();
    assert_eq!((deployment.name.as_str(), deployment.ttl.unwrap().seconds), ("probe", 300));
    assert_eq!(deployment.programs[0].table_name, "made");

    standing(&metadata, LifeCycleState::RunningState, "");
    let (messages, _) = mutate(&broker, TRACE).await;
    assert_eq!(messages[0].mutation_info.as_ref().unwrap().status.as_ref().unwrap().message, "Schema is not ready yet");

    metadata.said.say(version(vec![], Some(vec![schema("t", &COLUMNS, &[1]), schema("made", &COLUMNS, &[1])])));
    let run = async {
        loop {
            let (messages, end) = mutate(&broker, TRACE).await;
            if end.is_ok() {
                return messages;
            }
            a_moment().await;
        }
    };
    let messages = tokio::time::timeout(NEVER, run).await.unwrap();
    assert_eq!(messages[0].mutation_info.as_ref().unwrap().status.as_ref().unwrap().code, 0);
    assert_eq!(messages[1..].iter().map(kind).collect::<Vec<_>>(), ["table out", "1 rows", "0 rows, end", "statistics"]);

    standing(&metadata, LifeCycleState::FailedState, "no such symbol");
    let (messages, end) = mutate(&broker, TRACE).await;
    let status = messages[0].mutation_info.as_ref().unwrap().status.as_ref().unwrap();
    assert_eq!((status.code, status.message.as_str()), (13, "tracepoint `probe` cannot be installed: no such symbol"));
    assert_eq!(end.unwrap_err().code(), Code::Internal);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_in_what_shall_be_changed_has_its_place_and_changes_nothing() {
    let certificates = Certificates::new();
    let metadata = metadata(&certificates).await;
    metadata.said.say(version(vec![pem(1)], Some(vec![schema("t", &COLUMNS, &[1])])));
    let broker = broker(&certificates, metadata.server.address, &["--no-cron-scripts"]).await;
    let (messages, end) = loop {
        let (messages, end) = mutate(&broker, "import pxtrace\npxtrace.UpsertTracepont('a')\n").await;
        if !messages.is_empty() {
            break (messages, end);
        }
    };
    let status = messages[0].status.as_ref().unwrap();
    assert_eq!((status.code, status.error_details.len(), end.unwrap_err().code()), (3, 1, Code::InvalidArgument));
    assert!(metadata.store.inner.registered.lock().unwrap().is_empty());
    broker.stop().await;
}

/// The control plane, as far as scripts go.
struct ControlPlane {
    bus: bus::Bus,
    checksums: Subscription<api::cvmsgspb::V2cMessage>,
    all: Subscription<api::cvmsgspb::V2cMessage>,
}

fn unpack<M: Message + Default>(message: &api::cvmsgspb::V2cMessage) -> M {
    M::decode(message.msg.as_ref().unwrap().value.as_slice()).unwrap()
}

fn pack(name: &str, message: &impl Message) -> C2vMessage {
    let msg = prost_types::Any { type_url: format!("type.googleapis.com/px.cvmsgspb.{name}"), value: message.encode_to_vec() };
    C2vMessage { vizier_id: String::new(), msg: Some(msg) }
}

fn topic(text: &str) -> Topic {
    Topic::new(text).unwrap()
}

fn script(number: u64, text: &str) -> CronScript {
    CronScript { id: Some(uuid(number)), script: text.to_owned(), frequency_s: 1, ..Default::default() }
}

impl ControlPlane {
    async fn new(address: &str) -> ControlPlane {
        let bus = Nats::new(address, "connector").connect().await.unwrap();
        bus.connected(NEVER).await.unwrap();
        let checksums = bus.subscribe(subject::v2c(topic("GetCronScriptsCheckSumRequest"))).await.unwrap();
        let all = bus.subscribe(subject::v2c(topic("GetCronScriptsRequest"))).await.unwrap();
        ControlPlane { bus, checksums, all }
    }

    /// Tells all its scripts to who asks.
    async fn tell(&mut self, scripts: Vec<CronScript>) {
        let question = tokio::time::timeout(NEVER, self.checksums.next()).await.unwrap().unwrap();
        let asked: GetCronScriptsChecksumRequest = unpack(&question.message);
        let answer = pack("GetCronScriptsChecksumResponse", &GetCronScriptsChecksumResponse { checksum: b"another".to_vec() });
        let to = subject::c2v(topic(&format!("GetCronScriptsCheckSumResponse:{}", asked.topic)));
        self.bus.publish(&to, &answer).await.unwrap();
        let question = tokio::time::timeout(NEVER, self.all.next()).await.unwrap().unwrap();
        let asked: GetCronScriptsRequest = unpack(&question.message);
        let scripts = scripts.into_iter().map(|script| (script.id.unwrap().low_bits.to_string(), script)).collect();
        let answer = pack("GetCronScriptsResponse", &GetCronScriptsResponse { scripts });
        let to = subject::c2v(topic(&format!("GetCronScriptsResponse:{}", asked.topic)));
        self.bus.publish(&to, &answer).await.unwrap();
    }

    /// Tells a change until it is acknowledged.
    async fn change(&self, msg: cron_script_update::Msg, timestamp: i64) {
        let request_id = format!("r{timestamp}");
        let mut answers = self.bus.subscribe(subject::v2c(topic(&format!("CronScriptsUpdatesResponse:{request_id}")))).await.unwrap();
        let update = pack("CronScriptUpdate", &CronScriptUpdate { msg: Some(msg), request_id, timestamp });
        self.bus.publish(&subject::c2v(topic("CronScriptsUpdates")), &update).await.unwrap();
        tokio::time::timeout(NEVER, answers.next()).await.expect("no acknowledgement").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_planes_scripts_are_kept_and_run_and_how_they_went_is_recorded() {
    let nats = NatsServer::start(&Setup::default()).unwrap();
    let mut cloud = ControlPlane::new(&nats.url()).await;
    let certificates = Certificates::new();
    let metadata = metadata(&certificates).await;
    let end = QueryEnd { agents_counted: 1, rows_read: 5, ..Default::default() };
    let kelvin = kelvin(&certificates, vec![Deed::Answer(vec![1], end)]).await;
    metadata.said.say(version(vec![pem(1), kelvin_at(100, kelvin.server.address)], Some(vec![schema("t", &COLUMNS, &[1])])));
    let broker = broker(&certificates, metadata.server.address, &["--nats-url", &nats.url(), "--nats-plaintext"]).await;
    cloud.tell(vec![script(1, READ), script(2, "import px\npx.display(px.DataFrame('no'))\n")]).await;

    let mut runs = metadata.store.inner.runs.subscribe();
    let of = |runs: &[api::vizier::services::metadata::RecordExecutionResultRequest], number: u64| {
        runs.iter().find(|run| run.script_id == Some(uuid(number))).and_then(|run| run.result.clone())
    };
    let both = runs.wait_for(|runs| of(runs, 1).is_some() && of(runs, 2).is_some());
    let both = tokio::time::timeout(NEVER, both).await.expect("they do not run").unwrap().clone();
    let Some(Outcome::ExecutionStats(stats)) = of(&both, 1) else { panic!("{both:?}") };
    assert_eq!(stats.records_processed, 5);
    let Some(Outcome::Error(status)) = of(&both, 2) else { panic!("{both:?}") };
    assert!(status.msg.contains("'no'"), "{}", status.msg);

    let scripts = || metadata.store.inner.scripts.borrow().keys().cloned().collect::<std::collections::BTreeSet<_>>();
    cloud.change(cron_script_update::Msg::DeleteReq(DeleteCronScriptRequest { script_id: Some(uuid(1)) }), 20).await;
    assert_eq!(scripts(), ["2".to_owned()].into());
    // Older than the last change of that script: acknowledged, and left alone.
    let late = api::cvmsgspb::RegisterOrUpdateCronScriptRequest { script: Some(script(1, READ)) };
    cloud.change(cron_script_update::Msg::UpsertReq(late.clone()), 10).await;
    assert_eq!(scripts(), ["2".to_owned()].into());
    cloud.change(cron_script_update::Msg::UpsertReq(late), 30).await;
    assert_eq!(scripts(), ["1".to_owned(), "2".to_owned()].into());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_of_the_control_plane_exports_to_where_its_settings_say() {
    let nats = NatsServer::start(&Setup::default()).unwrap();
    let mut cloud = ControlPlane::new(&nats.url()).await;
    let certificates = Certificates::new();
    let metadata = metadata(&certificates).await;
    let end = QueryEnd { agents_counted: 1, rows_read: 5, ..Default::default() };
    let mut kelvin = kelvin(&certificates, vec![Deed::Answer(vec![1], end)]).await;
    metadata.said.say(version(vec![pem(1), kelvin_at(100, kelvin.server.address)], Some(vec![schema("t", &COLUMNS, &[1])])));
    let broker = broker(&certificates, metadata.server.address, &["--nats-url", &nats.url(), "--nats-plaintext"]).await;
    let text = "import px\ndf = px.DataFrame('t', start_time=px.plugin.start_time, end_time=px.plugin.end_time)\npx.display(df, 'shown')\n\
                px.export(df, px.otel.Data({'service.name': 'a'}, [px.otel.metric.Gauge('n', df.n)]))\n";
    let configs = "otelEndpointConfig:\n  url: otel:4317\n  insecure: true\n  headers:\n    api-key: k\n".to_owned();
    cloud.tell(vec![CronScript { configs, ..script(1, text) }]).await;

    let exporting = |call: &api::internal::ExecutePlanRequest| call.outputs.get(1).and_then(|output| output.export.clone());
    let called = kelvin.calls.wait_for(|calls| calls.iter().any(|call| exporting(call).is_some()));
    let called = tokio::time::timeout(NEVER, called).await.expect("it does not run").unwrap().clone();
    let endpoint = called.iter().find_map(exporting).and_then(|export| export.endpoint).unwrap();
    assert_eq!((endpoint.url.as_str(), endpoint.insecure, endpoint.timeout_ms), ("otel:4317", true, 5000));
    assert_eq!(endpoint.headers, [api::internal::ExportHeader { name: "api-key".to_owned(), value: "k".to_owned() }]);
    broker.stop().await;
}
