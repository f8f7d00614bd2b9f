//! What PEM and Kelvin share: their life on the bus, the channel that a PEM dials back, and the tasks of queries on it.
//!
//! ```text
//! agent                                           metadata service
//! Membership ── registration, heartbeats ───────▶ says who the agent is, and which Kelvins are alive
//!   └─ cluster ─▶ DialSet: a Dialer for each of them
//!
//! PEM                                             Kelvin
//! Dialer ── TCP, mutual TLS ── Hello ───────────▶ Hub: one connection for each agent
//!   │  ◀────────── gRPC, Kelvin is the client ───  │ implements engine's AgentTransport
//!   ├─ worker protocol (engine's AgentWorker)      └─ PeerLink: streams of rows, EndQuery
//!   └─ AgentControl/EndQuery
//! ```
//!
//! A PEM opens no port. Connections are served by one runtime and rows are made by another ([`Compute`]): a query that takes all of the
//! processor would otherwise starve the keep-alive, and healthy agents would be taken for dead.

mod backoff;
mod compute;
mod control;
mod debug_tables;
mod dial;
mod error;
mod hello;
pub mod host;
mod hub;
mod io;
mod kelvins;
pub mod life;
mod link;
mod membership;
mod metrics;
pub mod names;
mod node_args;
mod own_threads;
pub mod schema;
pub mod tracepoints;
pub mod wire;

use std::time::Duration;

pub use backoff::Backoff;
pub use compute::Compute;
pub use debug_tables::ProcessTables;
pub use dial::{DialArgs, DialState, Dialer};
pub use error::Error;
pub use hello::DIAL_PROTOCOL;
pub use hub::{Hub, HubArgs, HubCounts};
pub use io::{BoxIo, Connect, Io};
pub use kelvins::{DialAction, DialSet, DialStates, Dialled, KELVIN_LINGER, KELVINS_MAX, plan};
pub use membership::{MemberHandle, Membership, MembershipArgs, MembershipCounts, Request, Requests, WallClock, next_member, wall_clock};
pub use metrics::{Dials, METRICS_PERIOD, push_metrics, register_metrics, watch_readiness};
pub use node_args::NodeArgs;

/// When a connection that says nothing is given up. Both ends ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// Asked after this long without a sign of life, and again after each such time.
    pub every: Duration,
    /// Given up when no answer comes for this long.
    pub answer_max: Duration,
}

impl Default for KeepAlive {
    /// Ten seconds each: with less, nodes under full load were taken for dead.
    fn default() -> Self {
        Self { every: Duration::from_secs(10), answer_max: Duration::from_secs(10) }
    }
}
