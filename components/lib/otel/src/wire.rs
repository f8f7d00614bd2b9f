//! Exports on their way from the broker to Kelvin.

use std::time::Duration;

use api::internal as wire;
use api::internal::{export_field, export_signal};
use pxl::{Attribute, Endpoint, Export, Field, Gauge, Metric, OtelSpan, Signal, SpanKind, Summary};

use crate::Error;

/// As another part of the Vizier reads it.
pub fn encode(export: &Export) -> wire::Export {
    let Endpoint { url, headers, insecure, timeout } = export.endpoint.clone();
    let headers = headers.into_iter().map(|(name, value)| wire::ExportHeader { name, value });
    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    wire::Export {
        endpoint: Some(wire::ExportEndpoint { url, headers: headers.collect(), insecure, timeout_ms }),
        resource: encode_attributes(&export.resource),
        signals: export.signals.iter().map(|signal| wire::ExportSignal { signal: Some(encode_signal(signal)) }).collect(),
    }
}

fn encode_signal(signal: &Signal) -> export_signal::Signal {
    match signal {
        Signal::Gauge(Gauge { metric, value }) => {
            export_signal::Signal::Gauge(wire::ExportGauge { metric: Some(encode_metric(metric)), value: *value as u32 })
        }
        Signal::Summary(Summary { metric, count, sum, quantiles }) => export_signal::Signal::Summary(wire::ExportSummary {
            metric: Some(encode_metric(metric)),
            count: *count as u32,
            sum: *sum as u32,
            quantiles: quantiles
                .iter()
                .map(|(quantile, value)| wire::ExportQuantile { quantile: *quantile, value: *value as u32 })
                .collect(),
        }),
        Signal::Span(span) => export_signal::Signal::Span(wire::ExportSpan {
            name: Some(encode_field(&span.name)),
            start: span.start as u32,
            end: span.end as u32,
            trace_id: span.trace_id.map(|column| column as u32),
            span_id: span.span_id.map(|column| column as u32),
            parent_span_id: span.parent_span_id.map(|column| column as u32),
            attributes: encode_attributes(&span.attributes),
            kind: span.kind.number(),
        }),
    }
}

fn encode_metric(metric: &Metric) -> wire::ExportMetric {
    let Metric { name, description, unit, time, attributes } = metric.clone();
    wire::ExportMetric { name, description, unit, time: time as u32, attributes: encode_attributes(&attributes) }
}

fn encode_attributes(attributes: &[Attribute]) -> Vec<wire::ExportAttribute> {
    let one = |attribute: &Attribute| wire::ExportAttribute { name: attribute.name.clone(), value: Some(encode_field(&attribute.value)) };
    attributes.iter().map(one).collect()
}

fn encode_field(field: &Field) -> wire::ExportField {
    let value = match field {
        Field::Text(text) => export_field::Value::Text(text.clone()),
        Field::Column(column) => export_field::Value::Column(*column as u32),
    };
    wire::ExportField { value: Some(value) }
}

/// The inverse of [`encode`]. That columns exist and have the right types is found out with the rows.
///
/// # Errors
/// Something is missing.
pub fn decode(export: wire::Export) -> Result<Export, Error> {
    let wire::ExportEndpoint { url, headers, insecure, timeout_ms } = export.endpoint.ok_or(Error::Wire { what: "an endpoint" })?;
    let timeout = Duration::from_millis(timeout_ms).min(pxl::EXPORT_TIMEOUT_MAX);
    let headers = headers.into_iter().map(|header| (header.name, header.value)).collect();
    let signals = export.signals.into_iter().map(|signal| decode_signal(signal.signal)).collect::<Result<Vec<_>, Error>>()?;
    if signals.is_empty() {
        return Err(Error::Wire { what: "data" });
    }
    Ok(Export { endpoint: Endpoint { url, headers, insecure, timeout }, resource: decode_attributes(export.resource)?, signals })
}

fn decode_signal(signal: Option<export_signal::Signal>) -> Result<Signal, Error> {
    Ok(match signal.ok_or(Error::Wire { what: "a kind of its data" })? {
        export_signal::Signal::Gauge(gauge) => Signal::Gauge(Gauge { metric: decode_metric(gauge.metric)?, value: gauge.value as usize }),
        export_signal::Signal::Summary(summary) => Signal::Summary(Summary {
            metric: decode_metric(summary.metric)?,
            count: summary.count as usize,
            sum: summary.sum as usize,
            quantiles: summary.quantiles.into_iter().map(|at| (at.quantile, at.value as usize)).collect(),
        }),
        export_signal::Signal::Span(span) => Signal::Span(OtelSpan {
            name: decode_field(span.name)?,
            start: span.start as usize,
            end: span.end as usize,
            trace_id: span.trace_id.map(|column| column as usize),
            span_id: span.span_id.map(|column| column as usize),
            parent_span_id: span.parent_span_id.map(|column| column as usize),
            attributes: decode_attributes(span.attributes)?,
            kind: SpanKind::from_number(span.kind).ok_or(Error::Wire { what: "a kind of its span" })?,
        }),
    })
}

fn decode_metric(metric: Option<wire::ExportMetric>) -> Result<Metric, Error> {
    let wire::ExportMetric { name, description, unit, time, attributes } = metric.ok_or(Error::Wire { what: "a metric" })?;
    Ok(Metric { name, description, unit, time: time as usize, attributes: decode_attributes(attributes)? })
}

fn decode_attributes(attributes: Vec<wire::ExportAttribute>) -> Result<Vec<Attribute>, Error> {
    attributes.into_iter().map(|wire| Ok(Attribute { name: wire.name, value: decode_field(wire.value)? })).collect()
}

fn decode_field(field: Option<wire::ExportField>) -> Result<Field, Error> {
    match field.and_then(|field| field.value) {
        Some(export_field::Value::Text(text)) => Ok(Field::Text(text)),
        Some(export_field::Value::Column(column)) => Ok(Field::Column(column as usize)),
        None => Err(Error::Wire { what: "a value" }),
    }
}
