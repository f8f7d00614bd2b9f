//! Socket events in, ordered streams, protocol inference, records out. Sans-IO: time is an argument.
//!
//! ```text
//! Event ──▶ tracker (which connection) ──▶ stream (order, per direction) ──▶ talk (which protocol) ──▶ protocols::Session ──▶ Output
//!              └──▶ stats (bytes and connections per process and peer)
//! ```

mod connection;
mod context;
mod event;
pub mod limits;
mod metrics;
mod output;
mod stats;
mod stream;
mod talk;
mod tracker;

pub use event::{Counters, Event, Opened, Transfer, Verdict};
pub use limits::Limits;
pub use metrics::Metrics;
pub use output::{AddrFamily, ConnStatsRow, Output};
pub use tracker::ConnTracker;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
