//! Times and durations as scripts write them.

use jiff::fmt::strtime;
use jiff::tz::Offset;

use crate::diagnostics::{Code, Diagnostic, Result};
use crate::expr::Literal;
use crate::source::Span;

const SECOND: i64 = 1_000_000_000;

/// Units of durations, longest first, as `px.format_duration` picks them. Reference: pxl.md §2.3.
const UNITS: [(&str, i64); 5] = [("d", 86_400 * SECOND), ("h", 3_600 * SECOND), ("m", 60 * SECOND), ("s", SECOND), ("ms", SECOND / 1000)];

/// Format of an absolute time. Fractions of seconds may be missing.
const ABSOLUTE: &str = "%Y-%m-%d %H:%M:%S%.f %z";

/// `-5m` in nanoseconds.
pub(crate) fn duration(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits_end = text.char_indices().find(|(i, c)| !(c.is_ascii_digit() || (*i == 0 && *c == '-'))).map(|(i, _)| i)?;
    let (number, unit) = text.split_at(digits_end);
    let (_, ns) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<i64>().ok()?.checked_mul(*ns)
}

pub(crate) fn parse_duration(text: &str, span: Span) -> Result<i64> {
    duration(text).ok_or_else(|| {
        Diagnostic::new(Code::Value, span, format!("Failed to parse duration: '{text}'"))
            .with_help("write a number and one of d, h, m, s, ms")
    })
}

/// Nanoseconds as the largest unit they fill at least once, cut off.
pub(crate) fn format_duration(ns: i64) -> String {
    let fits = UNITS.iter().find(|(_, unit)| ns.unsigned_abs() >= unit.unsigned_abs());
    fits.map_or_else(|| format!("{ns}ns"), |(name, unit)| format!("{}{name}", ns / unit))
}

/// A moment, in nanoseconds since the Unix epoch: a time, a number of nanoseconds, a duration from `now` or an absolute time.
pub(crate) fn moment(literal: &Literal, now: i64, span: Span) -> Result<i64> {
    match literal {
        Literal::Time(ns) | Literal::Int(ns) => Ok(*ns),
        Literal::Str(text) => {
            let relative = || duration(text).map(|ns| now.saturating_add(ns));
            relative().or_else(|| absolute(text)).ok_or_else(|| {
                Diagnostic::new(Code::Value, span, format!("Failed to parse time: '{text}'"))
                    .with_help("write a duration from now such as '-5m', or a time such as '2026-01-31 18:00:00 +0000'")
            })
        }
        Literal::Bool(_) | Literal::Float(_) | Literal::Uint128(_) => {
            Err(Diagnostic::new(Code::Type, span, format!("Expected a time, got '{}'", literal.data_type())))
        }
    }
}

fn absolute(text: &str) -> Option<i64> {
    let stamp = match text.parse::<jiff::Timestamp>() {
        Ok(stamp) => stamp,
        Err(_) => strtime::parse(ABSOLUTE, text).ok()?.to_timestamp().ok()?,
    };
    i64::try_from(stamp.as_nanosecond()).ok()
}

/// `px.strptime`: nanoseconds since the Unix epoch; UTC if the format has no zone.
pub(crate) fn strptime(text: &str, format: &str, span: Span) -> Result<i64> {
    let parse = || {
        let broken = strtime::parse(format, text).ok()?;
        let stamp = broken.to_timestamp().ok().or_else(|| Offset::UTC.to_timestamp(broken.to_datetime().ok()?).ok())?;
        i64::try_from(stamp.as_nanosecond()).ok()
    };
    parse().ok_or_else(|| {
        Diagnostic::new(Code::Value, span, format!("Failed to parse time: '{text}'")).with_help(format!("it is not of the form '{format}'"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_all_their_forms() {
        let at = |text: &str| moment(&Literal::Str(text.into()), 1_000 * SECOND, Span::default()).ok();
        assert_eq!(at("-5m"), Some(700 * SECOND));
        assert_eq!(at("10ms"), Some(1_000 * SECOND + 10_000_000));
        assert_eq!(at("1970-01-01 00:00:01 +0000"), Some(SECOND));
        assert_eq!(at("1970-01-01 01:00:01.5 +0100"), Some(SECOND + 500_000_000));
        assert_eq!(at("1970-01-01T00:00:02Z"), Some(2 * SECOND));
        for wrong in ["", "-", "5", "m", "5 m", "yesterday", "-5m-", "99999999999999999999d", "9999999999d"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
        assert_eq!(strptime("1970-01-02", "%Y-%m-%d", Span::default()).ok(), Some(86_400 * SECOND));
    }

    #[test]
    fn a_duration_is_shown_in_its_largest_unit() {
        assert_eq!(format_duration(90 * 60 * SECOND), "1h");
        assert_eq!(format_duration(-300 * SECOND), "-5m");
        assert_eq!(format_duration(7), "7ns");
    }
}
