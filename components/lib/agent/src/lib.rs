//! What PEM and Kelvin share: the channel that a PEM dials back, and the tasks of queries on it.
//!
//! ```text
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
mod dial;
mod error;
mod hello;
mod hub;
mod link;
pub mod wire;

use std::time::Duration;

pub use backoff::Backoff;
pub use compute::Compute;
pub use dial::{DialArgs, DialState, Dialer};
pub use error::Error;
pub use hello::DIAL_PROTOCOL;
pub use hub::{Hub, HubArgs, HubCounts};

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
