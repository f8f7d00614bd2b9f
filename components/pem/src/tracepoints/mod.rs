//! Tracepoints over the collectors' probes on functions.
//!
//! ```text
//! manager (agent) ── deploy, remove ──▶ Worker, a thread: finds file and function, attaches, polls each 20 ms
//!                 ◀── outcomes ────────    └─▶ rows of each call ── every 200 ms ──▶ the tracepoint's table
//! ```

mod calls;
mod choose;
mod worker;

pub(crate) use choose::NodeFacts;
pub(crate) use worker::{NodeTracepoints, OfPods};
