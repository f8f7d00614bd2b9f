//! End-to-end tests on this machine's kernel: real servers and clients, the real `vizier`, the real `px`.
//!
//! ```text
//! servers and clients ── sockets ──► kernel ── ring ──► vizier ◄── px run -o json ── the test
//!        └────────────── what they say they sent and got ───────────────────────────► compares
//! ```

mod check;
mod docker;
mod process;
mod runtime;
mod vizier;

pub use check::{Expected, Side, compare};
pub use docker::{Docker, target_folder};
pub use process::{Process, binary, eventually};
pub use runtime::{Request, Runtime, Server, nginx, requests, send};
pub use vizier::{Vizier, skip_reason};
