//! The public API for Rust callers: a script in, Arrow batches out.
//!
//! ```text
//! Address ─ connect ─▶ Client ─ execute(Script) ─▶ Results ─ next ─▶ Event: table · rows · end of table · cost
//! ```

mod address;
mod connect;
mod decode;
mod error;
mod results;

pub use address::Address;
pub use connect::{Client, Script, ScriptFunc};
pub use error::{Error, Problem};
pub use results::{Cost, Event, Results, Table};
