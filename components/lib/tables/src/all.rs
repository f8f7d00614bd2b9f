use crate::{
    Column, DataType,
    PatternType::{self, General, GeneralEnum, MetricCounter, MetricGauge, Structured},
    SemanticType as St, Table,
};
use DataType::{Boolean, Int64, String, Time64Ns, Uint128};

/// Every table there is, by name.
pub fn all() -> &'static [&'static Table] {
    &ALL
}

static ALL: [&Table; 5] = [&CONN_STATS, &HTTP_EVENTS, &PROBE_STATUS, &PROC_EXIT_EVENTS, &STIRLING_ERROR];

const fn column(name: &'static str, data_type: DataType, semantic_type: St, pattern_type: PatternType, text: &'static str) -> Column {
    Column { name, data_type, semantic_type, pattern_type, text }
}

/// One request and its response, HTTP/1.x.
pub static HTTP_EVENTS: Table = Table {
    name: "http_events",
    text: "One request and its response, HTTP/1.x.",
    columns: &[
        column("time_", Time64Ns, St::None, MetricCounter, "when the row came to be, UTC"),
        column("upid", Uint128, St::Upid, General, "the traced process"),
        column("remote_addr", String, St::IpAddress, General, "address of the peer"),
        column("remote_port", Int64, St::Port, General, "port of the peer"),
        column("local_addr", String, St::IpAddress, General, "address of the traced side"),
        column("local_port", Int64, St::Port, General, "port of the traced side"),
        column("trace_role", Int64, St::None, GeneralEnum, "traced side: 1 client, 2 server, 4 unknown"),
        column("encrypted", Boolean, St::None, GeneralEnum, "read through a TLS library"),
        column("major_version", Int64, St::None, GeneralEnum, "1 or 2"),
        column("minor_version", Int64, St::None, GeneralEnum, "0 or 1"),
        column("content_type", Int64, St::None, GeneralEnum, "of the response: 0 other, 1 JSON, 2 gRPC"),
        column("req_headers", String, St::None, Structured, "JSON object, names as sent"),
        column("req_method", String, St::HttpReqMethod, GeneralEnum, "GET, POST, …"),
        column("req_path", String, St::None, Structured, "with the query"),
        column("req_body", String, St::None, Structured, "first bytes, text"),
        column("req_body_size", Int64, St::Bytes, MetricGauge, "bytes, all of them"),
        column("resp_headers", String, St::None, Structured, "JSON object, names as sent"),
        column("resp_status", Int64, St::HttpRespStatus, GeneralEnum, "200, 404, …"),
        column("resp_message", String, St::HttpRespMessage, Structured, "reason phrase"),
        column("resp_body", String, St::None, Structured, "first bytes, text, unpacked"),
        column("resp_body_size", Int64, St::Bytes, MetricGauge, "bytes on the wire, all of them"),
        column("latency", Int64, St::DurationNs, MetricGauge, "request's last byte to response's first, ns"),
    ],
};

/// Connections of one process with one peer; counters are cumulative since the agent started.
pub static CONN_STATS: Table = Table {
    name: "conn_stats",
    text: "Connections of one process with one peer; counters are cumulative since the agent started.",
    columns: &[
        column("time_", Time64Ns, St::None, MetricCounter, "when the row came to be, UTC"),
        column("upid", Uint128, St::Upid, General, "the traced process"),
        column("remote_addr", String, St::IpAddress, General, "address of the peer"),
        column("remote_port", Int64, St::Port, General, "port of the peer; 0 where the traced side is the server"),
        column("trace_role", Int64, St::None, GeneralEnum, "traced side: 1 client, 2 server, 4 unknown"),
        column("addr_family", Int64, St::None, GeneralEnum, "0 unspecified, 1 IPv4, 2 IPv6, 3 Unix, 4 other"),
        column("protocol", Int64, St::None, GeneralEnum, "0 unknown, 1 HTTP, …"),
        column("ssl", Boolean, St::None, GeneralEnum, "TLS was seen"),
        column("conn_open", Int64, St::None, MetricCounter, "opened so far"),
        column("conn_close", Int64, St::None, MetricCounter, "closed so far"),
        column("conn_active", Int64, St::None, MetricGauge, "open now"),
        column("bytes_sent", Int64, St::Bytes, MetricCounter, "bytes so far"),
        column("bytes_recv", Int64, St::Bytes, MetricCounter, "bytes so far"),
    ],
};

/// The end of one process.
pub static PROC_EXIT_EVENTS: Table = Table {
    name: "proc_exit_events",
    text: "The end of one process.",
    columns: &[
        column("time_", Time64Ns, St::None, MetricCounter, "when the row came to be, UTC"),
        column("upid", Uint128, St::Upid, General, "the traced process"),
        column("exit_code", Int64, St::None, General, "as wait(2) gives it"),
        column("signal", Int64, St::None, General, "that ended it, 0 if none"),
        column("comm", String, St::None, General, "name of the task"),
    ],
};

/// State of a collector, or what it lost.
pub static STIRLING_ERROR: Table = Table {
    name: "stirling_error",
    text: "State of a collector, or what it lost.",
    columns: &[
        column("time_", Time64Ns, St::None, MetricCounter, "when the row came to be, UTC"),
        column("upid", Uint128, St::Upid, General, "the traced process"),
        column("source_connector", String, St::None, General, "which collector"),
        column("status", Int64, St::None, GeneralEnum, "0 is well; else a status code"),
        column("error", String, St::None, General, "what happened"),
        column("context", String, St::None, General, "JSON"),
    ],
};

/// State of one probe of a collector, or what it lost.
pub static PROBE_STATUS: Table = Table {
    name: "probe_status",
    text: "State of one probe of a collector, or what it lost.",
    columns: &[
        column("time_", Time64Ns, St::None, MetricCounter, "when the row came to be, UTC"),
        column("upid", Uint128, St::Upid, General, "the traced process"),
        column("source_connector", String, St::None, General, "which collector"),
        column("tracepoint", String, St::None, General, "which probe"),
        column("status", Int64, St::None, GeneralEnum, "0 is well; else a status code"),
        column("error", String, St::None, General, "what happened"),
        column("info", String, St::None, General, "JSON"),
    ],
};
