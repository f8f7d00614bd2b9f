use std::io::Write as _;

/// How a message's body is put on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// None, and no header about it.
    Absent,
    /// With `Content-Length`.
    Length(Vec<u8>),
    /// In these chunks, none of them empty; an empty list is an empty body.
    Chunked {
        /// The data.
        chunks: Vec<Vec<u8>>,
        /// `name: value` behind the last chunk.
        trailers: Vec<(String, String)>,
    },
    /// Until the connection closes.
    UntilEnd(Vec<u8>),
}

/// A request, as its sender means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestParts {
    /// GET, POST, …
    pub method: String,
    /// Target.
    pub path: String,
    /// 0 or 1.
    pub minor_version: u8,
    /// In their order, without those that say how long the body is.
    pub headers: Vec<(String, String)>,
    /// [`Body::UntilEnd`] is not for requests.
    pub body: Body,
}

/// A response, as its sender means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseParts {
    /// 0 or 1.
    pub minor_version: u8,
    /// 200, 404, …
    pub status: u16,
    /// Reason phrase.
    pub message: String,
    /// In their order, without those that say how long the body is.
    pub headers: Vec<(String, String)>,
    /// The content.
    pub body: Body,
    /// Whether the body is left out although the head announces it: the answer to `HEAD`.
    pub head_only: bool,
}

/// The request's bytes: the inverse of reading it.
pub fn render_request(request: &RequestParts) -> Vec<u8> {
    let mut out = format!("{} {} HTTP/1.{}\r\n", request.method, request.path, request.minor_version).into_bytes();
    push_headers(&mut out, &request.headers);
    push_body(&mut out, &request.body, false);
    out
}

/// The response's bytes: the inverse of reading it.
pub fn render_response(response: &ResponseParts) -> Vec<u8> {
    let mut out = format!("HTTP/1.{} {:03} {}\r\n", response.minor_version, response.status, response.message).into_bytes();
    push_headers(&mut out, &response.headers);
    push_body(&mut out, &response.body, response.head_only);
    out
}

fn push_headers(out: &mut Vec<u8>, headers: &[(String, String)]) {
    for (name, value) in headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn push_body(out: &mut Vec<u8>, body: &Body, head_only: bool) {
    match body {
        Body::Absent => out.extend_from_slice(b"\r\n"),
        Body::Length(bytes) => {
            let _ = write!(out, "Content-Length: {}\r\n\r\n", bytes.len());
            if !head_only {
                out.extend_from_slice(bytes);
            }
        }
        Body::UntilEnd(bytes) => {
            out.extend_from_slice(b"\r\n");
            if !head_only {
                out.extend_from_slice(bytes);
            }
        }
        Body::Chunked { chunks, trailers } => {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            if head_only {
                return;
            }
            for chunk in chunks {
                let _ = write!(out, "{:x}\r\n", chunk.len());
                out.extend_from_slice(chunk);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n");
            push_headers(out, trailers);
            out.extend_from_slice(b"\r\n");
        }
    }
}
