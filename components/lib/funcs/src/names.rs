//! Names of numbers.

use std::borrow::Cow;

use pxl::SemanticRule;

use crate::builder::Builder;
use crate::kernel::{Int, Text, unary};

pub(crate) fn add(b: &mut Builder) {
    b.kernel("protocol_name", SemanticRule::None, unary::<Int, Text>(|n| named(PROTOCOLS, n)));
    b.kernel("grpc_status_code_to_str", SemanticRule::None, unary::<Int, Text>(|n| named(GRPC, n)));
    b.kernel("dns_rcode_name", SemanticRule::None, unary::<Int, Text>(|n| named(DNS_RCODES, n)));
    b.kernel(
        "http_resp_message",
        SemanticRule::None,
        unary::<Int, Text>(|n| {
            HTTP.iter().find(|(code, _)| *code == n).map_or(Cow::Borrowed("Unassigned"), |(_, text)| Cow::Borrowed(*text))
        }),
    );
}

fn named(names: &'static [&'static str], n: i64) -> Cow<'static, str> {
    let found = usize::try_from(n).ok().and_then(|n| names.get(n)).filter(|name| !name.is_empty());
    found.map_or_else(|| Cow::Owned(format!("Invalid ({n})")), |name| Cow::Borrowed(*name))
}

/// Column `protocol` of conn_stats. Reference: tables.md §2.
const PROTOCOLS: &[&str] =
    &["Unknown", "HTTP", "HTTP2", "MySQL", "CQL", "PGSQL", "DNS", "Redis", "NATS", "Mongo", "Kafka", "Mux", "AMQP", "TLS"];

/// RFC: gRPC status codes.
const GRPC: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// IANA: DNS RCODEs.
const DNS_RCODES: &[&str] =
    &["NoError", "FormErr", "ServFail", "NXDomain", "NotImp", "Refused", "YXDomain", "YXRRSet", "NXRRSet", "NotAuth", "NotZone"];

/// IANA: HTTP status codes.
const HTTP: &[(i64, &str)] = &[
    (100, "Continue"),
    (101, "Switching Protocols"),
    (102, "Processing"),
    (103, "Early Hints"),
    (200, "OK"),
    (201, "Created"),
    (202, "Accepted"),
    (203, "Non-Authoritative Information"),
    (204, "No Content"),
    (205, "Reset Content"),
    (206, "Partial Content"),
    (207, "Multi-Status"),
    (208, "Already Reported"),
    (226, "IM Used"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Found"),
    (303, "See Other"),
    (304, "Not Modified"),
    (305, "Use Proxy"),
    (307, "Temporary Redirect"),
    (308, "Permanent Redirect"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Timeout"),
    (409, "Conflict"),
    (410, "Gone"),
    (411, "Length Required"),
    (412, "Precondition Failed"),
    (413, "Content Too Large"),
    (414, "URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Range Not Satisfiable"),
    (417, "Expectation Failed"),
    (421, "Misdirected Request"),
    (422, "Unprocessable Content"),
    (423, "Locked"),
    (424, "Failed Dependency"),
    (425, "Too Early"),
    (426, "Upgrade Required"),
    (428, "Precondition Required"),
    (429, "Too Many Requests"),
    (431, "Request Header Fields Too Large"),
    (451, "Unavailable For Legal Reasons"),
    (500, "Internal Server Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Gateway Timeout"),
    (505, "HTTP Version Not Supported"),
    (506, "Variant Also Negotiates"),
    (507, "Insufficient Storage"),
    (508, "Loop Detected"),
    (510, "Not Extended"),
    (511, "Network Authentication Required"),
];
