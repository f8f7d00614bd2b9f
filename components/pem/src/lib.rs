//! Node agent: collectors to conntrack to tables.
//!
//! ```text
//! kernel ── collectors (ring) ──► pipeline: conntrack ──► rows ── every 200 ms ──► table-store
//!    ▲                               │                                                 ▲
//!    └─────────── verdicts ──────────┘                          sealed every second ───┘
//! ```

mod agent;
mod args;
mod clock;
mod collect;
mod error;
mod losses;
mod pipeline;
mod processes;
mod rows;

pub use agent::{Pem, start};
pub use args::{Capture, PemArgs};
pub use error::Error;
pub use processes::Processes;
