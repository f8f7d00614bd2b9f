//! Sans-IO protocol parsers and stitchers: ordered bytes and times in, records out.
//!
//! ```text
//! infer      which protocol, from a stream's first bytes
//! session    one connection: the only entry; a line per protocol
//! http       HTTP/1.x: reader per direction, pairing, content
//! text       what columns do to text: cut, mark, escape
//! ```

pub mod http;
mod infer;
mod protocol;
mod session;
mod text;

pub use infer::{Inference, Message, infer};
pub use protocol::Protocol;
pub use session::{Chunk, Counters, Record, Session, Sink, Start, State, Stop};
pub use text::TRUNCATED;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
