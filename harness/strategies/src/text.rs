//! Words, times and quoted bytes of the case files; how records are shown.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use ids::MonoNs;
use protocols::Record;
use protocols::http::Exchange;

/// `2s`, `1.5ms`, `250us`, `10ns`.
///
/// # Errors
/// If it is none of these.
pub fn parse_time(word: &str) -> Result<MonoNs> {
    let unit_at = word.find(|letter: char| letter.is_ascii_alphabetic()).with_context(|| format!("`{word}` has no unit"))?;
    let scale = match &word[unit_at..] {
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1_000,
        "ns" => 1,
        _ => bail!("`{word}` is no time"),
    };
    let (whole, part) = word[..unit_at].split_once('.').unwrap_or((&word[..unit_at], ""));
    let whole: u64 = whole.parse().with_context(|| format!("`{word}` is no time"))?;
    let mut ns = whole * scale;
    let mut digit_ns = scale;
    for digit in part.chars() {
        digit_ns /= 10;
        ns += u64::from(digit.to_digit(10).with_context(|| format!("`{word}` is no time"))?) * digit_ns;
    }
    Ok(MonoNs(ns))
}

/// In the largest unit that leaves no fraction.
pub fn show_time(at: MonoNs) -> String {
    match at.0 {
        0 => "0".to_owned(),
        ns if ns % 1_000_000_000 == 0 => format!("{}s", ns / 1_000_000_000),
        ns if ns % 1_000_000 == 0 => format!("{}ms", ns / 1_000_000),
        ns if ns % 1_000 == 0 => format!("{}us", ns / 1_000),
        ns => format!("{ns}ns"),
    }
}

/// `"text\r\n\x00"`, perhaps with ` * 1000` behind.
///
/// # Errors
/// If the quotes or an escape are wrong.
pub fn parse_bytes(text: &str) -> Result<Vec<u8>> {
    let text = text.trim();
    let (quoted, count) = match text.rsplit_once("\" * ") {
        Some((quoted, count)) => (format!("{quoted}\""), count.parse::<usize>().with_context(|| format!("`{count}` is no count"))?),
        None => (text.to_owned(), 1),
    };
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).with_context(|| format!("`{text}` is not in quotes"))?;
    let mut bytes = Vec::new();
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '\\') {
            (_, false) => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            (_, true) => match letters.next() {
                Some('r') => bytes.push(b'\r'),
                Some('n') => bytes.push(b'\n'),
                Some('t') => bytes.push(b'\t'),
                Some('\\') => bytes.push(b'\\'),
                Some('"') => bytes.push(b'"'),
                Some('x') => {
                    let digits: String = letters.by_ref().take(2).collect();
                    bytes.push(u8::from_str_radix(&digits, 16).with_context(|| format!("`\\x{digits}` is no byte"))?);
                }
                other => bail!("`\\{}` is no escape", other.map(String::from).unwrap_or_default()),
            },
        }
    }
    Ok(bytes.repeat(count))
}

/// Lines of a case file, without comments and empty lines, and with the lines that go on (they are indented) joined to the line before.
pub fn lines(text: &str) -> Vec<(usize, String, Vec<&str>)> {
    let mut lines: Vec<(usize, String, Vec<&str>)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') => last.2.push(trimmed),
            _ => lines.push((at + 1, trimmed.to_owned(), Vec::new())),
        }
    }
    lines
}

/// A record, a field a line.
pub fn show_record(record: &Record) -> String {
    match record {
        Record::Http(exchange) => show_exchange(exchange),
    }
}

fn show_exchange(exchange: &Exchange) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<15} {value}");
    };
    let text = |text: &str| {
        if text.chars().any(char::is_control) || text.len() != text.trim().len() { format!("{text:?}") } else { text.to_owned() }
    };
    line("request_time", &show_time(exchange.request_time));
    line("response_time", &show_time(exchange.response_time));
    line("latency", &show_time(MonoNs(u64::try_from(exchange.latency.as_nanos()).unwrap_or(u64::MAX))));
    line("version", &format!("{}.{}", exchange.major_version, exchange.minor_version));
    line("role", &format!("{:?}", exchange.role).to_lowercase());
    line("pid", &exchange.process.pid().to_string());
    line("method", &text(&exchange.method));
    line("path", &text(&exchange.path));
    line("req_headers", &text(&exchange.req_headers));
    line("req_body", &text(&exchange.req_body));
    line("req_body_size", &exchange.req_body_size.to_string());
    line("status", &exchange.status.to_string());
    line("message", &text(&exchange.message));
    line("resp_headers", &text(&exchange.resp_headers));
    line("resp_body", &text(&exchange.resp_body));
    line("resp_body_size", &exchange.resp_body_size.to_string());
    line("content_type", &format!("{:?}", exchange.content_type).to_lowercase());
    out.lines().fold(String::new(), |all, line| all + line.trim_end() + "\n")
}

/// Name and value of each that is not zero, a line each.
pub fn show_counters(counters: impl Iterator<Item = (&'static str, u64)>) -> String {
    counters.filter(|(_, value)| *value > 0).fold(String::new(), |all, (name, value)| format!("{all}  {name:<24} {value}\n"))
}

/// A number.
///
/// # Errors
/// If it is none.
pub fn parse_number<T: std::str::FromStr>(word: &str) -> Result<T> {
    word.parse().map_err(|_| anyhow::anyhow!("`{word}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_bytes_are_read() {
        assert_eq!(parse_time("1.5ms").unwrap(), MonoNs(1_500_000));
        assert_eq!(show_time(MonoNs(1_500_000)), "1500us");
        assert_eq!(parse_bytes(r#""a\r\n\x00\"é" * 2"#).unwrap(), b"a\r\n\0\"\xc3\xa9a\r\n\0\"\xc3\xa9");
        assert!(parse_time("5").is_err() && parse_bytes("a").is_err() && parse_bytes(r#""\q""#).is_err());
    }
}
