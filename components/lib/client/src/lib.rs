//! The public API for Rust callers: a script in, Arrow batches out; clusters and keys of a control plane.
//!
//! ```text
//! Address, Access ─ connect ─▶ Client ─ execute(Script) ─▶ Results ─ next ─▶ Event: table · rows · end of table · cost
//!                   └────────▶ Cloud ─ clusters · keys · login
//! ```

mod address;
mod cloud;
mod connect;
mod credentials;
mod decode;
mod error;
mod results;

pub use address::{Address, CLOUD_PORT};
pub use cloud::{Cloud, Key, KeyKind};
pub use connect::{Client, Script, ScriptFunc};
pub use credentials::{Access, Credentials};
pub use error::{Error, Problem};
pub use results::{Cost, Event, Results, Table};
