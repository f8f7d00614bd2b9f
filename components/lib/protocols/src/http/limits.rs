//! What is kept and waited for, and why.

use std::time::Duration;

/// Most bytes of a body that are kept while it is read. Reference: `http_body_limit_bytes`.
pub const BODY_KEPT_BYTES_MAX: usize = 1024;

/// Most bytes of a body in a row. Reference: `max_body_bytes` (`PL_STIRLING_MAX_BODY_BYTES`).
pub const BODY_COLUMN_BYTES_MAX: usize = 512;

/// Most bytes of headers in a row. Reference: the column's override of the record builder.
pub const HEADERS_COLUMN_BYTES_MAX: usize = 8192;

/// Most bytes of any other text in a row. Reference: the record builder's default.
pub const TEXT_COLUMN_BYTES_MAX: usize = 1024;

/// Most header fields of a message; a head with more is a bad one. The reference takes 50; proxies in front of proxies add dozens, so we take twice
/// as many, which costs 3 KiB of stack.
pub const HEADERS_MAX: usize = 100;

/// Longest head. Servers refuse heads above 8 to 64 KiB (Apache 8, nginx 32, Node 16, Go 1024 by default); memory per direction is bounded by it.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Longest line of a chunk's size with its extensions, and longest trailer section: as much as Node and hyper take.
pub const CHUNK_LINE_BYTES_MAX: usize = 16 * 1024;

/// Most requests that wait for their response on one connection. wrk and h2load pipeline up to 100.
pub const REQUESTS_WAITING_MAX: usize = 256;

/// How long a response waits for a request that was not seen yet. Another thread's call may be reported later than the answer to it, by as much as
/// the tracker waits for a hole in the requests (50 ms), and as much again for the agent itself.
pub const HOLD_MAX: Duration = Duration::from_millis(100);

/// Most bytes of responses that wait so: a receive buffer's worth.
pub const HELD_BYTES_MAX: usize = 256 * 1024;

/// A client's own request may be reported this much later than it was sent, when its thread was interrupted on its way out of the kernel. After
/// a loss, a request this near to the previous response may have been answered by it.
pub const CLIENT_REPORT_DELAY_MAX: Duration = Duration::from_micros(100);

/// Most bad heads of a connection in a row before it is left alone: it is not HTTP, or not any more.
pub const BAD_HEADS_MAX: u32 = 32;

/// Most bytes in a row that are searched for a head before the connection is left alone: more than the downloads and uploads that a connection
/// which is older than the agent may be in, less than a stream that never ends.
pub const SEARCHED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Header fields that are remembered, of requests and of responses, to be recognised when they are repeated: a few for each of the services of a busy node.
pub const REPEATS_MAX: usize = 256;

/// Longer header fields are not remembered. With the column that was made of them, all together take 1.5 MiB at most.
pub const REPEATED_FIELDS_BYTES_MAX: usize = 1024;
