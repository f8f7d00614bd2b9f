//! JSON in text. What is not there, or is not JSON, gives the type's default.

use std::borrow::Cow;
use std::sync::Arc;

use pxl::SemanticRule;
use serde_json::Value;
use tables::{DataType, SemanticType};

use crate::builder::Builder;
use crate::kernel::{Float, Int, Kernel, Kind, Overload, Text, binary};

/// Name and value pairs of a script reference. Reference: `px.script_reference`, udfs.tsv.
const REFERENCE_ARGS_MAX: usize = 8;

pub(crate) fn add(b: &mut Builder) {
    let none = || SemanticRule::None;
    b.kernel("pluck", none(), binary::<Text, Text, Text>(|json, key| Cow::Owned(member(json, key).map(text).unwrap_or_default())));
    b.kernel("pluck_int64", none(), binary::<Text, Text, Int>(|json, key| member(json, key).map_or(0, |value| int(&value))));
    b.kernel("pluck_float64", none(), binary::<Text, Text, Float>(|json, key| member(json, key).map_or(0.0, |value| float(&value))));
    b.kernel(
        "pluck_array",
        none(),
        binary::<Text, Int, Text>(|json, index| Cow::Owned(element(json, index).map(text).unwrap_or_default())),
    );
    b.kernel("split", none(), binary::<Text, Text, Text>(|text, delimiter| Cow::Owned(split(text, delimiter))));
    for pairs in 0..=REFERENCE_ARGS_MAX {
        b.kernel("_script_reference", SemanticRule::Always(SemanticType::ScriptReference), script_reference(pairs));
    }
}

fn member(json: &str, key: &str) -> Option<Value> {
    match serde_json::from_str(json).ok()? {
        Value::Object(mut members) => members.remove(key),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

fn element(json: &str, index: i64) -> Option<Value> {
    match serde_json::from_str(json).ok()? {
        Value::Array(mut items) => usize::try_from(index).ok().filter(|index| *index < items.len()).map(|index| items.swap_remove(index)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => None,
    }
}

/// A string as it is, anything else as JSON.
fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn int(value: &Value) -> i64 {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|f| f as i64)).unwrap_or(0),
        Value::String(text) => text.parse().unwrap_or(0),
        Value::Bool(value) => i64::from(*value),
        Value::Null | Value::Array(_) | Value::Object(_) => 0,
    }
}

fn float(value: &Value) -> f64 {
    match value {
        Value::Number(number) => number.as_f64().unwrap_or(0.0),
        Value::String(text) => text.parse().unwrap_or(0.0),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => 0.0,
    }
}

fn split(text: &str, delimiter: &str) -> String {
    let parts = if delimiter.is_empty() { vec![text] } else { text.split(delimiter).collect() };
    Value::from(parts).to_string()
}

/// `{label, script, args}` with so many arguments.
fn script_reference(pairs: usize) -> Overload {
    let kernel: Kernel = Arc::new(move |columns, rows| {
        let readers = (0..2 + 2 * pairs).map(|arg| columns.reader::<Text>(arg)).collect::<datafusion::common::Result<Vec<_>>>()?;
        Text::collect((0..rows).map(|row| {
            let args = readers[2..].chunks_exact(2).map(|pair| (pair[0].row(row).to_owned(), Value::from(pair[1].row(row))));
            let args: serde_json::Map<String, Value> = args.collect();
            Cow::Owned(serde_json::json!({ "label": readers[0].row(row), "script": readers[1].row(row), "args": args }).to_string())
        }))
    });
    Overload { args: vec![DataType::String; 2 + 2 * pairs], returns: DataType::String, kernel }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_as_what_is_asked_for() {
        let json = r#"{"a": "x", "b": 7, "c": 1.5, "d": [1, {"e": 2}], "f": "12"}"#;
        let at = |key: &str| member(json, key);
        assert_eq!(at("a").map(text).unwrap(), "x");
        assert_eq!(at("d").map(text).unwrap(), r#"[1,{"e":2}]"#);
        assert_eq!((int(&at("b").unwrap()), int(&at("f").unwrap()), int(&at("c").unwrap()), int(&at("d").unwrap())), (7, 12, 1, 0));
        assert!((float(&at("c").unwrap()) - 1.5).abs() < f64::EPSILON);
        assert_eq!(at("z"), None);
        assert_eq!(member("nonsense", "a"), None);
        assert_eq!(element("[1,2]", 1).map(text).unwrap(), "2");
        assert_eq!((element("[1,2]", 2), element("[1,2]", -1), element("{}", 0)), (None, None, None));
        assert_eq!(split("a,b", ","), r#"["a","b"]"#);
        assert_eq!(split("a", ""), r#"["a"]"#);
    }
}
