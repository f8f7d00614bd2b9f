//! Scripts that export, from the call to a real receiver of OTLP.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use api::vizierpb::configs::{OTelEndpointConfig, PluginConfig};
use api::vizierpb::error_details::Error as Detail;
use api::vizierpb::vizier_service_server::VizierService as _;
use api::vizierpb::{Configs, ExecuteScriptRequest, GenerateOTelScriptRequest, GenerateOTelScriptResponse};
use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use engine::{Engine, EngineArgs};
use futures::StreamExt as _;
use harness_otlp::{Conduct, Received, Receiver};
use ids::{ClusterId, UnixNs};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use otel::{Exporter, Roots};
use query_broker::{Broker, ClusterIdentity, LocalEngine};
use support::{execute, kind, request};
use table_store::TableStore;
use tables::{ColumnDef, DataType, Relation, SemanticType};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request};

const TABLE_BYTES_MAX: u64 = 1024 * 1024;

/// `requests` has a row for each of these services, at 1 ns, 2 ns, …, that took 10, 20, ….
fn store(services: &[&str]) -> TableStore {
    let store = TableStore::empty(TABLE_BYTES_MAX);
    let column = |name: &str, data_type, semantic_type| ColumnDef { name: name.to_owned(), data_type, semantic_type };
    let relation = Relation {
        columns: vec![
            column("time_", DataType::Time64Ns, SemanticType::None),
            column("service", DataType::String, SemanticType::ServiceName),
            column("latency", DataType::Int64, SemanticType::DurationNs),
        ],
    };
    store.create("requests", relation).unwrap();
    append(&store, 1, services);
    store
}

fn append(store: &TableStore, from: i64, services: &[&str]) {
    let table = store.table("requests").unwrap();
    let times = from..from + services.len() as i64;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from_iter_values(times.clone())),
        Arc::new(StringArray::from(services.to_vec())),
        Arc::new(Int64Array::from_iter_values(times.map(|time| time * 10))),
    ];
    table.append(RecordBatch::try_new(Arc::clone(table.schema()), columns).unwrap()).unwrap();
}

fn broker_over(store: Arc<TableStore>, exporter: Exporter) -> Broker {
    let engine = Engine::new(store, Arc::new(funcs::registry(&funcs::Environment::default())), EngineArgs::default());
    let identity = ClusterIdentity {
        id: ClusterId::from_halves(1, 2),
        name: String::new(),
        vizier_version: String::new(),
        cluster_version: String::new(),
    };
    let engine = LocalEngine::new(Arc::new(engine), || UnixNs(1_000)).exporting(exporter);
    Broker::new(Arc::new(engine), identity, CancellationToken::new(), TaskTracker::new())
}

fn broker(services: &[&str]) -> Broker {
    broker_over(Arc::new(store(services)), Exporter::default())
}

/// Exports every row, to the endpoint if there is one.
fn export(endpoint: &str) -> String {
    let endpoint = if endpoint.is_empty() { String::new() } else { format!(", endpoint=px.otel.Endpoint({endpoint})") };
    format!(
        "import px\ndf = px.DataFrame('requests')\npx.export(df, px.otel.Data(resource={{'service.name': df.service}}, \
         data=[px.otel.metric.Gauge('latency', df.latency)]{endpoint}))\n"
    )
}

fn to(receiver: &Receiver) -> String {
    export(&format!("url='{}', insecure=True", receiver.url()))
}

/// Service, time, value, unit.
fn gauges(received: &Received) -> Vec<(String, u64, i64, String)> {
    let mut gauges = Vec::new();
    for metrics in &received.metrics {
        let service = match metrics.resource.as_ref().unwrap().attributes[0].value.clone().unwrap().value {
            Some(Value::StringValue(service)) => service,
            other => panic!("{other:?}"),
        };
        for metric in &metrics.scope_metrics[0].metrics {
            let Some(metric::Data::Gauge(gauge)) = &metric.data else { panic!("{metric:?}") };
            let Some(number_data_point::Value::AsInt(value)) = gauge.data_points[0].value else { panic!("{gauge:?}") };
            gauges.push((service.clone(), gauge.data_points[0].time_unix_nano, value, metric.unit.clone()));
        }
    }
    gauges
}

fn gauge(service: &str, time: u64, value: i64) -> (String, u64, i64, String) {
    (service.to_owned(), time, value, "ns".to_owned())
}

#[tokio::test]
async fn a_script_displays_and_exports() {
    let receiver = Receiver::plaintext(Conduct::Take).await;
    let broker = broker(&["a", "b"]);
    let script = format!("{}px.display(df.head(1), 'one')\n", to(&receiver));
    let (messages, end) = execute(&broker, request(&script)).await.unwrap();
    assert!(end.is_ok(), "{messages:?}");
    assert_eq!(messages.iter().map(kind).collect::<Vec<_>>(), ["table one", "1 rows", "0 rows, end", "statistics"]);
    assert_eq!(gauges(&receiver.now()), [gauge("a", 1, 10), gauge("b", 2, 20)]);
    let counts = broker.counters().snapshot();
    assert_eq!((counts.rows_exported, counts.export_points_refused, counts.exports_failed), (2, 0, 0));
}

#[tokio::test]
async fn a_script_may_only_export_and_the_limit_of_what_is_shown_is_none_of_it() {
    let receiver = Receiver::plaintext(Conduct::TakeBut(1)).await;
    let broker = broker(&["a"; 300]);
    let script = format!("#px:set max_output_rows_per_table=10\n{}", to(&receiver));
    let (messages, end) = execute(&broker, request(&script)).await.unwrap();
    assert!(end.is_ok(), "{messages:?}");
    assert_eq!(messages.iter().map(kind).collect::<Vec<_>>(), ["statistics"]);
    assert_eq!(receiver.now().metrics.len(), 300);
    let counts = broker.counters().snapshot();
    assert_eq!((counts.rows_exported, counts.export_points_refused), (300, 1));
}

#[tokio::test]
async fn the_request_says_where_to_and_of_which_time() {
    let receiver = Receiver::plaintext(Conduct::Take).await;
    let broker = broker(&["a", "b", "c", "d"]);
    let times = "start_time=px.plugin.start_time, end_time=px.plugin.end_time";
    let script = export("").replace("'requests'", &format!("'requests', {times}"));
    let headers = HashMap::from([("api-key".to_owned(), "k".to_owned())]);
    let endpoint = OTelEndpointConfig { url: receiver.url(), headers, insecure: true, timeout: 5 };
    let plugin_config = PluginConfig { start_time_ns: 2, end_time_ns: 4 };
    let configs = Configs { otel_endpoint_config: Some(endpoint), plugin_config: Some(plugin_config) };
    let (messages, end) = execute(&broker, ExecuteScriptRequest { configs: Some(configs), ..request(&script) }).await.unwrap();
    assert!(end.is_ok(), "{messages:?}");
    assert_eq!(gauges(&receiver.now()), [gauge("b", 2, 20), gauge("c", 3, 30)]);
    assert_eq!(receiver.now().calls[0].get("api-key").unwrap(), "k");

    let (messages, _) = execute(&broker, request(&script)).await.unwrap();
    let status = messages[0].status.as_ref().unwrap();
    assert!(status.code == 3 && status.message.contains("No plugin config found."), "{status:?}");
    let endpoint = OTelEndpointConfig { timeout: -1, ..OTelEndpointConfig::default() };
    let configs = Configs { otel_endpoint_config: Some(endpoint), plugin_config: None };
    let refused = execute(&broker, ExecuteScriptRequest { configs: Some(configs), ..request(&script) }).await.unwrap_err();
    assert_eq!(refused.message(), "configs.otel_endpoint_config.timeout: -1 s is no time");
}

#[tokio::test]
async fn an_endpoint_with_tls_takes_rows_too() {
    let receiver = Receiver::tls(Conduct::Take).await;
    let exporter = Exporter::new(Roots::Pem(receiver.ca().to_owned()));
    let broker = broker_over(Arc::new(store(&["a"])), exporter.clone());
    let (messages, end) = execute(&broker, request(&export(&format!("'{}'", receiver.url())))).await.unwrap();
    assert!(end.is_ok(), "{messages:?}");
    assert_eq!(gauges(&receiver.now()), [gauge("a", 1, 10)]);
    assert_eq!(exporter.counts().rows_exported, 1);
}

#[tokio::test]
async fn a_json_array_stands_for_each_of_its_elements() {
    let receiver = Receiver::plaintext(Conduct::Take).await;
    let (_, end) = execute(&broker(&[r#"["a","b"]"#, "c"]), request(&to(&receiver))).await.unwrap();
    assert!(end.is_ok());
    assert_eq!(gauges(&receiver.now()), [gauge("a", 1, 10), gauge("b", 1, 10), gauge("c", 2, 20)]);
}

#[tokio::test]
async fn an_endpoint_that_does_not_take_rows_fails_the_query_and_is_named() {
    let receiver = Receiver::plaintext(Conduct::Refuse(tonic::Status::unauthenticated("who are you"))).await;
    let exporter = Exporter::default();
    let broker = broker_over(Arc::new(store(&["a"])), exporter.clone());
    let check = async |script: String, want: String| {
        let (messages, end) = execute(&broker, request(&script)).await.unwrap();
        let (status, end) = (messages.last().unwrap().status.clone().unwrap(), end.unwrap_err());
        assert!(status.code == Code::Aborted as i32 && status.message.starts_with(&want), "{status:?}");
        assert_eq!((end.code(), end.message()), (Code::Aborted, status.message.as_str()));
    };
    check(to(&receiver), format!("OTel export to `{}` failed: who are you", receiver.url())).await;
    let url = receiver.url();
    check(export(&format!("'smtp://{url}'")), format!("OTel export to `smtp://{url}` is not possible: ")).await;
    // Nobody trusts its certificate, since it has none.
    check(
        export("'localhost:1', {'api key': 'secret'}, True"),
        "OTel export to `localhost:1` is not possible: no header can be".to_owned(),
    )
    .await;
    check(export("'localhost:1', insecure=True"), "OTel export to `localhost:1` failed: ".to_owned()).await;
    assert_eq!((broker.counters().snapshot().exports_failed, exporter.counts().rows_failed), (4, 2));
}

#[tokio::test]
async fn rows_of_a_stream_are_exported_as_they_are_appended() {
    let receiver = Receiver::plaintext(Conduct::Take).await;
    let store = Arc::new(store(&["a"]));
    let broker = broker_over(Arc::clone(&store), Exporter::default());
    let script = to(&receiver).replace("'requests')", "'requests', start_time=1)").replace("px.export(df,", "px.export(df.stream(),");
    let mut running = broker.execute_script(Request::new(request(&script))).await.unwrap().into_inner();
    receiver.received(|received| received.metrics.len() == 1).await;
    append(&store, 2, &["b"]);
    let received = receiver.received(|received| received.metrics.len() == 2).await;
    assert_eq!(gauges(&received), [gauge("a", 1, 10), gauge("b", 2, 20)]);
    let nothing = futures::poll!(running.next());
    assert!(nothing.is_pending(), "{nothing:?}");
}

async fn generated(broker: &Broker, script: &str) -> GenerateOTelScriptResponse {
    let request = GenerateOTelScriptRequest { pxl_script: script.to_owned(), cluster_id: String::new() };
    broker.generate_o_tel_script(Request::new(request)).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_script_that_displays_becomes_one_that_exports_and_it_does() {
    let receiver = Receiver::plaintext(Conduct::Take).await;
    let broker = broker(&["a", "b"]);
    let made = generated(&broker, "import px\npx.display(px.DataFrame('requests'), 'requests')\n").await;
    assert_eq!(made.status.unwrap().code, 0);
    let endpoint = OTelEndpointConfig { url: receiver.url(), insecure: true, ..OTelEndpointConfig::default() };
    let configs = Configs { otel_endpoint_config: Some(endpoint), plugin_config: None };
    let (messages, end) = execute(&broker, ExecuteScriptRequest { configs: Some(configs), ..request(&made.otel_script) }).await.unwrap();
    assert!(end.is_ok(), "{messages:?}\n{}", made.otel_script);
    assert_eq!(messages.iter().map(kind).collect::<Vec<_>>(), ["table requests", "2 rows", "0 rows, end", "statistics"]);
    assert_eq!(gauges(&receiver.now()), [gauge("a", 1, 10), gauge("b", 2, 20)]);
    assert_eq!(receiver.now().metrics[0].scope_metrics[0].metrics[0].name, "requests.latency");
}

#[tokio::test]
async fn what_of_a_script_cannot_be_exported_is_told_with_its_place() {
    let made = generated(&broker(&[]), "import px\npx.display(px.DataFrame('requests')[['latency']], 'r')\n").await;
    let status = made.status.unwrap();
    assert_eq!((status.code, made.otel_script.as_str()), (3, ""));
    let Some(Detail::CompilerError(error)) = status.error_details[0].error.clone() else { panic!() };
    assert_eq!((error.line, error.column), (2, 1));
    assert_eq!(error.message, "Table 'r' does not have a time_ column of TIME64NS type");
}
