use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Status};
use memchr::memchr;

use super::body::Framing;
use super::content::{ContentType, Policy};
use super::limits::{HEADERS_COLUMN_BYTES_MAX, HEADERS_MAX, TEXT_COLUMN_BYTES_MAX};
use super::repeats::Repeats;
use crate::text::{cut, lossy, push_json_string, push_json_word};

/// A request's head: what the row needs of it, and how its body ends.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) minor_version: u8,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: String,
    /// `None` where the end cannot be known.
    pub(super) framing: Option<Framing>,
    pub(super) policy: Policy,
}

/// A response's head, likewise. How its body ends depends on the request too.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) message: String,
    pub(super) headers: String,
    pub(super) content_type: ContentType,
    pub(super) lengths: Lengths,
    pub(super) policy: Policy,
}

/// What the head says of the body's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lengths {
    /// Nothing.
    Unsaid,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding` that ends in `chunked`; it overrides a length (RFC 9112 §6.3).
    Chunked,
    /// `Transfer-Encoding` that does not.
    OtherCoding,
    /// `Content-Length` that is no number, or several that differ.
    Contradicting,
}

/// Not a head of this protocol, or one that contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadHead;

/// What was made of header fields that came lately.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    requests: Repeats<(Lengths, Policy)>,
    responses: Repeats<(Lengths, Policy, ContentType)>,
}

/// The first line of a head, its end included, and the fields behind it, which mean the same behind any first line.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1))
}

/// `bytes` is a whole head, the empty line included, and begins with no empty line.
pub(super) fn parse_request(bytes: &[u8], heads: &mut Heads) -> Result<RequestHead, BadHead> {
    let (line, fields) = split(bytes);
    let config = {
        let mut config = ParserConfig::default();
        config.allow_multiple_spaces_in_request_line_delimiters(true);
        config
    };
    let mut request = httparse::Request::new(&mut []);
    // The line alone is a head that goes on.
    let parsed = config.parse_request(&mut request, line);
    let (Ok(Status::Partial), Some(method), Some(path), Some(minor_version)) = (parsed, request.method, request.path, request.version)
    else {
        return Err(BadHead);
    };
    let (headers, (lengths, policy)) = heads.requests.of(fields, || {
        let mut places = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        let parsed = config.parse_request_with_uninit_headers(&mut request, bytes, &mut places);
        let Ok(Status::Complete(_)) = parsed else { return Err(BadHead) };
        Ok((headers_json(request.headers), (lengths(request.headers), Policy::of_request(request.headers))))
    })?;
    let framing = match lengths {
        Lengths::Unsaid => Some(Framing::length(0)),
        Lengths::Length(length) => Some(Framing::length(length)),
        Lengths::Chunked => Some(Framing::chunked()),
        // RFC 9112 §6.3: the length cannot be known; a server answers 400.
        Lengths::OtherCoding | Lengths::Contradicting => None,
    };
    Ok(RequestHead {
        minor_version,
        method: cut(method.to_owned(), TEXT_COLUMN_BYTES_MAX),
        path: cut(path.to_owned(), TEXT_COLUMN_BYTES_MAX),
        policy,
        headers,
        framing,
    })
}

/// `bytes` is a whole head, the empty line included, and begins with no empty line.
pub(super) fn parse_response(bytes: &[u8], heads: &mut Heads) -> Result<ResponseHead, BadHead> {
    let (line, fields) = split(bytes);
    let config = {
        let mut config = ParserConfig::default();
        config
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_multiple_spaces_in_response_status_delimiters(true);
        config
    };
    let mut response = httparse::Response::new(&mut []);
    let parsed = config.parse_response(&mut response, line);
    let (Ok(Status::Partial), Some(status @ 100..)) = (parsed, response.code) else { return Err(BadHead) };
    let (headers, (lengths, policy, content_type)) = heads.responses.of(fields, || {
        let mut places = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut places);
        let Ok(Status::Complete(_)) = parsed else { return Err(BadHead) };
        let (policy, content_type) = Policy::of_response(response.headers);
        Ok((headers_json(response.headers), (lengths(response.headers), policy, content_type)))
    })?;
    Ok(ResponseHead {
        status,
        message: cut(response.reason.unwrap_or_default().to_owned(), TEXT_COLUMN_BYTES_MAX),
        content_type,
        lengths,
        policy,
        headers,
    })
}

impl ResponseHead {
    /// How the body ends that answers a request of `method`; `None` where that cannot be known. RFC 9112 §6.3.
    pub(super) fn framing(&self, method: &str) -> Option<Framing> {
        if method == "HEAD" || matches!(self.status, 100..200 | 204 | 304) {
            return Some(Framing::length(0));
        }
        match self.lengths {
            Lengths::Length(length) => Some(Framing::length(length)),
            Lengths::Chunked => Some(Framing::chunked()),
            Lengths::Unsaid | Lengths::OtherCoding => Some(Framing::UntilEnd),
            Lengths::Contradicting => None,
        }
    }
}

fn lengths(fields: &[Header<'_>]) -> Lengths {
    let (mut length, mut coding) = (None, None);
    for field in fields {
        // The length of the name decides almost every time.
        if field.name.len() == 14 && field.name.eq_ignore_ascii_case("content-length") {
            for value in field.value.split(|byte| *byte == b',') {
                let value = parse_length(value);
                length = if length.is_none_or(|known| known == value) { Some(value) } else { Some(None) };
            }
        } else if field.name.len() == 17 && field.name.eq_ignore_ascii_case("transfer-encoding") {
            coding = Some(field.value); // the last one names the last coding
        }
    }
    let last_coding = coding.map(|value| value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii());
    match (last_coding, length) {
        (Some(coding), _) if coding.eq_ignore_ascii_case(b"chunked") => Lengths::Chunked,
        (Some(coding), _) if !coding.eq_ignore_ascii_case(b"identity") => Lengths::OtherCoding,
        (_, Some(Some(length))) => Lengths::Length(length),
        (_, Some(None)) => Lengths::Contradicting,
        (_, None) => Lengths::Unsaid,
    }
}

/// Digits only: no sign, no space inside, nothing above 63 bits (sizes are INT64 columns).
fn parse_length(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let digits = std::str::from_utf8(value).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse::<i64>().ok().map(|length| length as u64)
}

/// One JSON object: names as sent, sorted without regard to case, repeated names as repeated members in their order.
fn headers_json(fields: &[Header<'_>]) -> String {
    // Few heads have more fields than this, and setting the large array to zero takes longer than sorting a few.
    let (mut few, mut many);
    let order: &mut [(u64, usize)] = if fields.len() <= 16 {
        few = [(0, 0); 16];
        &mut few[..fields.len()]
    } else {
        many = [(0, 0); HEADERS_MAX];
        &mut many[..fields.len()]
    };
    for (at, (place, field)) in order.iter_mut().zip(fields).enumerate() {
        *place = (sort_key(field.name), at);
    }
    order.sort_unstable_by(|a, b| {
        a.0.cmp(&b.0).then_with(|| lowercase(fields[a.1].name).cmp(lowercase(fields[b.1].name))).then(a.1.cmp(&b.1))
    });
    let len = fields.iter().map(|field| field.name.len() + field.value.len() + 6).sum::<usize>();
    let mut json = String::with_capacity(len + 2);
    json.push('{');
    for (_, at) in order.iter() {
        let field = &fields[*at];
        if json.len() > 1 {
            json.push(',');
        }
        push_json_word(&mut json, field.name);
        json.push(':');
        match std::str::from_utf8(field.value) {
            Ok(value) => push_json_string(&mut json, value),
            Err(_) => push_json_string(&mut json, &lossy(field.value)),
        }
    }
    json.push('}');
    cut(json, HEADERS_COLUMN_BYTES_MAX)
}

fn lowercase(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().map(|byte| byte.to_ascii_lowercase())
}

/// The first letters in lower case as a number: tells almost all names apart.
fn sort_key(name: &str) -> u64 {
    let key = name.bytes().take(8).fold(0, |key, byte| key << 8 | u64::from(byte.to_ascii_lowercase()));
    key << (8 * (8 - name.len().clamp(1, 8)))
}

/// The value of a field, by name.
pub(super) fn value_of<'a>(fields: &[Header<'a>], name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|field| field.name.len() == name.len() && field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response_lengths(headers: &str) -> Lengths {
        parse_response(format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes(), &mut Heads::default()).unwrap().lengths
    }

    #[test]
    fn lengths_follow_the_rfc() {
        for (headers, expected) in [
            ("", Lengths::Unsaid),
            ("Content-Length: 5\r\n", Lengths::Length(5)),
            ("content-length:  5 \r\n", Lengths::Length(5)),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Lengths::Length(5)),
            ("Content-Length: 5, 5\r\n", Lengths::Length(5)),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", Lengths::Contradicting),
            ("Content-Length: -1\r\n", Lengths::Contradicting),
            ("Content-Length: +1\r\n", Lengths::Contradicting),
            ("Content-Length: 0x10\r\n", Lengths::Contradicting),
            ("Content-Length: 1 2\r\n", Lengths::Contradicting),
            ("Content-Length: \r\n", Lengths::Contradicting),
            ("Content-Length: 99999999999999999999\r\n", Lengths::Contradicting),
            ("Content-Length: 9223372036854775808\r\n", Lengths::Contradicting),
            ("Content-Length: 9223372036854775807\r\n", Lengths::Length(i64::MAX as u64)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Lengths::Chunked),
            ("Transfer-Encoding: gzip, Chunked\r\n", Lengths::Chunked),
            ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", Lengths::Chunked),
            ("Transfer-Encoding: chunked, gzip\r\n", Lengths::OtherCoding),
            ("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", Lengths::Length(5)),
        ] {
            assert_eq!(response_lengths(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_request_that_cannot_be_read_is_bad_and_one_without_a_known_length_is_not() {
        let head = |headers: &str| parse_request(format!("POST / HTTP/1.1\r\n{headers}\r\n").as_bytes(), &mut Heads::default());
        assert_eq!(head("Transfer-Encoding: gzip\r\n").unwrap().framing, None);
        assert_eq!(head("Content-Length: -1\r\n").unwrap().framing, None);
        assert_eq!(head("Host : x\r\n").err(), Some(BadHead)); // RFC 9112 §5.1: no space before the colon
        assert_eq!(head(" folded: x\r\n").err(), Some(BadHead));
    }

    #[test]
    fn headers_are_a_sorted_multimap() {
        let head = parse_request(b"GET / HTTP/1.1\r\nb: 2\r\nA: 1\r\nB: \"1\"\r\na: \xff\r\n\r\n", &mut Heads::default()).unwrap();
        assert_eq!(head.headers, r#"{"A":"1","a":"�","b":"2","B":"\"1\""}"#);
    }
}
