//! Modules `px.otel` and `px.plugin`, and `px.export`. Reference: pxl.md §2.4 and §2.5.

use std::rc::Rc;
use std::time::Duration;

use tables::{DataType, SemanticType};

use crate::args::{Arg, Args, required};
use crate::diagnostics::{Code, Diagnostic, Result};
use crate::eval::Evaluator;
use crate::export::{
    Attribute, EXPORT_TIMEOUT_DEFAULT, EXPORT_TIMEOUT_MAX, Endpoint, Export, Field, Gauge, Metric, Signal, Span as OtelSpan, SpanKind,
    Summary,
};
use crate::expr::{Kind, Literal, Typed};
use crate::source::Span;
use crate::suggest::{did_you_mean, list};
use crate::value::{Module, Value};

/// The column with the time of a metric.
const TIME: &str = "time_";
/// What every resource has.
const SERVICE_NAME: &str = "service.name";
/// Longest name of a metric. Source: OpenTelemetry, instrument name syntax.
const METRIC_NAME_BYTES_MAX: usize = 255;

/// Functions of `px.otel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtelFunction {
    Data,
    Endpoint,
    Gauge,
    Summary,
    Span,
}

/// What they make.
#[derive(Debug, Clone)]
pub(crate) enum Otel {
    Data(Rc<Data>),
    Endpoint(Rc<Endpoint>),
    Signal(Rc<Signal<Cell>>),
}

impl Otel {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Otel::Data(_) => "OTelData",
            Otel::Endpoint(_) => "Endpoint",
            Otel::Signal(_) => "OTelDataContainer",
        }
    }
}

/// An export whose rows are not yet known.
#[derive(Debug)]
pub(crate) struct Data {
    endpoint: Endpoint,
    resource: Vec<Attribute<Cell>>,
    signals: Vec<Rc<Signal<Cell>>>,
}

/// A value of each row, before it is known of which rows.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    Value(Typed, Span),
    /// The rows' own time.
    Time(Span),
}

/// An attribute of `px.otel`, of what is in it, or of `px.plugin`.
impl<'a> Evaluator<'a> {
    pub(crate) fn otel_attribute(&self, module: Module, name: &str, at: Span) -> Result<Value<'a>> {
        let function = |function| Value::Builtin(super::Builtin::Otel(function));
        let kinds = SpanKind::ALL.into_iter().map(|(name, kind)| (name, Value::int(i64::from(kind.number()))));
        let attributes: Vec<(&str, Value<'a>)> = match module {
            Module::Otel => vec![
                ("Data", function(OtelFunction::Data)),
                ("Endpoint", function(OtelFunction::Endpoint)),
                ("metric", Value::Module(Module::OtelMetric)),
                ("trace", Value::Module(Module::OtelTrace)),
            ],
            Module::OtelMetric => vec![("Gauge", function(OtelFunction::Gauge)), ("Summary", function(OtelFunction::Summary))],
            Module::OtelTrace => [("Span", function(OtelFunction::Span))].into_iter().chain(kinds).collect(),
            Module::Plugin => {
                let Some(times) = self.input.configs.plugin_times else {
                    let message = "No plugin config found. Make sure the script is run in a plugin context.";
                    return Err(Diagnostic::new(Code::Value, at, message));
                };
                let time = |ns: ids::UnixNs| Value::Expr(Typed::literal(Literal::Time(ns.0)));
                vec![("start_time", time(times.start)), ("end_time", time(times.end))]
            }
            Module::Px | Module::Pxtrace | Module::Pxconfig => Vec::new(),
        };
        if let Some((_, found)) = attributes.iter().find(|(known, _)| *known == name) {
            return Ok(found.clone());
        }
        let names = || attributes.iter().map(|(name, _)| *name);
        let help = did_you_mean(name, names()).unwrap_or_else(|| format!("it has {}", list(names())));
        Err(Diagnostic::new(Code::Unknown, at, format!("No such attribute '{name}'")).with_help(help))
    }

    pub(crate) fn call_otel(&self, function: OtelFunction, args: Args<'a>) -> Result<Value<'a>> {
        Ok(Value::Otel(match function {
            OtelFunction::Data => Otel::Data(self.otel_data(args)?.into()),
            OtelFunction::Endpoint => Otel::Endpoint(endpoint(args)?.into()),
            OtelFunction::Gauge => Otel::Signal(gauge(args)?.into()),
            OtelFunction::Summary => Otel::Signal(summary(args)?.into()),
            OtelFunction::Span => Otel::Signal(otel_span(args)?.into()),
        }))
    }

    /// `px.export(out, export_spec)`.
    pub(crate) fn export(&mut self, args: Args<'a>) -> Result<Value<'a>> {
        let at = args.span;
        let [out, spec] = args.bind_all("export", ["out", "export_spec"])?;
        if let Value::Grouped(_) = out.value {
            return Err(Diagnostic::new(Code::Type, out.span, "'groupby()' should be followed by an 'agg()' not a export()"));
        }
        let frame = out.frame("out")?;
        let Value::Otel(Otel::Data(data)) = &spec.value else {
            let message = format!("Expected 'spec' to be an export config. Received a {}", spec.value.kind());
            return Err(Diagnostic::new(Code::Type, spec.span, message).with_help("give it px.otel.Data(…)"));
        };
        let mut columns = frame.columns_to_export();
        let mut column = |cell: &Cell| match cell {
            Cell::Value(value, at) => columns.add(&self.ops, value, *at),
            Cell::Time(at) => {
                let time = frame.read(TIME, *at)?;
                typed("time", &time, &[DataType::Time64Ns], *at)?;
                columns.add(&self.ops, &time, *at)
            }
        };
        let export = Export {
            endpoint: data.endpoint.clone(),
            resource: data.resource.iter().map(|attribute| attribute.try_map(&mut column)).collect::<Result<_>>()?,
            signals: data.signals.iter().map(|signal| signal.try_map(&mut column)).collect::<Result<_>>()?,
        };
        let (plan, relation) = columns.plan(at)?;
        self.add_export((plan, relation, frame.streaming), export, at)?;
        Ok(Value::None)
    }

    /// `px.otel.Data(resource, data, endpoint)`.
    fn otel_data(&self, args: Args<'a>) -> Result<Data> {
        let at = args.span;
        let mut slots = args.bind("Data", &["resource", "data", "endpoint"])?.into_iter();
        let resource_arg = required(slots.next().flatten(), "Data", "resource", at)?;
        let data = required(slots.next().flatten(), "Data", "data", at)?;
        let resource = attributes(Some(&resource_arg), "resource")?;
        if !resource.iter().any(|attribute| attribute.name == SERVICE_NAME) {
            let message = format!("'{SERVICE_NAME}' must be specified in resource");
            return Err(Diagnostic::new(Code::Value, resource_arg.span, message));
        }
        let (Value::List(items) | Value::Tuple(items)) = &data.value else {
            let message = format!("Expected data to be a collection, received {}", data.value.kind());
            return Err(Diagnostic::new(Code::Type, data.span, message));
        };
        let signal = |item: &Value<'a>| match item {
            Value::Otel(Otel::Signal(signal)) => Ok(Rc::clone(signal)),
            other => {
                let message = format!("Expected an OTelDataContainer, received {}", other.kind());
                Err(Diagnostic::new(Code::Type, data.span, message)
                    .with_help("px.otel.metric.Gauge(…), px.otel.metric.Summary(…) or px.otel.trace.Span(…)"))
            }
        };
        let signals = items.items.iter().map(signal).collect::<Result<Vec<_>>>()?;
        if signals.is_empty() {
            return Err(Diagnostic::new(Code::Value, data.span, "Must specify at least 1 data configuration"));
        }
        let endpoint = match slots.next().flatten().filter(|arg| !matches!(arg.value, Value::None)) {
            Some(Arg { value: Value::Otel(Otel::Endpoint(endpoint)), .. }) => Endpoint::clone(&endpoint),
            Some(other) => {
                let message = format!("expected Endpoint type for 'endpoint' arg, received {}", other.value.kind());
                return Err(Diagnostic::new(Code::Type, other.span, message).with_help("write px.otel.Endpoint(url='host:port')"));
            }
            None => self.input.configs.endpoint.cloned().ok_or_else(|| {
                let message = "no default config found for endpoint, please specify one";
                Diagnostic::new(Code::Value, at, message).with_help("endpoint=px.otel.Endpoint(url='host:port')")
            })?,
        };
        Ok(Data { endpoint, resource, signals })
    }
}

/// `px.otel.Endpoint(url, headers, insecure, timeout)`.
fn endpoint(args: Args<'_>) -> Result<Endpoint> {
    let at = args.span;
    let mut slots = args.bind("Endpoint", &["url", "headers", "insecure", "timeout"])?.into_iter();
    let url_arg = required(slots.next().flatten(), "Endpoint", "url", at)?;
    let url = url_arg.str("url")?.to_string();
    if url.trim().is_empty() {
        return Err(Diagnostic::new(Code::Value, url_arg.span, "'url' is empty").with_help("write 'host:port'"));
    }
    let headers = match slots.next().flatten() {
        None => Vec::new(),
        Some(arg) => headers(&arg)?,
    };
    let insecure = match slots.next().flatten() {
        None => false,
        Some(arg) => match arg.value.as_literal() {
            Some(Literal::Bool(insecure)) => *insecure,
            _ => return Err(arg.expected("boolean", "insecure")),
        },
    };
    let timeout = match slots.next().flatten() {
        None => EXPORT_TIMEOUT_DEFAULT,
        Some(arg) => {
            let seconds = u64::try_from(arg.int("timeout")?).ok().map(Duration::from_secs);
            seconds.filter(|timeout| !timeout.is_zero() && *timeout <= EXPORT_TIMEOUT_MAX).ok_or_else(|| {
                let message = format!("'timeout' is in seconds, from 1 to {}", EXPORT_TIMEOUT_MAX.as_secs());
                Diagnostic::new(Code::Value, arg.span, message)
            })?
        }
    };
    Ok(Endpoint { url, headers, insecure, timeout })
}

fn headers(arg: &Arg<'_>) -> Result<Vec<(String, String)>> {
    let Value::Dict(dict) = &arg.value else {
        return Err(arg.expected("dict", "headers"));
    };
    let header = |(name, value): &(Value<'_>, Value<'_>)| match (name.as_str(), value.as_str()) {
        (Some(name), Some(value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(arg.expected("dict of strings", "headers")),
    };
    dict.entries.iter().map(header).collect()
}

/// `px.otel.metric.Gauge(name, value, description, attributes, unit)`.
fn gauge(args: Args<'_>) -> Result<Signal<Cell>> {
    let at = args.span;
    let slots = args.bind("Gauge", &["name", "value", "description", "attributes", "unit"])?;
    let [name, value, description, attributes, unit] = exactly(slots, at)?;
    let value = number(&required(value, "Gauge", "value", at)?, "value", &[DataType::Int64, DataType::Float64])?;
    let metric = metric(("Gauge", at), [name, description, attributes, unit], &[&value])?;
    Ok(Signal::Gauge(Gauge { metric, value }))
}

/// `px.otel.metric.Summary(name, count, sum, quantile_values, description, attributes, unit)`.
fn summary(args: Args<'_>) -> Result<Signal<Cell>> {
    let at = args.span;
    let slots = args.bind("Summary", &["name", "count", "sum", "quantile_values", "description", "attributes", "unit"])?;
    let [name, count, sum, quantile_values, description, attributes, unit] = exactly(slots, at)?;
    let count = number(&required(count, "Summary", "count", at)?, "count", &[DataType::Int64])?;
    let sum = number(&required(sum, "Summary", "sum", at)?, "sum", &[DataType::Float64])?;
    let arg = required(quantile_values, "Summary", "quantile_values", at)?;
    let Value::Dict(dict) = &arg.value else {
        let message = format!("Expected quantile_values to be a dictionary, received {}", arg.value.kind());
        return Err(Diagnostic::new(Code::Type, arg.span, message).with_help("{0.5: df.p50, 0.99: df.p99}"));
    };
    let mut quantiles = Vec::with_capacity(dict.entries.len());
    for (quantile, value) in &dict.entries {
        let quantile = match quantile.as_literal() {
            Some(Literal::Float(quantile)) if (0.0..=1.0).contains(quantile) => *quantile,
            Some(Literal::Int(quantile @ (0 | 1))) => *quantile as f64,
            _ => return Err(Diagnostic::new(Code::Value, arg.span, "a quantile is a number from 0 to 1")),
        };
        quantiles.push((quantile, number(&Arg { value: value.clone(), span: arg.span }, "quantile", &[DataType::Float64])?));
    }
    if quantiles.is_empty() {
        return Err(Diagnostic::new(Code::Value, arg.span, "Summary must have at least one quantile value specified"));
    }
    let measured: Vec<&Cell> = quantiles.iter().map(|(_, value)| value).chain([&sum]).collect();
    let metric = metric(("Summary", at), [name, description, attributes, unit], &measured)?;
    Ok(Signal::Summary(Summary { metric, count, sum, quantiles }))
}

/// `px.otel.trace.Span(name, start_time, end_time, trace_id, span_id, parent_span_id, attributes, kind)`.
fn otel_span(args: Args<'_>) -> Result<Signal<Cell>> {
    let at = args.span;
    let params = ["name", "start_time", "end_time", "trace_id", "span_id", "parent_span_id", "attributes", "kind"];
    let [name, start, end, trace_id, span_id, parent_span_id, attribute_arg, kind] = exactly(args.bind("Span", &params)?, at)?;
    let name = required(name, "Span", "name", at)?;
    let name = match (&name.value, name.value.as_str()) {
        (_, Some(text)) => Field::Text(text.to_owned()),
        (Value::Expr(value), None) => Field::Column(typed("name", value, &[DataType::String], name.span)?),
        (other, None) => {
            let message = format!("Expected string or column for 'name' '{}'", other.kind());
            return Err(Diagnostic::new(Code::Type, name.span, message));
        }
    };
    let time = |arg: Option<Arg<'_>>, param| number(&required(arg, "Span", param, at)?, "time", &[DataType::Time64Ns]);
    let id = |arg: Option<Arg<'_>>, what| match arg {
        None | Some(Arg { value: Value::None, .. }) => Ok(None),
        Some(arg) => number(&arg, what, &[DataType::String]).map(Some),
    };
    let kind = match kind {
        None => SpanKind::Server,
        Some(arg) => i32::try_from(arg.int("kind")?).ok().and_then(SpanKind::from_number).ok_or_else(|| {
            let help = format!("px.otel.trace has {}", list(SpanKind::ALL.into_iter().map(|(name, _)| name)));
            Diagnostic::new(Code::Value, arg.span, "'kind' is no kind of a span").with_help(help)
        })?,
    };
    Ok(Signal::Span(OtelSpan {
        name,
        start: time(start, "start_time")?,
        end: time(end, "end_time")?,
        trace_id: id(trace_id, "trace_id")?,
        span_id: id(span_id, "span_id")?,
        parent_span_id: id(parent_span_id, "parent_span_id")?,
        attributes: attributes(attribute_arg.as_ref(), "attributes")?,
        kind,
    }))
}

/// The slots of so many parameters.
fn exactly<const N: usize>(slots: Vec<Option<Arg<'_>>>, at: Span) -> Result<[Option<Arg<'_>>; N]> {
    slots.try_into().map_err(|_| Diagnostic::new(Code::Internal, at, "arguments were lost"))
}

/// What metrics have in common. `measured` tells the unit where the script does not.
fn metric(
    (function, at): (&str, Span),
    [name, description, attribute_arg, unit]: [Option<Arg<'_>>; 4],
    measured: &[&Cell],
) -> Result<Metric<Cell>> {
    let name_arg = required(name, function, "name", at)?;
    let name = name_arg.str("name")?.to_string();
    if !is_metric_name(&name) {
        let message = "Metric name is invalid. Please follow the naming conventions here: https://opentelemetry.io/docs/reference/specification/metrics/api/#instrument";
        let help = format!("a letter, then letters, digits, '_', '.', '-' and '/': at most {METRIC_NAME_BYTES_MAX} in all");
        return Err(Diagnostic::new(Code::Value, name_arg.span, message).with_help(help));
    }
    let description = description.map_or_else(|| Ok(String::new()), |arg| arg.str("description").map(|text| text.to_string()))?;
    let unit = match unit {
        None | Some(Arg { value: Value::None, .. }) => measured.iter().find_map(|cell| unit_of(cell)).unwrap_or_default().to_owned(),
        Some(arg) => arg.str("unit")?.to_string(),
    };
    Ok(Metric { name, description, unit, time: Cell::Time(at), attributes: attributes(attribute_arg.as_ref(), "attributes")? })
}

/// Whether an instrument may have that name.
pub(crate) fn is_metric_name(name: &str) -> bool {
    name.len() <= METRIC_NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte))
}

/// The unit of what a column means, in UCUM's short form.
fn unit_of(cell: &Cell) -> Option<&'static str> {
    let Cell::Value(value, _) = cell else { return None };
    Some(match value.semantic_type {
        SemanticType::Bytes => "By",
        SemanticType::Percent => "%",
        SemanticType::DurationNs | SemanticType::TimeNs => "ns",
        SemanticType::ThroughputPerNs => "1/ns",
        SemanticType::ThroughputBytesPerNs => "By/ns",
        _ => return None,
    })
}

/// A column of one of these types.
fn number(arg: &Arg<'_>, what: &str, wanted: &[DataType]) -> Result<Cell> {
    match &arg.value {
        Value::Expr(value) => typed(what, value, wanted, arg.span),
        _ => Err(arg.expected("column", what)),
    }
}

fn typed(what: &str, value: &Typed, wanted: &[DataType], at: Span) -> Result<Cell> {
    if wanted.contains(&value.data_type) {
        return Ok(Cell::Value(value.clone(), at));
    }
    let wanted = wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    let message = format!("Expected {what} column '{}' to be {wanted}, received {}", name_of(value), value.data_type);
    Err(Diagnostic::new(Code::Type, at, message))
}

fn name_of(value: &Typed) -> &str {
    match &value.kind {
        Kind::Column { name, .. } => name,
        Kind::Literal(_) => "a constant",
        Kind::Call { function, .. } => function.name,
    }
}

/// The entries of a dictionary; the last one of a name counts.
fn attributes(arg: Option<&Arg<'_>>, what: &str) -> Result<Vec<Attribute<Cell>>> {
    let Some(arg) = arg else { return Ok(Vec::new()) };
    let Value::Dict(dict) = &arg.value else {
        let message = format!("Expected {what} to be a dictionary, received {}", arg.value.kind());
        return Err(Diagnostic::new(Code::Type, arg.span, message));
    };
    let mut all: Vec<Attribute<Cell>> = Vec::with_capacity(dict.entries.len());
    for (key, value) in &dict.entries {
        let Some(name) = key.as_str().filter(|name| !name.is_empty()) else {
            return Err(Diagnostic::new(Code::Value, arg.span, "Attribute key must be a non-empty string"));
        };
        let value = attribute(value, arg.span)?;
        match all.iter_mut().find(|known| known.name == name) {
            Some(known) => known.value = value,
            None => all.push(Attribute { name: name.to_owned(), value }),
        }
    }
    Ok(all)
}

fn attribute(value: &Value<'_>, at: Span) -> Result<Field<Cell>> {
    let refused = |kind: String| Diagnostic::new(Code::Type, at, format!("Expected column or string for attribute value, got '{kind}'"));
    let Value::Expr(value) = value else { return Err(refused(value.kind())) };
    match value.as_literal() {
        Some(Literal::Str(text)) => return Ok(Field::Text(text.to_string())),
        Some(other) => return Err(refused(other.data_type().to_string())),
        None => {}
    }
    match value.data_type {
        DataType::String | DataType::Int64 | DataType::Float64 | DataType::Boolean => Ok(Field::Column(Cell::Value(value.clone(), at))),
        DataType::Uint128 | DataType::Time64Ns => {
            let message = format!(
                "Expected attribute column '{}' to be STRING, INT64, FLOAT64, or BOOLEAN, received {}",
                name_of(value),
                value.data_type
            );
            Err(Diagnostic::new(Code::Type, at, message))
        }
    }
}
