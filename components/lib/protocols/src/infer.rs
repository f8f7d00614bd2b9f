use crate::Protocol;

/// Which half of a conversation a stream begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Its sender is the client.
    Request,
    /// Its sender is the server.
    Response,
}

/// What a stream's first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inference {
    /// This protocol, beginning with this message.
    Is(Protocol, Message),
    /// Nothing known speaks so.
    No,
    /// Too few bytes to tell.
    NeedMore,
}

/// As in the reference: fewer bytes make no HTTP.
const HTTP_BYTES_MIN: usize = 16;

/// Longest request line that is waited for when its method is not one of the well-known.
const UNKNOWN_METHOD_LINE_BYTES_MAX: usize = 4096;

/// Longest method: the longest registered one (`UPDATEREDIRECTREF`) has 17 letters.
pub(crate) const METHOD_BYTES_MAX: usize = 20;

/// Methods that stand for HTTP even before their line is complete.
pub(crate) const METHODS: [&[u8]; 9] = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"];

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Most empty-line bytes before a first request line (RFC 9112 §2.2) that are passed over: two lines.
const EMPTY_LINES_BYTES_MAX: usize = 4;

/// Which protocol a stream speaks that begins with `bytes`.
pub fn infer(bytes: &[u8]) -> Inference {
    let empty = bytes.iter().take(EMPTY_LINES_BYTES_MAX).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let bytes = &bytes[empty..];
    [infer_tls(bytes), infer_http2(bytes), infer_response(bytes), infer_request(bytes)].into_iter().fold(Inference::No, |so_far, next| {
        match (so_far, next) {
            (Inference::Is(..), _) | (Inference::NeedMore, Inference::No | Inference::NeedMore) => so_far,
            (Inference::No, _) | (Inference::NeedMore, Inference::Is(..)) => next,
        }
    })
}

/// Whether `bytes` are `pattern`'s beginning, or begin with it.
fn matches(bytes: &[u8], pattern: &[u8]) -> bool {
    let len = bytes.len().min(pattern.len());
    bytes[..len] == pattern[..len]
}

/// A handshake record that holds a hello.
fn infer_tls(bytes: &[u8]) -> Inference {
    match bytes {
        [0x16, 3, 0..=4, _, _, 1, ..] => Inference::Is(Protocol::Tls, Message::Request),
        [0x16, 3, 0..=4, _, _, 2, ..] => Inference::Is(Protocol::Tls, Message::Response),
        [] | [0x16] | [0x16, 3] | [0x16, 3, 0..=4] | [0x16, 3, 0..=4, _] | [0x16, 3, 0..=4, _, _] => Inference::NeedMore,
        _ => Inference::No,
    }
}

fn infer_http2(bytes: &[u8]) -> Inference {
    if !matches(bytes, HTTP2_PREFACE) {
        Inference::No
    } else if bytes.len() >= HTTP_BYTES_MIN {
        Inference::Is(Protocol::Http2, Message::Request)
    } else {
        Inference::NeedMore
    }
}

fn infer_response(bytes: &[u8]) -> Inference {
    if !matches(bytes, b"HTTP/1.") {
        return Inference::No;
    }
    match bytes.get(7..) {
        Some([b'0' | b'1', b' ', b'1'..=b'9', ..]) if bytes.len() >= HTTP_BYTES_MIN => Inference::Is(Protocol::Http, Message::Response),
        None | Some([] | [b'0' | b'1'] | [b'0' | b'1', b' '] | [b'0' | b'1', b' ', b'1'..=b'9', ..]) => Inference::NeedMore,
        Some(_) => Inference::No,
    }
}

fn infer_request(bytes: &[u8]) -> Inference {
    let yes = Inference::Is(Protocol::Http, Message::Request);
    let method_end = bytes.iter().take(METHOD_BYTES_MAX + 1).position(|byte| !byte.is_ascii_uppercase() && *byte != b'-' && *byte != b'_');
    let Some(method_end) = method_end else {
        return if bytes.len() <= METHOD_BYTES_MAX { Inference::NeedMore } else { Inference::No };
    };
    if method_end == 0 || bytes[method_end] != b' ' {
        return Inference::No;
    }
    if let Some(line_end) = bytes.iter().position(|byte| *byte == b'\n') {
        return if is_request_line(&bytes[..line_end]) { yes } else { Inference::No };
    }
    if bytes.iter().any(u8::is_ascii_control) && bytes.last() != Some(&b'\r') {
        return Inference::No;
    }
    // The line goes on. A well-known method with the beginning of a target will do: what is copied of a long line may be cut.
    let well_known = METHODS.contains(&&bytes[..method_end]);
    let target = &bytes[method_end + 1..];
    if !well_known {
        return if bytes.len() < UNKNOWN_METHOD_LINE_BYTES_MAX { Inference::NeedMore } else { Inference::No };
    }
    if &bytes[..method_end] != b"CONNECT" && !matches(target, b"/") && !matches(target, b"http") && !matches(target, b"*") {
        return Inference::No;
    }
    if bytes.len() >= HTTP_BYTES_MIN { yes } else { Inference::NeedMore }
}

/// Method, target and `HTTP/1.x`, without its end.
pub(crate) fn is_request_line(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some((rest, [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1'])) = line.split_last_chunk::<8>() else { return false };
    rest.strip_suffix(b" ").is_some_and(|rest| rest.contains(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_told_from_its_first_bytes() {
        let request = Inference::Is(Protocol::Http, Message::Request);
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], request),
            (b"GET / HTTP/1.1", Inference::NeedMore),
            (b"GET /a/long/path/that/goes/on", request),
            (b"PATCH /x HTTP/1.0\r\n", request),
            (b"PROPFIND /x HTTP/1.1\r\n", request),
            (b"PROPFIND /x", Inference::NeedMore),
            (b"CONNECT host.example:443", request),
            (b"GET key\r\n", Inference::No),
            (b"GET key-of-a-long-name-and-no-slash", Inference::No),
            (b"HTTP/1.1 200 OK\r\n", Inference::Is(Protocol::Http, Message::Response)),
            (b"HTTP/1.1 ", Inference::NeedMore),
            (b"HTTP/2 200 is not so", Inference::No),
            (b"\x16\x03\x01\x02\x00\x01", Inference::Is(Protocol::Tls, Message::Request)),
            (b"\x16\x03\x03\x02\x00\x02", Inference::Is(Protocol::Tls, Message::Response)),
            (b"\x16\x03", Inference::NeedMore),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Inference::Is(Protocol::Http2, Message::Request)),
            (b"", Inference::NeedMore),
            (b"*1\r\n$4\r\nPING\r\n", Inference::No),
            (b"\x4a\x00\x00\x00\x0a8.0", Inference::No),
        ] {
            assert_eq!(infer(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn every_beginning_of_a_request_is_waited_for_or_known() {
        let bytes = b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n";
        for len in 0..bytes.len() {
            assert_ne!(infer(&bytes[..len]), Inference::No, "{len}");
        }
    }
}
