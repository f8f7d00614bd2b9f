//! Rows to a real receiver.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use harness_otlp::{Conduct, Receiver};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use otel::{CountsSnapshot, Error, Exported, Exporter, Roots, Sink};
use pxl::{Attribute, Endpoint, Export, Field, Gauge, Metric, OtelSpan, Signal, SpanKind, Summary};
use tonic::Status;

const TIME: usize = 0;
const SERVICE: usize = 1;
const LATENCY: usize = 2;
const LOAD: usize = 3;
const FAILED: usize = 4;
const TRACE: usize = 5;

/// A row for each service, a microsecond apart.
fn rows(services: &[&str]) -> RecordBatch {
    let n = services.len() as i64;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time_", Arc::new(TimestampNanosecondArray::from_iter_values((1..=n).map(|i| i * 1000)))),
        ("service", Arc::new(StringArray::from(services.to_vec()))),
        ("latency", Arc::new(Int64Array::from_iter_values(1..=n))),
        ("load", Arc::new(Float64Array::from_iter_values((1..=n).map(|i| i as f64 / 2.0)))),
        ("failed", Arc::new((0..n).map(|i| Some(i % 2 == 0)).collect::<BooleanArray>())),
        (
            "trace",
            Arc::new(StringArray::from_iter_values((0..n).map(|i| if i == 0 { "0af7651916cd43dd8448eb211c80319c" } else { "no id" }))),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn attribute(name: &str, column: usize) -> Attribute {
    Attribute { name: name.to_owned(), value: Field::Column(column) }
}

fn gauge() -> Signal {
    let attributes = vec![attribute("failed", FAILED), Attribute { name: "kind".to_owned(), value: Field::Text("test".to_owned()) }];
    let metric =
        Metric { name: "http.latency".to_owned(), description: "how long".to_owned(), unit: "ns".to_owned(), time: TIME, attributes };
    Signal::Gauge(Gauge { metric, value: LATENCY })
}

fn export(endpoint: Endpoint, signals: Vec<Signal>) -> Export {
    Export { endpoint, resource: vec![attribute("service.name", SERVICE)], signals }
}

fn insecure(url: String) -> Endpoint {
    Endpoint { url, insecure: true, ..Endpoint::default() }
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name).and_then(|attribute| attribute.value.clone()?.value);
    match found {
        Some(Value::StringValue(text)) => text,
        other => panic!("{name}: {other:?}"),
    }
}

async fn send(sink: &mut Sink, rows: &RecordBatch) -> Result<Exported, Error> {
    let mut exported = sink.add(rows).await?;
    exported += sink.flush().await?;
    Ok(exported)
}

#[tokio::test]
async fn a_row_becomes_what_the_export_says_and_goes_out_in_gzip_with_the_headers() {
    let receiver = Receiver::plaintext(Conduct::Take).await;
    let endpoint = Endpoint { headers: vec![("Api-Key".to_owned(), "k1".to_owned())], ..insecure(receiver.url()) };
    let metric =
        |name: &str| Metric { name: name.to_owned(), description: String::new(), unit: String::new(), time: TIME, attributes: Vec::new() };
    let summary = Summary { metric: metric("load"), count: LATENCY, sum: LOAD, quantiles: vec![(0.5, LOAD), (0.99, LOAD)] };
    let span = OtelSpan {
        name: Field::Column(SERVICE),
        start: TIME,
        end: TIME,
        trace_id: Some(TRACE),
        span_id: None,
        parent_span_id: Some(TRACE),
        attributes: vec![attribute("load", LOAD)],
        kind: SpanKind::Client,
    };
    let exporter = Exporter::default();
    let export = export(endpoint, vec![gauge(), Signal::Summary(summary), Signal::Span(span)]);
    let mut sink = exporter.sink(export).await.unwrap();
    assert_eq!(send(&mut sink, &rows(&["ns/a", "ns/b"])).await.unwrap(), Exported { rows: 2, refused: 0 });

    let received = receiver.now();
    assert_eq!((received.metrics.len(), received.spans.len(), received.calls.len()), (2, 2, 2));
    for call in &received.calls {
        assert_eq!(["api-key", "grpc-encoding"].map(|name| call.get(name).unwrap()), ["k1", "gzip"]);
    }
    let second = &received.metrics[1];
    assert_eq!(text(&second.resource.as_ref().unwrap().attributes, "service.name"), "ns/b");
    let [latency, load] = &second.scope_metrics[0].metrics[..] else { panic!("{second:?}") };
    assert_eq!((latency.name.as_str(), latency.description.as_str(), latency.unit.as_str()), ("http.latency", "how long", "ns"));
    let Some(metric::Data::Gauge(gauge)) = &latency.data else { panic!("{latency:?}") };
    let point = &gauge.data_points[0];
    assert_eq!((point.time_unix_nano, point.value), (2000, Some(number_data_point::Value::AsInt(2))));
    assert_eq!(text(&point.attributes, "kind"), "test");
    assert_eq!(point.attributes[0].value.clone().unwrap().value, Some(Value::BoolValue(false)));
    let Some(metric::Data::Summary(summary)) = &load.data else { panic!("{load:?}") };
    let point = &summary.data_points[0];
    let quantiles: Vec<_> = point.quantile_values.iter().map(|at| (at.quantile, at.value)).collect();
    assert_eq!((point.count, point.sum, quantiles), (2, 1.0, vec![(0.5, 1.0), (0.99, 1.0)]));

    let [first, second] = [&received.spans[0].scope_spans[0].spans[0], &received.spans[1].scope_spans[0].spans[0]];
    assert_eq!((first.name.as_str(), first.kind, first.start_time_unix_nano), ("ns/a", 3, 1000));
    assert_eq!((first.trace_id[..2].to_vec(), first.span_id.len()), (vec![0x0a, 0xf7], 8));
    assert!(first.parent_span_id.is_empty(), "a parent's id has 8 bytes");
    assert_eq!(second.trace_id.len(), 16, "one is made where there is none");
    assert_eq!(exporter.counts(), CountsSnapshot { rows_exported: 2, rows_failed: 0, points_refused: 0, requests: 2 });
}

#[tokio::test]
async fn a_text_that_is_a_json_array_stands_for_each_of_its_elements() {
    let receiver = Receiver::plaintext(Conduct::Take).await;
    let mut export = export(insecure(receiver.url()), vec![gauge()]);
    export.resource.push(attribute("peer", SERVICE));
    let mut sink = Exporter::default().sink(export).await.unwrap();
    let services = [r#"["a","b"]"#, "c", "[]", "[broken", r#"[1,"d"]"#];
    assert_eq!(send(&mut sink, &rows(&services)).await.unwrap().rows, 5);
    let received = receiver.now();
    let pairs: Vec<_> = received
        .metrics
        .iter()
        .map(|metrics| {
            let attributes = &metrics.resource.as_ref().unwrap().attributes;
            format!("{} {}", text(attributes, "service.name"), text(attributes, "peer"))
        })
        .collect();
    assert_eq!(pairs, ["a a", "b a", "a b", "b b", "c c", "[] []", "[broken [broken", "1 1", "d 1", "1 d", "d d"]);
}

#[tokio::test]
async fn a_row_that_stands_for_too_many_resources_is_sent_once() {
    let receiver = Receiver::plaintext(Conduct::Take).await;
    let mut sink = Exporter::default().sink(export(insecure(receiver.url()), vec![gauge()])).await.unwrap();
    let many = format!("[{}]", vec!["1"; 1001].join(","));
    send(&mut sink, &rows(&[many.as_str()])).await.unwrap();
    assert_eq!(text(&receiver.now().metrics[0].resource.as_ref().unwrap().attributes, "service.name"), many);
}

#[tokio::test]
async fn many_rows_go_in_several_requests_and_large_ones_in_more() {
    let receiver = Receiver::plaintext(Conduct::Take).await;
    let exporter = Exporter::default();
    let mut sink = exporter.sink(export(insecure(receiver.url()), vec![gauge()])).await.unwrap();
    assert_eq!(send(&mut sink, &rows(&vec!["s"; 2500])).await.unwrap().rows, 2500);
    assert_eq!((receiver.now().calls.len(), receiver.now().metrics.len()), (3, 2500));
    let large = "x".repeat(1024 * 1024);
    assert_eq!(send(&mut sink, &rows(&[large.as_str(); 4])).await.unwrap().rows, 4);
    assert_eq!((receiver.now().calls.len(), exporter.counts().requests), (5, 5));
}

#[tokio::test]
async fn an_endpoint_with_tls_is_believed_if_its_authority_is() {
    let receiver = Receiver::tls(Conduct::Take).await;
    let endpoint = Endpoint { url: receiver.url(), ..Endpoint::default() };
    let trusted = Exporter::new(Roots::Pem(receiver.ca().to_owned()));
    let mut sink = trusted.sink(export(endpoint.clone(), vec![gauge()])).await.unwrap();
    assert_eq!(send(&mut sink, &rows(&["a"])).await.unwrap().rows, 1);

    let other = Receiver::tls(Conduct::Take).await;
    let mut sink = Exporter::new(Roots::Pem(other.ca().to_owned())).sink(export(endpoint.clone(), vec![gauge()])).await.unwrap();
    let error = send(&mut sink, &rows(&["a"])).await.unwrap_err().to_string();
    assert!(error.contains(&receiver.url()) && error.contains("certificate"), "{error}");

    // Plaintext to one that speaks TLS.
    let mut sink = trusted.sink(export(insecure(receiver.url()), vec![gauge()])).await.unwrap();
    assert!(matches!(send(&mut sink, &rows(&["a"])).await, Err(Error::Failed { .. })));
    assert_eq!(receiver.now().metrics.len(), 1);
}

#[tokio::test]
async fn what_an_endpoint_says_is_told_with_its_name() {
    let receiver = Receiver::plaintext(Conduct::Refuse(Status::permission_denied("no such key"))).await;
    let exporter = Exporter::default();
    let mut sink = exporter.sink(export(insecure(receiver.url()), vec![gauge()])).await.unwrap();
    let error = send(&mut sink, &rows(&["a", "b"])).await.unwrap_err();
    assert_eq!(error.to_string(), format!("OTel export to `{}` failed: no such key (PermissionDenied)", receiver.url()));
    receiver.conduct(Conduct::TakeBut(1));
    assert_eq!(send(&mut sink, &rows(&["a", "b"])).await.unwrap(), Exported { rows: 2, refused: 1 });
    assert_eq!(exporter.counts(), CountsSnapshot { rows_exported: 2, rows_failed: 2, points_refused: 1, requests: 2 });

    // Nobody listens there any more.
    let url = receiver.url();
    drop(receiver);
    let mut sink =
        exporter.sink(export(Endpoint { timeout: Duration::from_mins(1), ..insecure(url.clone()) }, vec![gauge()])).await.unwrap();
    while send(&mut sink, &rows(&["a"])).await.is_ok() {}
    let error = send(&mut sink, &rows(&["a"])).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("OTel export to `{url}` failed: ")), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_does_not_answer_is_waited_for_as_long_as_it_was_given() {
    let (near, far) = tokio::io::duplex(1024 * 1024);
    let mut near = Some(near);
    let connector = tower::service_fn(move |_| {
        let near = near.take().map(TokioIo::new).ok_or_else(|| std::io::Error::other("connected already"));
        std::future::ready(near)
    });
    let channel = tonic::transport::Endpoint::from_static("http://silent:4317").connect_with_connector_lazy(connector);
    let endpoint = Endpoint { timeout: Duration::from_secs(7), ..insecure("silent:4317".to_owned()) };
    let mut sink = Exporter::default().sink_over(channel, export(endpoint, vec![gauge()])).unwrap();
    let before = tokio::time::Instant::now();
    let error = send(&mut sink, &rows(&["a"])).await.unwrap_err();
    assert_eq!(before.elapsed(), Duration::from_secs(7));
    assert_eq!(error.to_string(), "OTel export to `silent:4317` failed: no answer within 7 s");
    drop(far);
}

#[test]
fn an_export_reads_as_it_was_written() {
    let endpoint = Endpoint { headers: vec![("a".to_owned(), "b".to_owned())], ..insecure("h:1".to_owned()) };
    let metric = Metric { name: "m".to_owned(), description: "d".to_owned(), unit: "By".to_owned(), time: 0, attributes: Vec::new() };
    let summary = Signal::Summary(Summary { metric, count: 1, sum: 2, quantiles: vec![(0.5, 3)] });
    let span = Signal::Span(OtelSpan {
        name: Field::Text("n".to_owned()),
        start: 1,
        end: 2,
        trace_id: Some(3),
        span_id: None,
        parent_span_id: Some(0),
        attributes: vec![attribute("x", 9)],
        kind: SpanKind::Producer,
    });
    let export = export(endpoint, vec![gauge(), summary, span]);
    assert_eq!(otel::decode(otel::encode(&export)).unwrap(), export);
    assert!(!format!("{:?}", otel::encode(&export)).contains("\"b\""), "headers may hold keys");
    let without = api::internal::Export { signals: Vec::new(), ..otel::encode(&export) };
    assert_eq!(otel::decode(without).unwrap_err().to_string(), "an export without data");
}
