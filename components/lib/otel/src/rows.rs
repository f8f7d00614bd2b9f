//! Rows to OTLP. Reference: engine.md, OTelExportSink.

use arrow::array::{Array as _, BooleanArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Summary, SummaryDataPoint, metric, number_data_point,
    summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use pxl::{Attribute, Export, Field, OtelSpan, Signal};

use crate::{Error, ids};

/// Most resources that one row stands for. A row with larger lists is about one resource, whose attributes are the lists as they are written.
const REPLICAS_MAX: usize = 1000;

/// What a row becomes.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) metrics: Vec<ResourceMetrics>,
    pub(crate) spans: Vec<ResourceSpans>,
}

/// The columns of a batch, each with its type.
pub(crate) struct Columns<'a>(Vec<Column<'a>>);

enum Column<'a> {
    Text(&'a StringArray),
    Int(&'a Int64Array),
    Float(&'a Float64Array),
    Bool(&'a BooleanArray),
    Time(&'a TimestampNanosecondArray),
    /// Nothing that an export reads.
    Other,
}

impl<'a> Columns<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> Columns<'a> {
        let column = |array: &'a arrow::array::ArrayRef| {
            let any = array.as_any();
            None.or_else(|| any.downcast_ref().map(Column::Text))
                .or_else(|| any.downcast_ref().map(Column::Int))
                .or_else(|| any.downcast_ref().map(Column::Float))
                .or_else(|| any.downcast_ref().map(Column::Bool))
                .or_else(|| any.downcast_ref().map(Column::Time))
                .unwrap_or(Column::Other)
        };
        Columns(batch.columns().iter().map(column).collect())
    }

    fn at(&self, column: usize) -> Result<&Column<'a>, Error> {
        self.0.get(column).ok_or(Error::Column { column })
    }

    fn text(&self, column: usize, row: usize) -> Result<&'a str, Error> {
        match self.at(column)? {
            Column::Text(array) => Ok(array.value(row)),
            Column::Int(_) | Column::Float(_) | Column::Bool(_) | Column::Time(_) | Column::Other => Err(Error::Column { column }),
        }
    }

    fn int(&self, column: usize, row: usize) -> Result<i64, Error> {
        match self.at(column)? {
            Column::Int(array) => Ok(array.value(row)),
            Column::Text(_) | Column::Float(_) | Column::Bool(_) | Column::Time(_) | Column::Other => Err(Error::Column { column }),
        }
    }

    fn float(&self, column: usize, row: usize) -> Result<f64, Error> {
        match self.at(column)? {
            Column::Float(array) => Ok(array.value(row)),
            Column::Text(_) | Column::Int(_) | Column::Bool(_) | Column::Time(_) | Column::Other => Err(Error::Column { column }),
        }
    }

    /// OTLP knows no time before 1970.
    fn time(&self, column: usize, row: usize) -> Result<u64, Error> {
        match self.at(column)? {
            Column::Time(array) => Ok(u64::try_from(array.value(row)).unwrap_or(0)),
            Column::Text(_) | Column::Int(_) | Column::Float(_) | Column::Bool(_) | Column::Other => Err(Error::Column { column }),
        }
    }

    fn value(&self, column: usize, row: usize) -> Result<Value, Error> {
        match self.at(column)? {
            Column::Text(array) => Ok(Value::StringValue(array.value(row).to_owned())),
            Column::Int(array) => Ok(Value::IntValue(array.value(row))),
            Column::Float(array) => Ok(Value::DoubleValue(array.value(row))),
            Column::Bool(array) => Ok(Value::BoolValue(array.value(row))),
            Column::Time(_) | Column::Other => Err(Error::Column { column }),
        }
    }

    /// What a row becomes: metrics of a resource together, and spans.
    pub(crate) fn made(&self, export: &Export, row: usize) -> Result<Made, Error> {
        let mut made = Made::default();
        for attributes in self.resources(export, row)? {
            let mut metrics = Vec::new();
            let mut spans = Vec::new();
            for signal in &export.signals {
                match signal {
                    Signal::Gauge(gauge) => metrics.push(self.gauge(gauge, row)?),
                    Signal::Summary(summary) => metrics.push(self.summary(summary, row)?),
                    Signal::Span(span) => spans.push(self.span(span, row)?),
                }
            }
            let resource = Some(Resource { attributes, ..Resource::default() });
            if !metrics.is_empty() {
                let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
                made.metrics.push(ResourceMetrics { resource: resource.clone(), scope_metrics, ..ResourceMetrics::default() });
            }
            if !spans.is_empty() {
                let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
                made.spans.push(ResourceSpans { resource, scope_spans, ..ResourceSpans::default() });
            }
        }
        Ok(made)
    }

    /// The attributes of each resource that a row is about: a text that is a JSON array stands for each of its elements.
    fn resources(&self, export: &Export, row: usize) -> Result<Vec<Vec<KeyValue>>, Error> {
        let mut choices: Vec<(&str, Vec<Value>)> = Vec::with_capacity(export.resource.len());
        for Attribute { name, value } in &export.resource {
            let values = match value {
                Field::Text(text) => vec![Value::StringValue(text.clone())],
                Field::Column(column) => {
                    let value = self.value(*column, row)?;
                    let listed = if let Value::StringValue(text) = &value { elements(text) } else { None };
                    listed.unwrap_or_else(|| vec![value])
                }
            };
            choices.push((name, values));
        }
        let replicas = choices.iter().map(|(_, values)| values.len()).fold(1_usize, usize::saturating_mul);
        if replicas > REPLICAS_MAX {
            tracing::debug!(replicas, "a row stands for too many resources and is exported as one");
            return Ok(vec![self.attributes(&export.resource, row)?]);
        }
        let replica = |mut number: usize| {
            let attribute = |(name, values): &(&str, Vec<Value>)| {
                let value = values.get(number % values.len()).cloned();
                number /= values.len();
                key_value(name, value)
            };
            choices.iter().map(attribute).collect()
        };
        Ok((0..replicas).map(replica).collect())
    }

    fn attributes(&self, attributes: &[Attribute], row: usize) -> Result<Vec<KeyValue>, Error> {
        let one = |Attribute { name, value }: &Attribute| {
            let value = match value {
                Field::Text(text) => Value::StringValue(text.clone()),
                Field::Column(column) => self.value(*column, row)?,
            };
            Ok(key_value(name, Some(value)))
        };
        attributes.iter().map(one).collect()
    }

    fn gauge(&self, gauge: &pxl::Gauge, row: usize) -> Result<Metric, Error> {
        let value = match self.value(gauge.value, row)? {
            Value::IntValue(value) => number_data_point::Value::AsInt(value),
            Value::DoubleValue(value) => number_data_point::Value::AsDouble(value),
            Value::StringValue(_)
            | Value::BoolValue(_)
            | Value::ArrayValue(_)
            | Value::KvlistValue(_)
            | Value::BytesValue(_)
            | Value::StringValueStrindex(_) => return Err(Error::Column { column: gauge.value }),
        };
        let point = NumberDataPoint {
            attributes: self.attributes(&gauge.metric.attributes, row)?,
            time_unix_nano: self.time(gauge.metric.time, row)?,
            value: Some(value),
            ..NumberDataPoint::default()
        };
        Ok(metric(&gauge.metric, metric::Data::Gauge(Gauge { data_points: vec![point] })))
    }

    fn summary(&self, summary: &pxl::Summary, row: usize) -> Result<Metric, Error> {
        let quantile = |(quantile, column): &(f64, usize)| {
            let value = self.float(*column, row)?;
            Ok(ValueAtQuantile { quantile: *quantile, value })
        };
        let point = SummaryDataPoint {
            attributes: self.attributes(&summary.metric.attributes, row)?,
            time_unix_nano: self.time(summary.metric.time, row)?,
            count: u64::try_from(self.int(summary.count, row)?).unwrap_or(0),
            sum: self.float(summary.sum, row)?,
            quantile_values: summary.quantiles.iter().map(quantile).collect::<Result<_, Error>>()?,
            ..SummaryDataPoint::default()
        };
        Ok(metric(&summary.metric, metric::Data::Summary(Summary { data_points: vec![point] })))
    }

    fn span(&self, span: &OtelSpan, row: usize) -> Result<Span, Error> {
        let id = |column: Option<usize>| column.map(|column| self.text(column, row)).transpose();
        let name = match &span.name {
            Field::Text(text) => text.clone(),
            Field::Column(column) => self.text(*column, row)?.to_owned(),
        };
        Ok(Span {
            trace_id: id(span.trace_id)?.and_then(ids::parse::<16>).unwrap_or_else(ids::random::<16>),
            span_id: id(span.span_id)?.and_then(ids::parse::<8>).unwrap_or_else(ids::random::<8>),
            parent_span_id: id(span.parent_span_id)?.and_then(ids::parse::<8>).unwrap_or_default(),
            name,
            kind: span.kind.number(),
            start_time_unix_nano: self.time(span.start, row)?,
            end_time_unix_nano: self.time(span.end, row)?,
            attributes: self.attributes(&span.attributes, row)?,
            ..Span::default()
        })
    }
}

fn metric(of: &pxl::Metric, data: metric::Data) -> Metric {
    Metric { name: of.name.clone(), description: of.description.clone(), unit: of.unit.clone(), data: Some(data), ..Metric::default() }
}

fn key_value(name: &str, value: Option<Value>) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() }
}

/// The elements of a JSON array, texts as they are and anything else as it is written. None if it is no array, or has none.
fn elements(text: &str) -> Option<Vec<Value>> {
    if !text.starts_with('[') {
        return None;
    }
    let values: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
    let one = |value: serde_json::Value| Value::StringValue(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    (!values.is_empty()).then(|| values.into_iter().map(one).collect())
}
