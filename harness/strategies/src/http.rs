//! Generated HTTP/1.x conversations, and what they must be read as.

use ids::{Direction, MonoNs, Role};
use proptest::prelude::*;
use protocols::http::{Body, RequestParts, ResponseParts, render_request, render_response};
use protocols::{Start, TRUNCATED, http};

use crate::traffic::{Action, Script, Step, process};

/// A request and what answers it.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Asked.
    pub request: RequestParts,
    /// Status codes of interim responses.
    pub interim: Vec<u16>,
    /// Answered.
    pub response: ResponseParts,
}

/// What the peers of one connection say, in bursts: all requests of a burst are sent before its first response, and all its responses before the
/// next burst.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// Which side is traced.
    pub role: Role,
    /// Each not empty.
    pub bursts: Vec<Vec<Pair>>,
}

/// A body that tells which exchange it is of: `<m7>` over and over, or nothing.
fn body(may_be_absent: bool) -> impl Strategy<Value = BodyKind> {
    let len = prop_oneof![3 => 0..60_usize, 1 => 500..700_usize, 1 => 1000..5000_usize];
    prop_oneof![
        2 => Just(if may_be_absent { BodyKind::Absent } else { BodyKind::Length(0) }),
        4 => len.clone().prop_map(BodyKind::Length),
        3 => (prop::collection::vec(1..300_usize, 0..5), 0..3_usize).prop_map(|(chunks, trailers)| BodyKind::Chunked(chunks, trailers)),
    ]
}

#[derive(Debug, Clone)]
enum BodyKind {
    Absent,
    Length(usize),
    Chunked(Vec<usize>, usize),
}

/// So many bytes that tell which exchange they are of.
fn marked(marker: usize, len: usize) -> Vec<u8> {
    format!("<m{marker}>").into_bytes().into_iter().cycle().take(len).collect()
}

impl BodyKind {
    fn build(&self, marker: usize) -> Body {
        match self {
            BodyKind::Absent => Body::Absent,
            BodyKind::Length(len) => Body::Length(marked(marker, *len)),
            BodyKind::Chunked(lens, trailers) => {
                let all = marked(marker, lens.iter().sum());
                let mut rest = &all[..];
                let chunks = lens.iter().map(|len| {
                    let (chunk, tail) = rest.split_at(*len);
                    rest = tail;
                    chunk.to_vec()
                });
                let chunks = chunks.collect();
                Body::Chunked { chunks, trailers: (0..*trailers).map(|at| (format!("X-Trailer-{at}"), format!("m{marker}"))).collect() }
            }
        }
    }
}

fn header() -> impl Strategy<Value = (String, String)> {
    ("[A-Za-z][A-Za-z-]{0,12}", "[!-~]([ -~]{0,30}[!-~])?").prop_filter(
        "those that frame bodies, or tell what to show of them, are not free",
        |header| {
            let name = header.0.to_ascii_lowercase();
            !name.starts_with("content-") && name != "transfer-encoding" && name != "x-marker"
        },
    )
}

type PairParts = (&'static str, BodyKind, Vec<(String, String)>, Vec<u16>, u16, BodyKind, Vec<(String, String)>);

fn pair_parts() -> impl Strategy<Value = PairParts> {
    (
        prop::sample::select(vec!["GET", "GET", "GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "PROPFIND"]),
        body(true),
        prop::collection::vec(header(), 0..4),
        prop_oneof![6 => Just(Vec::new()), 1 => prop::collection::vec(prop::sample::select(vec![100_u16, 102, 103]), 1..3)],
        prop::sample::select(vec![200_u16, 200, 200, 201, 204, 301, 304, 404, 500]),
        body(false),
        prop::collection::vec(header(), 0..4),
    )
}

fn pair(marker: usize, parts: &PairParts) -> Pair {
    let (method, request_body, request_headers, interim, status, response_body, response_headers) = parts;
    let mark = |headers: &[(String, String)]| {
        let mut headers = headers.to_vec();
        headers.insert(headers.len() / 2, ("X-Marker".to_owned(), format!("m{marker}")));
        headers
    };
    let mut response_headers = mark(response_headers);
    response_headers.push(("Content-Type".to_owned(), "text/plain".to_owned()));
    let bodyless = matches!(status, 204 | 304);
    Pair {
        request: RequestParts {
            method: (*method).to_owned(),
            path: format!("/m{marker}?q=1"),
            minor_version: 1,
            headers: mark(request_headers),
            body: request_body.build(marker),
        },
        interim: interim.clone(),
        response: ResponseParts {
            minor_version: 1,
            status: *status,
            message: format!("Reason m{marker}"),
            headers: response_headers,
            body: if bodyless { Body::Absent } else { response_body.build(marker) },
            head_only: *method == "HEAD",
        },
    }
}

impl Conversation {
    /// Any conversation of a few bursts, most of them of one exchange.
    pub fn any() -> impl Strategy<Value = Conversation> {
        Conversation::of(prop_oneof![5 => 1..2_usize, 1 => 2..5_usize].boxed())
    }

    /// One exchange after the other.
    pub fn in_turns() -> impl Strategy<Value = Conversation> {
        Conversation::of((1..2_usize).boxed())
    }

    fn of(burst_len: BoxedStrategy<usize>) -> impl Strategy<Value = Conversation> {
        let burst = burst_len.prop_flat_map(|len| prop::collection::vec(pair_parts(), len));
        (prop::bool::ANY, prop::collection::vec(burst, 1..8)).prop_map(|(client, bursts)| {
            let mut marker = 0;
            let bursts = bursts.iter().map(|burst| {
                let pairs = burst.iter().map(|parts| {
                    marker += 1;
                    pair(marker, parts)
                });
                pairs.collect()
            });
            Conversation { bursts: bursts.collect(), role: if client { Role::Client } else { Role::Server } }
        })
    }

    /// As calls: a request is one, a response is one or, with a body, two; each takes a millisecond.
    pub fn script(&self) -> Script {
        let (asking, answering) = match self.role {
            Role::Client => (Direction::Sent, Direction::Received),
            Role::Server | Role::Unknown => (Direction::Received, Direction::Sent),
        };
        let mut steps = Vec::new();
        let mut call = |direction, bytes: &[u8]| {
            let at = MonoNs((steps.len() as u64 + 1) * 1_000_000);
            if !bytes.is_empty() {
                steps.push(Step { at, action: Action::Bytes { direction, bytes: bytes.to_vec(), process: process(1) } });
            }
        };
        for burst in &self.bursts {
            for pair in burst {
                call(asking, &render_request(&pair.request));
            }
            for pair in burst {
                for status in &pair.interim {
                    call(answering, format!("HTTP/1.1 {status} Interim\r\n\r\n").as_bytes());
                }
                let bytes = render_response(&pair.response);
                let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
                call(answering, &bytes[..head]);
                call(answering, &bytes[head..]);
            }
        }
        let at = MonoNs((steps.len() as u64 + 1) * 1_000_000);
        steps.push(Step { at, action: Action::End });
        Script { role: self.role, start: Start::Fresh, steps }
    }

    /// All pairs, in their order.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.bursts.iter().flatten()
    }
}

/// The content of a body, without its framing.
fn content(body: &Body) -> Vec<u8> {
    match body {
        Body::Absent => Vec::new(),
        Body::Length(bytes) | Body::UntilEnd(bytes) => bytes.clone(),
        Body::Chunked { chunks, .. } => chunks.concat(),
    }
}

fn cut(text: &str, max: usize) -> String {
    if text.len() > max { format!("{}{TRUNCATED}", &text[..max]) } else { text.to_owned() }
}

/// As a JSON object: sorted by name without regard to case, in their order where names are the same. The generated letters need two escapes.
fn json(headers: &[(String, String)], body: &Body) -> String {
    let mut all = headers.to_vec();
    match body {
        Body::Length(bytes) => all.push(("Content-Length".to_owned(), bytes.len().to_string())),
        Body::Chunked { .. } => all.push(("Transfer-Encoding".to_owned(), "chunked".to_owned())),
        Body::Absent | Body::UntilEnd(_) => {}
    }
    all.sort_by_key(|(name, _)| name.to_ascii_lowercase());
    let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let members: Vec<String> = all.iter().map(|(name, value)| format!("\"{}\":\"{}\"", escape(name), escape(value))).collect();
    format!("{{{}}}", members.join(","))
}

impl Pair {
    /// The fields of the record that do not depend on when and by whom bytes were moved, as text.
    pub fn expected(&self) -> Vec<String> {
        let (request, response) = (&self.request, &self.response);
        let bodyless = response.head_only;
        let (req_body, resp_body) = (content(&request.body), if bodyless { Vec::new() } else { content(&response.body) });
        let show = |body: &[u8]| cut(&String::from_utf8_lossy(body), http::limits::BODY_COLUMN_BYTES_MAX);
        vec![
            request.method.clone(),
            request.path.clone(),
            json(&request.headers, &request.body),
            show(&req_body),
            req_body.len().to_string(),
            response.status.to_string(),
            response.message.clone(),
            json(&response.headers, &response.body),
            show(&resp_body),
            resp_body.len().to_string(),
        ]
    }
}

/// The same fields of a record.
pub fn fields(exchange: &http::Exchange) -> Vec<String> {
    vec![
        exchange.method.clone(),
        exchange.path.clone(),
        exchange.req_headers.clone(),
        exchange.req_body.clone(),
        exchange.req_body_size.to_string(),
        exchange.status.to_string(),
        exchange.message.clone(),
        exchange.resp_headers.clone(),
        exchange.resp_body.clone(),
        exchange.resp_body_size.to_string(),
    ]
}

/// Which exchanges a record has parts of: the numbers of all markers in it.
pub fn markers(exchange: &http::Exchange) -> Vec<usize> {
    let text = [&exchange.path, &exchange.message].into_iter().flat_map(|text| numbers(text, "m", |letter| !letter.is_ascii_digit()));
    let headers = [&exchange.req_headers, &exchange.resp_headers]
        .into_iter()
        .flat_map(|text| numbers(text, "\"X-Marker\":\"m", |letter| letter == '"'));
    let bodies = [&exchange.req_body, &exchange.resp_body].into_iter().flat_map(|text| numbers(text, "<m", |letter| letter == '>'));
    let mut all: Vec<usize> = text.chain(headers).chain(bodies).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Every number in `text` that stands between `before` and a letter that ends it. One that is cut off tells nothing.
fn numbers(text: &str, before: &str, ends: impl Fn(char) -> bool) -> Vec<usize> {
    text.match_indices(before)
        .filter_map(|(at, _)| {
            let rest = &text[at + before.len()..];
            let digits = &rest[..rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len())];
            let ended = rest[digits.len()..].chars().next().map_or(before == "m", &ends);
            ended.then_some(digits)?.parse().ok()
        })
        .collect()
}

/// Bytes that look like HTTP here and there: pieces of heads, chunks, lengths, and noise.
pub fn noise() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /x HTTP/1.0\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n",
        "HTTP/1.0 204 \r\n",
        "CONNECT h:1 HTTP/1.1\r\n",
        "HEAD / HTTP/1.1\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Encoding: gzip\r\n",
        "Content-Type: text/plain\r\n",
        "Host: x\r\n",
        "\r\n",
        "\r\n\r\n",
        "\n\n",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "ffffffffffffffff\r\n",
        "fffffffffffffff\r\n",
        "hello",
        "GET GET GET ",
        "HTTP/1.1 ",
        "\u{16}\u{3}\u{1}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]);
    let piece = prop_oneof![8 => word.prop_map(|word| word.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..20)];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}
