//! HTTP/1.x: RFC 9110, RFC 9112.
//!
//! ```text
//! bytes ──▶ reader (one per direction: heads, framing, resynchronisation) ──▶ stitcher (which response answers which request) ──▶ Exchange
//!              head · body (lengths and chunks)                                 content (what a body's column shows)
//! ```

mod body;
mod content;
mod exchange;
mod head;
pub mod limits;
mod reader;
mod render;
mod repeats;
mod session;
mod stitcher;

pub use exchange::{ContentType, Exchange};
pub(crate) use head::Heads;
pub use render::{Body, RequestParts, ResponseParts, render_request, render_response};
pub use session::Session;
