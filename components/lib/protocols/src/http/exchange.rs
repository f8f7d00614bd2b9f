use std::time::Duration;

use ids::{MonoNs, Role, Upid};

/// What a response says it holds. The numbers are those of the `content_type` column.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum ContentType {
    /// Anything else.
    #[default]
    Other = 0,
    /// JSON.
    Json = 1,
    /// gRPC; never on HTTP/1.x.
    Grpc = 2,
}

/// A request and its response: a row of `http_events`, texts cut to the columns' limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The request's first byte.
    pub request_time: MonoNs,
    /// The (final) response's first byte.
    pub response_time: MonoNs,
    /// Request's last byte to response's first; zero if the response came first or a clock stepped.
    pub latency: Duration,
    /// 1.
    pub major_version: u8,
    /// 0 or 1, the request's.
    pub minor_version: u8,
    /// The response's.
    pub content_type: ContentType,
    /// GET, POST, …
    pub method: String,
    /// With the query, as sent.
    pub path: String,
    /// JSON object, names as sent, sorted; a repeated name is a repeated member.
    pub req_headers: String,
    /// First bytes, or what stands for them.
    pub req_body: String,
    /// All bytes of the content, without the framing of chunks.
    pub req_body_size: u64,
    /// 200, 404, …
    pub status: u16,
    /// Reason phrase; may be empty.
    pub message: String,
    /// As `req_headers`.
    pub resp_headers: String,
    /// First bytes, unpacked, or what stands for them.
    pub resp_body: String,
    /// As `req_body_size`, before unpacking.
    pub resp_body_size: u64,
    /// Who moved the response, else who moved the request.
    pub process: Upid,
    /// Which side is traced.
    pub role: Role,
}
