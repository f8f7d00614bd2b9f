use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::runtime::Request;

/// Which side of a connection a row shall come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// `trace_role` 1.
    Client,
    /// `trace_role` 2.
    Server,
}

/// What rows there must be for a set of requests.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// What was sent.
    pub requests: &'a [Request],
    /// How many rows of each side there must be for each request: a reverse proxy makes two.
    pub sides: &'a [(Side, usize)],
    /// Whether the server echoes the contract's text, so that bodies can be compared.
    pub contract_bodies: bool,
}

/// Most bytes of a body in a row, before the mark that it was cut. Reference: tables.md §4.
const BODY_COLUMN_BYTES: usize = 512;

/// What is wrong with the rows: one line a fault, none if all is well.
pub fn compare(expected: &Expected<'_>, rows: &[Value]) -> String {
    let mut seen: BTreeMap<(&str, i64), Vec<&Value>> = BTreeMap::new();
    for row in rows {
        seen.entry((row["req_path"].as_str().unwrap_or(""), row["trace_role"].as_i64().unwrap_or(0))).or_default().push(row);
    }
    let mut faults = String::new();
    for request in expected.requests {
        for (side, count) in expected.sides {
            let role = if *side == Side::Client { 1 } else { 2 };
            let rows = seen.remove(&(request.path.as_str(), role)).unwrap_or_default();
            if rows.len() != *count {
                let _ = writeln!(faults, "{} {}: {} rows of {side:?}, not {count}", request.method, request.path, rows.len());
            }
            for row in rows {
                compare_row(expected, request, row, &mut faults);
            }
        }
    }
    for ((path, role), rows) in seen {
        let _ = writeln!(faults, "{path}: {} rows of role {role} that nobody asked for", rows.len());
    }
    faults
}

fn compare_row(expected: &Expected<'_>, request: &Request, row: &Value, faults: &mut String) {
    let mut must = |column: &str, value: Value| {
        if row[column] != value {
            let _ = writeln!(faults, "{} {}: {column} is {} and not {value}", request.method, request.path, row[column]);
        }
    };
    must("req_method", request.method.into());
    must("resp_status", request.status.into());
    must("req_body_size", request.body_bytes.into());
    must("encrypted", false.into());
    must("major_version", 1.into());
    if !expected.contract_bodies {
        return;
    }
    let has_body = request.method != "HEAD" && request.status != 204 && request.status != 304;
    let size = if has_body { request.size } else { 0 };
    must("resp_body_size", size.into());
    let marker = request.path.split_once("m=").map_or("", |(_, marker)| marker);
    let text = |marker: &str, size: usize| format!("{marker}.").repeat(size / (marker.len() + 1) + 1)[..size].to_owned();
    must("resp_body", column(&text(marker, size)).into());
    must("req_body", column(&text("b", request.body_bytes)).into());
    let latency = row["latency"].as_i64().unwrap_or(-1);
    if !(1..60_000_000_000).contains(&latency) {
        let _ = writeln!(faults, "{} {}: latency is {latency} ns", request.method, request.path);
    }
}

/// A text as a body column shows it.
fn column(text: &str) -> String {
    if text.len() <= BODY_COLUMN_BYTES { text.to_owned() } else { format!("{}... [TRUNCATED]", &text[..BODY_COLUMN_BYTES]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request() -> Request {
        Request { method: "GET", path: "/200/5?m=x-1".to_owned(), body_bytes: 0, status: 200, size: 5 }
    }

    fn row(role: i64) -> Value {
        json!({"req_path": "/200/5?m=x-1", "trace_role": role, "req_method": "GET", "resp_status": 200, "req_body_size": 0,
               "encrypted": false, "major_version": 1, "resp_body_size": 5, "resp_body": "x-1.x", "req_body": "", "latency": 7})
    }

    #[test]
    fn a_missing_a_doubled_and_a_wrong_row_are_faults() {
        let requests = [request()];
        let expected = Expected { requests: &requests, sides: &[(Side::Client, 1), (Side::Server, 1)], contract_bodies: true };
        assert_eq!(compare(&expected, &[row(1), row(2)]), "");
        assert_eq!(compare(&expected, &[row(1)]), "GET /200/5?m=x-1: 0 rows of Server, not 1\n");
        assert_eq!(compare(&expected, &[row(1), row(2), row(2)]), "GET /200/5?m=x-1: 2 rows of Server, not 1\n");
        assert_eq!(compare(&expected, &[row(1), row(2), row(4)]), "/200/5?m=x-1: 1 rows of role 4 that nobody asked for\n");
        let mut wrong = row(2);
        wrong["resp_status"] = 404.into();
        assert_eq!(compare(&expected, &[row(1), wrong]), "GET /200/5?m=x-1: resp_status is 404 and not 200\n");
    }
}
