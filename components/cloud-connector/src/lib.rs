//! A Vizier's way out: registers it with the control plane, tells how it is, carries messages both ways.
//!
//! ```text
//! broker ── HealthCheck ──┐                                      ┌── identity: a file
//! metadata ── agents ─────┼─► condition ─► heartbeats ─┐    machine: registering → greeting → up → waiting
//! bus ── v2c.<topic> ─────┴─► outbox: answers first ───┼─► bridge ──► control plane
//! bus ◄── c2v.<topic> ◄──────── route ◄────────────────┘
//! ```
//!
//! What to do next (`machine`), what to say (`condition`), where a message goes (`route`), which calls run (`calls`) and how metrics are relayed
//! (`remote_write`) are pure; `io` does it.

mod args;
mod calls;
mod condition;
mod error;
mod identity;
mod io;
mod machine;
mod metrics;
mod remote_write;
mod route;
mod run;

pub use args::Args;
pub use condition::{Agents, Answered, Condition, HEALTH_AGE_MAX, standing};
pub use error::Error;
pub use identity::{FileIdentity, Identity, IdentityStore};
pub use machine::{ACK_MAX, Effect, Event, HEARTBEAT_EVERY, Machine, RETRY_FIRST, RETRY_MAX, Refusal, WATCHDOG_MAX};
pub use remote_write::write_request;
pub use route::{Route, route};
pub use run::run;
