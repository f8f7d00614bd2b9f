//! What leaves a query for elsewhere: where rows go, and as what. Reference: pxl.md §2.4.

use std::fmt;
use std::time::Duration;

use ids::UnixNs;

/// How long an endpoint may take where nobody says. Reference: pxl.md §2.4.
pub const EXPORT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// The longest that an endpoint may be given: rows wait meanwhile, and agents keep them.
pub const EXPORT_TIMEOUT_MAX: Duration = Duration::from_mins(1);

/// Who takes OTLP over gRPC. Its headers may hold keys: their values are not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`; a scheme in front of it may be `http` or `https`.
    pub url: String,
    /// Sent with each call.
    pub headers: Vec<(String, String)>,
    /// Without TLS.
    pub insecure: bool,
    /// How long one call may take, from the connection to the answer.
    pub timeout: Duration,
}

impl Default for Endpoint {
    fn default() -> Endpoint {
        Endpoint { url: String::new(), headers: Vec::new(), insecure: false, timeout: EXPORT_TIMEOUT_DEFAULT }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Endpoint")
            .field("url", &self.url)
            .field("headers", &names)
            .field("insecure", &self.insecure)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// The window of a script that runs again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginTimes {
    /// `px.plugin.start_time`.
    pub start: UnixNs,
    /// `px.plugin.end_time`.
    pub end: UnixNs,
}

/// What a request gives a script beside its text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Configs<'a> {
    /// Where exports go that name no endpoint.
    pub endpoint: Option<&'a Endpoint>,
    /// Of a script that runs again and again.
    pub plugin_times: Option<PluginTimes>,
}

/// What becomes of the rows of an output that is exported. `C` is a column: its position in the output's relation.
#[derive(Debug, Clone, PartialEq)]
pub struct Export<C = usize> {
    /// Where to.
    pub endpoint: Endpoint,
    /// What the rows are about; has `service.name`.
    pub resource: Vec<Attribute<C>>,
    /// What each row becomes. At least one.
    pub signals: Vec<Signal<C>>,
}

/// A name and a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute<C = usize> {
    /// Not empty.
    pub name: String,
    /// Its value.
    pub value: Field<C>,
}

/// A value that each row has.
#[derive(Debug, Clone, PartialEq)]
pub enum Field<C = usize> {
    /// The same for all.
    Text(String),
    /// Its own. STRING, INT64, FLOAT64 or BOOLEAN in attributes, STRING in names.
    Column(C),
}

/// What a row becomes.
#[derive(Debug, Clone, PartialEq)]
pub enum Signal<C = usize> {
    /// A number at a time.
    Gauge(Gauge<C>),
    /// A distribution at a time.
    Summary(Summary<C>),
    /// Something that took time.
    Span(Span<C>),
}

/// What metrics have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric<C = usize> {
    /// As OpenTelemetry names instruments.
    pub name: String,
    /// May be empty.
    pub description: String,
    /// In UCUM's short form; may be empty.
    pub unit: String,
    /// TIME64NS.
    pub time: C,
    /// In the order of the script.
    pub attributes: Vec<Attribute<C>>,
}

/// A number at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge<C = usize> {
    /// Name, unit, time, attributes.
    pub metric: Metric<C>,
    /// INT64 or FLOAT64.
    pub value: C,
}

/// A distribution at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary<C = usize> {
    /// Name, unit, time, attributes.
    pub metric: Metric<C>,
    /// INT64.
    pub count: C,
    /// FLOAT64.
    pub sum: C,
    /// Quantiles from 0 to 1, and their FLOAT64. At least one.
    pub quantiles: Vec<(f64, C)>,
}

/// Something that took time.
#[derive(Debug, Clone, PartialEq)]
pub struct Span<C = usize> {
    /// A text or a STRING.
    pub name: Field<C>,
    /// TIME64NS.
    pub start: C,
    /// TIME64NS.
    pub end: C,
    /// STRING of 32 hexadecimal digits. Where there is none, or it is something else, one is made.
    pub trace_id: Option<C>,
    /// STRING of 16 hexadecimal digits. Where there is none, or it is something else, one is made.
    pub span_id: Option<C>,
    /// STRING of 16 hexadecimal digits. Where it is something else the span has no parent.
    pub parent_span_id: Option<C>,
    /// In the order of the script.
    pub attributes: Vec<Attribute<C>>,
    /// Its side.
    pub kind: SpanKind,
}

/// Which side a span tells of. Numbers are OTLP's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Not said.
    Unspecified = 0,
    /// Within a process.
    Internal = 1,
    /// Who answers.
    Server = 2,
    /// Who asks.
    Client = 3,
    /// Who sends a message.
    Producer = 4,
    /// Who takes a message.
    Consumer = 5,
}

impl SpanKind {
    /// All, with the names that scripts know.
    pub const ALL: [(&'static str, SpanKind); 6] = [
        ("SPAN_KIND_UNSPECIFIED", SpanKind::Unspecified),
        ("SPAN_KIND_INTERNAL", SpanKind::Internal),
        ("SPAN_KIND_SERVER", SpanKind::Server),
        ("SPAN_KIND_CLIENT", SpanKind::Client),
        ("SPAN_KIND_PRODUCER", SpanKind::Producer),
        ("SPAN_KIND_CONSUMER", SpanKind::Consumer),
    ];

    /// The number on the wire.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// From the number on the wire.
    pub fn from_number(number: i32) -> Option<SpanKind> {
        Self::ALL.into_iter().map(|(_, kind)| kind).find(|kind| kind.number() == number)
    }
}

impl<C> Attribute<C> {
    /// The same over other columns.
    ///
    /// # Errors
    /// The first that `column` gives.
    pub fn try_map<D, E>(&self, column: &mut impl FnMut(&C) -> Result<D, E>) -> Result<Attribute<D>, E> {
        Ok(Attribute { name: self.name.clone(), value: self.value.try_map(column)? })
    }
}

impl<C> Field<C> {
    fn try_map<D, E>(&self, column: &mut impl FnMut(&C) -> Result<D, E>) -> Result<Field<D>, E> {
        Ok(match self {
            Field::Text(text) => Field::Text(text.clone()),
            Field::Column(read) => Field::Column(column(read)?),
        })
    }
}

impl<C> Metric<C> {
    fn try_map<D, E>(&self, column: &mut impl FnMut(&C) -> Result<D, E>) -> Result<Metric<D>, E> {
        Ok(Metric {
            name: self.name.clone(),
            description: self.description.clone(),
            unit: self.unit.clone(),
            time: column(&self.time)?,
            attributes: attributes(&self.attributes, column)?,
        })
    }
}

impl<C> Signal<C> {
    /// The same over other columns.
    ///
    /// # Errors
    /// The first that `column` gives.
    pub fn try_map<D, E>(&self, column: &mut impl FnMut(&C) -> Result<D, E>) -> Result<Signal<D>, E> {
        Ok(match self {
            Signal::Gauge(Gauge { metric, value }) => Signal::Gauge(Gauge { metric: metric.try_map(column)?, value: column(value)? }),
            Signal::Summary(Summary { metric, count, sum, quantiles }) => Signal::Summary(Summary {
                metric: metric.try_map(column)?,
                count: column(count)?,
                sum: column(sum)?,
                quantiles: quantiles.iter().map(|(at, value)| Ok((*at, column(value)?))).collect::<Result<_, E>>()?,
            }),
            Signal::Span(span) => Signal::Span(Span {
                name: span.name.try_map(column)?,
                start: column(&span.start)?,
                end: column(&span.end)?,
                trace_id: span.trace_id.as_ref().map(&mut *column).transpose()?,
                span_id: span.span_id.as_ref().map(&mut *column).transpose()?,
                parent_span_id: span.parent_span_id.as_ref().map(&mut *column).transpose()?,
                attributes: attributes(&span.attributes, column)?,
                kind: span.kind,
            }),
        })
    }
}

fn attributes<C, D, E>(all: &[Attribute<C>], column: &mut impl FnMut(&C) -> Result<D, E>) -> Result<Vec<Attribute<D>>, E> {
    all.iter().map(|attribute| attribute.try_map(column)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_shows_no_values_of_its_headers() {
        let endpoint = Endpoint { headers: vec![("api-key".to_owned(), "hunter2".to_owned())], ..Endpoint::default() };
        let shown = format!("{endpoint:?}");
        assert!(shown.contains("api-key") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn kinds_of_spans_are_those_of_otlp() {
        assert_eq!((0..7).filter_map(SpanKind::from_number).count(), 6);
        assert_eq!(SpanKind::from_number(3), Some(SpanKind::Client));
    }
}
