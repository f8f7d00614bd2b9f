//! Values as text: plain for programs, with units for people.

use arrow::array::{Array, AsArray as _};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use jiff::Timestamp;
use serde_json::Value as Json;
use tables::{ColumnDef, DataType, SemanticType};
use uuid::Uuid;

/// One value of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    /// A UPID or another 128-bit id.
    Id(Uuid),
    Time(i64),
}

impl Value<'_> {
    /// `array` is of the type that `data_type` stands for, and has the row.
    pub(crate) fn of(array: &dyn Array, data_type: DataType, row: usize) -> Value<'_> {
        match data_type {
            DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
            DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
            DataType::String => Value::Text(array.as_string::<i32>().value(row)),
            DataType::Uint128 => Value::Id(Uuid::from_slice(array.as_fixed_size_binary().value(row)).unwrap_or_default()),
            DataType::Time64Ns => Value::Time(array.as_primitive::<TimestampNanosecondType>().value(row)),
        }
    }

    /// Numbers are numbers; what JSON has no number for is null.
    pub(crate) fn json(&self) -> Json {
        match self {
            Value::Bool(value) => Json::from(*value),
            Value::Int(value) => Json::from(*value),
            Value::Float(value) => Json::from(*value),
            Value::Text(value) => Json::from(*value),
            Value::Id(value) => Json::from(value.to_string()),
            Value::Time(value) => Json::from(time(*value)),
        }
    }

    pub(crate) fn plain(&self) -> String {
        match self {
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Text(value) => (*value).to_owned(),
            Value::Id(value) => value.to_string(),
            Value::Time(value) => time(*value),
        }
    }

    /// As the column's meaning wants it. One line, without characters that would move the cursor.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a new meaning has no unit until it is given one")]
    pub(crate) fn pretty(&self, column: &ColumnDef) -> String {
        use SemanticType as S;
        if let Some(number) = self.number() {
            match column.semantic_type {
                S::Bytes => return bytes(number),
                S::DurationNs => return duration(number),
                S::Percent => return format!("{} %", significant(number * 100.0)),
                S::ThroughputPerNs => return format!("{} /sec", significant(number * 1e9)),
                S::ThroughputBytesPerNs => return format!("{}/sec", bytes(number * 1e9)),
                _ => {}
            }
        }
        match (self, column.semantic_type) {
            (Value::Float(value), _) => significant(*value),
            (Value::Text(text), S::ScriptReference) => visible(&label(text).unwrap_or_else(|| (*text).to_owned())),
            (Value::Text(text), S::Quantiles) => visible(&quantiles(text, significant).unwrap_or_else(|| (*text).to_owned())),
            (Value::Text(text), S::DurationNsQuantiles) => visible(&quantiles(text, duration).unwrap_or_else(|| (*text).to_owned())),
            (Value::Text(text), _) => visible(text),
            (Value::Bool(_) | Value::Int(_) | Value::Id(_) | Value::Time(_), _) => self.plain(),
        }
    }

    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            Value::Bool(_) | Value::Text(_) | Value::Id(_) | Value::Time(_) => None,
        }
    }
}

/// RFC 3339 with as many digits as there are.
fn time(unix_ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(unix_ns)).map_or_else(|_| unix_ns.to_string(), |time| time.to_string())
}

/// What was captured may hold anything, and a terminal obeys: control characters are shown, not sent.
fn visible(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

/// Digits that are shown of a float.
const SIGNIFICANT_DIGITS: i32 = 6;

fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-5..15).contains(&magnitude) {
        return format!("{value:.5e}");
    }
    let decimals = usize::try_from((SIGNIFICANT_DIGITS - 1 - magnitude).max(0)).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `value` in the largest unit of which there is at least one: one decimal below ten, none above.
fn scaled(value: f64, units: &[(&str, f64)]) -> String {
    let (unit, size) = units.iter().rev().find(|(_, size)| value.abs() >= *size).or(units.first()).copied().unwrap_or(("", 1.0));
    let amount = value / size;
    // Rounding to one decimal must not lead into the next unit's digits: 9.96 is 10.
    let text = if amount.abs() < 9.95 { format!("{amount:.1}") } else { format!("{amount:.0}") };
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}

fn bytes(value: f64) -> String {
    const UNITS: [(&str, f64); 6] = [
        ("B", 1.0),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("TiB", 1_099_511_627_776.0),
        ("PiB", 1_125_899_906_842_624.0),
    ];
    scaled(value, &UNITS)
}

fn duration(value_ns: f64) -> String {
    const UNITS: [(&str, f64); 4] = [("ns", 1.0), ("\u{b5}s", 1e3), ("ms", 1e6), ("s", 1e9)];
    const MINUTE_S: i64 = 60;
    const HOUR_S: i64 = 60 * MINUTE_S;
    const DAY_S: i64 = 24 * HOUR_S;
    let s = (value_ns / 1e9).round() as i64;
    let two = |large: &str, size: i64, small: &str, part: i64| format!("{} {large} {} {small}", s / size, (s.abs() % size) / part);
    match s.abs() {
        MINUTE_S..HOUR_S => two("min", MINUTE_S, "s", 1),
        HOUR_S..DAY_S => two("hours", HOUR_S, "min", MINUTE_S),
        DAY_S.. => two("days", DAY_S, "hours", HOUR_S),
        _ => scaled(value_ns, &UNITS),
    }
}

fn label(text: &str) -> Option<String> {
    serde_json::from_str::<Json>(text).ok()?.get("label")?.as_str().map(str::to_owned)
}

fn quantiles(text: &str, format: impl Fn(f64) -> String) -> Option<String> {
    let values = serde_json::from_str::<serde_json::Map<String, Json>>(text).ok()?;
    let parts = values.iter().map(|(name, value)| Some(format!("{name}: {}", format(value.as_f64()?))));
    Some(parts.collect::<Option<Vec<_>>>()?.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pretty(value: &Value<'_>, semantic_type: SemanticType) -> String {
        value.pretty(&ColumnDef { name: "c".to_owned(), data_type: DataType::String, semantic_type })
    }

    #[test]
    fn values_carry_the_unit_of_their_meaning() {
        use SemanticType as S;
        for (value, meaning, text) in [
            (Value::Int(1536), S::Bytes, "1.5 KiB"),
            (Value::Int(0), S::Bytes, "0 B"),
            (Value::Int(10_200), S::Bytes, "10 KiB"),
            (Value::Int(999), S::DurationNs, "999 ns"),
            (Value::Int(1_500), S::DurationNs, "1.5 \u{b5}s"),
            (Value::Int(12_345_678), S::DurationNs, "12 ms"),
            (Value::Int(59_400_000_000), S::DurationNs, "59 s"),
            (Value::Int(61_000_000_000), S::DurationNs, "1 min 1 s"),
            (Value::Int(3_720_000_000_000), S::DurationNs, "1 hours 2 min"),
            (Value::Int(90_000_000_000_000), S::DurationNs, "1 days 1 hours"),
            (Value::Float(0.125), S::Percent, "12.5 %"),
            (Value::Float(2e-9), S::ThroughputPerNs, "2 /sec"),
            (Value::Float(0.000_002_048), S::ThroughputBytesPerNs, "2 KiB/sec"),
            (Value::Float(1234.5678), S::None, "1234.57"),
            (Value::Float(0.000_000_1), S::None, "1.00000e-7"),
            (Value::Float(f64::NAN), S::None, "NaN"),
            (Value::Text(r#"{"label":"a","script":"px/x","args":{}}"#), S::ScriptReference, "a"),
            (Value::Text(r#"{"p50":1500,"p99":2000000}"#), S::DurationNsQuantiles, "p50: 1.5 \u{b5}s, p99: 2 ms"),
            (Value::Text("not JSON"), S::Quantiles, "not JSON"),
            (Value::Text("a\nb\u{1b}[31m\u{f6}"), S::None, "a\\nb\\u{1b}[31m\u{f6}"),
            (Value::Int(404), S::HttpRespStatus, "404"),
        ] {
            assert_eq!(pretty(&value, meaning), text);
        }
    }

    #[test]
    fn programs_get_numbers_times_and_ids_as_they_are() {
        assert_eq!(Value::Int(i64::MIN).json().to_string(), "-9223372036854775808");
        assert_eq!(Value::Float(0.5).json().to_string(), "0.5");
        assert_eq!(Value::Float(f64::NAN).json().to_string(), "null");
        assert_eq!(Value::Text("12").json().to_string(), "\"12\"");
        assert_eq!(Value::Time(1_700_000_000_123_456_789).plain(), "2023-11-14T22:13:20.123456789Z");
        assert_eq!(Value::Id(Uuid::from_u64_pair(1 << 32 | 2, 3)).plain(), "00000001-0000-0002-0000-000000000003");
    }
}
