//! Node agent: collectors to conntrack to tables.
//!
//! ```text
//! kernel ── collectors (ring) ──► pipeline: conntrack ──► rows ── every 200 ms ──► table-store
//!    ▲                               │                                                 ▲
//!    └─────────── verdicts ──────────┘                          sealed every second ───┘
//!
//! metadata service ◀── bus: registration, heartbeats ──▶ Node ── dials ──▶ Kelvins, which read the tables
//! ```

mod agent;
mod args;
mod clock;
mod collect;
mod containers;
mod error;
mod losses;
mod metrics;
mod node;
mod pipeline;
mod processes;
mod rows;
mod run;
mod tracepoints;

pub use agent::{Pem, start};
pub use args::{Args, Capture, PemArgs};
pub use error::Error;
pub use processes::Processes;
pub use run::run;
