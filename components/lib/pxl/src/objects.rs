//! Modules, methods and attributes.

mod aggregate;
mod frames;
mod metadata;
mod otel;
mod probes;
mod px;
mod read;
mod table_functions;
mod tracing;

pub(crate) use otel::{Otel, is_metric_name};
pub(crate) use px::{Builtin, globals};

use crate::diagnostics::{Code, Diagnostic, Result};
use crate::eval::Evaluator;
use crate::expr::Literal;
use crate::source::Span;
use crate::suggest::did_you_mean;
use crate::value::{Module, Sequence, Value};

/// Methods of a DataFrame. A column of the same name is read as `df['name']`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameMethod {
    Agg,
    Append,
    Drop,
    Groupby,
    Head,
    Merge,
    Stream,
}

impl FrameMethod {
    const ALL: [(&'static str, FrameMethod); 7] = [
        ("agg", FrameMethod::Agg),
        ("append", FrameMethod::Append),
        ("drop", FrameMethod::Drop),
        ("groupby", FrameMethod::Groupby),
        ("head", FrameMethod::Head),
        ("merge", FrameMethod::Merge),
        ("stream", FrameMethod::Stream),
    ];
}

/// Attributes of a DataFrame that the original has and we do not, yet.
const FRAME_UNSUPPORTED: [&str; 2] = ["rolling", "map"];

/// Whether `df.name` is something else than a column of that name.
pub(crate) fn is_frame_name(name: &str) -> bool {
    name == "ctx" || FrameMethod::ALL.iter().any(|(known, _)| *known == name)
}

impl<'a> Evaluator<'a> {
    /// `object.name`.
    pub(crate) fn get_attribute(&self, object: Value<'a>, name: &str, at: Span) -> Result<Value<'a>> {
        match object {
            Value::Module(Module::Px) => self.px_attribute(name, at),
            Value::Module(module @ (Module::Pxtrace | Module::Pxconfig)) => tracing::trace_attribute(module, name, at),
            Value::Module(module @ (Module::Otel | Module::OtelMetric | Module::OtelTrace | Module::Plugin)) => {
                self.otel_attribute(module, name, at)
            }
            Value::Unknown => Ok(Value::Unknown),
            Value::Frame(frame) => {
                if let Some((_, method)) = FrameMethod::ALL.iter().find(|(known, _)| *known == name) {
                    return Ok(Value::Method(frame, *method));
                }
                if name == "ctx" {
                    return Ok(Value::Ctx(frame));
                }
                if frame.relation.column(name).is_none() && FRAME_UNSUPPORTED.contains(&name) {
                    return Err(Diagnostic::new(Code::Unsupported, at, format!("dataframe method '{name}' is not supported")));
                }
                frame.read(name, at).map(Value::Expr)
            }
            Value::Grouped(grouped) => match name {
                "agg" => Ok(Value::GroupedMethod(grouped)),
                "rolling" => Err(Diagnostic::new(Code::Unsupported, at, "dataframe method 'rolling' is not supported")),
                _ => Err(Diagnostic::new(Code::Type, at, format!("'groupby()' should be followed by an 'agg()' not a {name}"))),
            },
            other => Err(Diagnostic::new(Code::Unknown, at, format!("'{}' object has no attribute '{name}'", other.kind()))),
        }
    }

    /// `object[index]`.
    pub(crate) fn get_item(&mut self, object: Value<'a>, index: Value<'a>, at: Span, whole: Span) -> Result<Value<'a>> {
        match object {
            Value::Unknown => Ok(Value::Unknown),
            Value::Frame(_) if index.is_unknown() => Ok(Value::Unknown),
            Value::Frame(frame) => self.frame_item(&frame, index, at),
            Value::Ctx(frame) => self.metadata(&frame, &index, at),
            Value::List(items) | Value::Tuple(items) => element(&items, &index, at),
            Value::Dict(dict) => {
                let found = dict.entries.iter().find(|(key, _)| key.as_literal().is_some() && key.as_literal() == index.as_literal());
                let missing = || {
                    let keys = dict.entries.iter().filter_map(|(key, _)| key.as_str());
                    let help = index.as_str().and_then(|name| did_you_mean(name, keys));
                    let key = index.as_str().map_or_else(|| index.kind(), |text| format!("'{text}'"));
                    Diagnostic::new(Code::Unknown, at, format!("the dictionary has no key {key}")).maybe_help(help)
                };
                found.map(|(_, value)| value.clone()).ok_or_else(missing)
            }
            other => Err(Diagnostic::new(Code::Type, whole, format!("'{}' object is not subscriptable", other.kind()))),
        }
    }
}

fn element<'a>(items: &Sequence<'a>, index: &Value<'a>, at: Span) -> Result<Value<'a>> {
    let Some(Literal::Int(index)) = index.as_literal() else {
        return Err(Diagnostic::new(Code::Type, at, format!("List indices must be integers, not {}", index.kind())));
    };
    let position = if *index < 0 { index.checked_add(items.items.len() as i64) } else { Some(*index) };
    let found = position.and_then(|position| usize::try_from(position).ok()).and_then(|position| items.items.get(position));
    found.cloned().ok_or_else(|| {
        Diagnostic::new(Code::Value, at, "List index out of range").with_help(format!("it has {} elements", items.items.len()))
    })
}
