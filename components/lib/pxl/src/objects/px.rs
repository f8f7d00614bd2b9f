//! Module `px` and the global names.

use tables::{DataType, SemanticType};

use super::otel::OtelFunction;
use crate::args::{Arg, Args, required};
use crate::diagnostics::{Code, Diagnostic, Result};
use crate::eval::Evaluator;
use crate::expr::{Literal, Typed};
use crate::otel_script::Displayed;
use crate::source::Span;
use crate::suggest::did_you_mean;
use crate::time::{format_duration, moment, parse_duration, strptime};
use crate::value::{Module, TypeName, Value};

/// Functions of `px` that run while the script compiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    DataFrame,
    Display,
    Debug,
    Now,
    /// So many of a unit of this many nanoseconds.
    Duration(i64),
    ParseDuration,
    FormatDuration,
    ParseTime,
    Strptime,
    EqualsAny,
    ScriptReference,
    Uint128,
    MakeUpid,
    Export,
    /// A function of `px.otel`.
    Otel(OtelFunction),
}

const BUILTINS: [(&str, Builtin); 19] = [
    ("DataFrame", Builtin::DataFrame),
    ("display", Builtin::Display),
    ("debug", Builtin::Debug),
    ("export", Builtin::Export),
    ("now", Builtin::Now),
    ("days", Builtin::Duration(86_400_000_000_000)),
    ("hours", Builtin::Duration(3_600_000_000_000)),
    ("minutes", Builtin::Duration(60_000_000_000)),
    ("seconds", Builtin::Duration(1_000_000_000)),
    ("milliseconds", Builtin::Duration(1_000_000)),
    ("microseconds", Builtin::Duration(1_000)),
    ("parse_duration", Builtin::ParseDuration),
    ("format_duration", Builtin::FormatDuration),
    ("parse_time", Builtin::ParseTime),
    ("strptime", Builtin::Strptime),
    ("equals_any", Builtin::EqualsAny),
    ("script_reference", Builtin::ScriptReference),
    ("uint128", Builtin::Uint128),
    ("make_upid", Builtin::MakeUpid),
];

/// Attributes of `px` that the original has and we do not, yet.
const UNSUPPORTED: [&str; 1] = ["vis"];

/// Modules within `px`.
const MODULES: [(&str, Module); 2] = [("otel", Module::Otel), ("plugin", Module::Plugin)];

const fn type_name(name: &'static str, data_type: DataType, semantic_type: SemanticType) -> TypeName {
    TypeName { name, data_type, semantic_type, is_list: false }
}

/// Types of `px`. Reference: pxl.md §1.
const TYPES: [TypeName; 10] = [
    type_name("Time", DataType::Time64Ns, SemanticType::None),
    type_name("Pod", DataType::String, SemanticType::PodName),
    type_name("Service", DataType::String, SemanticType::ServiceName),
    type_name("Node", DataType::String, SemanticType::NodeName),
    type_name("Namespace", DataType::String, SemanticType::NamespaceName),
    type_name("Container", DataType::String, SemanticType::ContainerName),
    type_name("UPID", DataType::Uint128, SemanticType::Upid),
    type_name("Bytes", DataType::Int64, SemanticType::Bytes),
    type_name("DurationNanos", DataType::Int64, SemanticType::DurationNs),
    type_name("Percent", DataType::Float64, SemanticType::Percent),
];

/// Names that every script sees.
pub(crate) fn globals<'a>() -> impl Iterator<Item = (&'static str, Value<'a>)> {
    [
        type_name("str", DataType::String, SemanticType::None),
        type_name("int", DataType::Int64, SemanticType::None),
        type_name("float", DataType::Float64, SemanticType::None),
        type_name("bool", DataType::Boolean, SemanticType::None),
        TypeName { is_list: true, ..type_name("list", DataType::String, SemanticType::None) },
    ]
    .into_iter()
    .map(|name| (name.name, Value::Type(name)))
}

impl<'a> Evaluator<'a> {
    pub(crate) fn px_attribute(&self, name: &str, at: Span) -> Result<Value<'a>> {
        if let Some((_, builtin)) = BUILTINS.iter().find(|(known, _)| *known == name) {
            return Ok(Value::Builtin(*builtin));
        }
        if let Some((_, module)) = MODULES.iter().find(|(known, _)| *known == name) {
            return Ok(Value::Module(*module));
        }
        if let Some(found) = TYPES.iter().find(|known| known.name == name) {
            return Ok(Value::Type(*found));
        }
        if let Some(found) = self.input.functions.names().find(|known| *known == name) {
            return Ok(Value::Registered(found));
        }
        if let Some(found) = self.input.functions.table_function(name) {
            return Ok(Value::TableFunction(found));
        }
        if UNSUPPORTED.contains(&name) {
            return Err(Diagnostic::new(Code::Unsupported, at, format!("'px.{name}' is not supported yet")));
        }
        let names = BUILTINS
            .iter()
            .map(|(name, _)| *name)
            .chain(MODULES.map(|(name, _)| name))
            .chain(TYPES.iter().map(|t| t.name))
            .chain(self.input.functions.names());
        let names = names.chain(self.input.functions.table_functions().map(|function| function.name));
        let help = did_you_mean(name, names);
        Err(Diagnostic::new(Code::Unknown, at, format!("No such attribute '{name}'")).maybe_help(help))
    }

    pub(crate) fn call_builtin(&mut self, builtin: Builtin, args: Args<'a>) -> Result<Value<'a>> {
        match builtin {
            Builtin::DataFrame => self.read_table(args),
            Builtin::Display => self.display(args, "display", ""),
            Builtin::Debug => self.display(args, "debug", "_"),
            Builtin::Now => args.bind_all::<0>("now", []).map(|[]| Value::int(self.input.now.0)),
            Builtin::Duration(unit) => {
                let [n] = args.bind_all("duration", ["unit"])?;
                Ok(Value::int(n.int("unit")?.saturating_mul(unit)))
            }
            Builtin::ParseDuration => {
                let [text] = args.bind_all("parse_duration", ["duration"])?;
                parse_duration(&text.str("duration")?, text.span).map(Value::int)
            }
            Builtin::FormatDuration => {
                let [ns] = args.bind_all("format_duration", ["duration"])?;
                Ok(Value::string(format_duration(ns.int("duration")?)))
            }
            Builtin::ParseTime => {
                let [time] = args.bind_all("parse_time", ["time"])?;
                let literal = time.value.as_literal().ok_or_else(|| time.expected("time known at compile time", "time"))?;
                Ok(Value::Expr(Typed::literal(Literal::Time(moment(literal, self.input.now.0, time.span)?))))
            }
            Builtin::Strptime => {
                let [text, format] = args.bind_all("strptime", ["date_string", "format"])?;
                strptime(&text.str("date_string")?, &format.str("format")?, text.span).map(Value::int)
            }
            Builtin::EqualsAny => self.equals_any(args),
            Builtin::ScriptReference => self.script_reference(args),
            Builtin::Uint128 => uint128(args),
            Builtin::MakeUpid => make_upid(args),
            Builtin::Export => self.export(args),
            Builtin::Otel(function) => self.call_otel(function, args),
        }
    }

    fn display(&mut self, args: Args<'a>, function: &str, prefix: &str) -> Result<Value<'a>> {
        let at = args.span;
        let mut slots = args.bind(function, &["out", "name"])?.into_iter();
        let out = required(slots.next().flatten(), function, "out", at)?;
        let name = match slots.next().flatten() {
            None => "output".into(),
            Some(arg) => arg.str("name")?,
        };
        if let Value::Grouped(_) = out.value {
            return Err(Diagnostic::new(Code::Type, out.span, format!("'groupby()' should be followed by an 'agg()' not a {function}()")));
        }
        let frame = out.frame("out")?;
        if !(self.display_off && prefix.is_empty()) {
            self.add_output(frame, &format!("{prefix}{name}"), at)?;
            if prefix.is_empty() {
                let relation = (*frame.relation).clone();
                self.displayed.push(Displayed { at, frame: out.span, name: name.to_string(), relation });
            }
        }
        Ok(Value::None)
    }

    /// `px.equals_any(value, list)`: equal to one of them.
    fn equals_any(&mut self, args: Args<'a>) -> Result<Value<'a>> {
        let at = args.span;
        let [value, comparisons] = args.bind_all("equals_any", ["value", "comparisons"])?;
        let value = value.expr("value")?;
        let (Value::List(items) | Value::Tuple(items)) = &comparisons.value else {
            return Err(Diagnostic::new(Code::Type, comparisons.span, "'comparisons' must be a collection"));
        };
        let mut any: Option<Value<'a>> = None;
        for (i, item) in items.items.iter().enumerate() {
            let Value::Expr(item) = item else {
                let message = format!("Expected item in index {i} be an expression, received {}", item.kind());
                return Err(Diagnostic::new(Code::Type, comparisons.span, message));
            };
            let equal = self.operator("equal", vec![value.clone(), item.clone()], at)?;
            any = Some(match (any, equal) {
                (Some(Value::Expr(before)), Value::Expr(equal)) => self.operator("logicalOr", vec![before, equal], at)?,
                (_, equal) => equal,
            });
        }
        any.ok_or_else(|| Diagnostic::new(Code::Value, comparisons.span, "'comparisons' cannot be an empty collection"))
    }

    /// `px.script_reference(label, script, args)`: a link to a script, for user interfaces.
    fn script_reference(&mut self, args: Args<'a>) -> Result<Value<'a>> {
        let at = args.span;
        let mut slots = args.bind("script_reference", &["label", "script", "args"])?.into_iter();
        let mut exprs = Vec::new();
        for name in ["label", "script"] {
            let arg = required(slots.next().flatten(), "script_reference", name, at)?;
            exprs.push(arg.expr(name)?.clone());
        }
        if let Some(arg) = slots.next().flatten() {
            let Value::Dict(dict) = &arg.value else {
                let message = format!(
                    "Expected third argument 'args' of function 'script_reference' to be a dictionary, received {}",
                    arg.value.kind()
                );
                return Err(Diagnostic::new(Code::Type, arg.span, message));
            };
            for (key, value) in &dict.entries {
                let (Value::Expr(key), Value::Expr(value)) = (key, value) else {
                    let message = format!(
                        "Expected dictionary values to be of type string, column, or function in third argument 'args' to function 'script_reference', received {}",
                        value.kind()
                    );
                    return Err(Diagnostic::new(Code::Type, arg.span, message));
                };
                exprs.extend([key.clone(), value.clone()]);
            }
        }
        Typed::call(self.input.functions, "_script_reference", exprs, at).map(Value::Expr)
    }
}

fn uint128(args: Args<'_>) -> Result<Value<'_>> {
    let [text] = args.bind_all("uint128", ["uuid"])?;
    let given = text.str("uuid")?;
    let value = uuid_bits(&given).ok_or_else(|| Diagnostic::new(Code::Value, text.span, format!("'{given}' is not a UUID")))?;
    Ok(Value::Expr(Typed::literal(Literal::Uint128(value))))
}

/// 32 hexadecimal digits, with or without the dashes of a UUID.
fn uuid_bits(text: &str) -> Option<u128> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    (digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| u128::from_str_radix(&digits, 16).ok())?
}

fn make_upid(args: Args<'_>) -> Result<Value<'_>> {
    let [asid, pid, ts] = args.bind_all("make_upid", ["asid", "pid", "ts_ns"])?;
    let small = |arg: &Arg<'_>, name: &str| {
        let value = arg.int(name)?;
        u32::try_from(value).map_err(|_| {
            let message = format!("{name} value '{value}' out of range for a 32-bit number (min is 0 and max is {})", u32::MAX);
            Diagnostic::new(Code::Value, arg.span, message)
        })
    };
    let upid = ids::Upid::new(ids::Asid(small(&asid, "asid")?), small(&pid, "pid")?, ts.int("ts_ns")? as u64);
    let literal = Typed::literal(Literal::Uint128(u128::from_be_bytes(upid.to_be_bytes())));
    Ok(Value::Expr(literal.meaning(SemanticType::Upid)))
}
