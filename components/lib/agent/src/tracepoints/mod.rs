//! Tracepoints on one agent: deployed when asked, taken away when asked or when their time is over, how they stand said until it is heard.
//!
//! ```text
//! bus ── Register, Remove ──▶ Manager ── Deploy, Remove ──▶ Tracepoints (the agent's probes)
//!     ◀──── reports ─────────    ▲    ◀── Running, Failed, Removed ──┘
//!                                └ every two seconds: times to live, reports said again
//! ```

mod manager;
mod types;
mod watch;
mod wire;

pub use manager::{Manager, ManagerEffect, ManagerEvent, REPORT_PERIOD, TRACEPOINTS_MAX};
pub use types::{Body, Code, Deployment, Failure, Outcome, Probe, Program, Report, Selector, Stage, Target};
pub use watch::{MONITOR_PERIOD, Tracepoints, run_requests};
pub use wire::{TracepointRequest, decode_request, encode_report};
