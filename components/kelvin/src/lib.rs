//! Coordinates queries over the tables of agents: plans, merges, streams to the query broker.
//!
//! ```text
//! query broker ── gRPC: ExecutePlan, Cancel ──▶ service ──▶ engine's Coordinator ──▶ rows, missing agents, statistics
//!                                                                │ tasks of the plan
//! agents ── dial, mutual TLS ──▶ agent's Hub ◀───────────────────┘
//! metadata service ◀── bus: registration, heartbeats ── agent's Membership, so that agents and broker know where it is
//! ```

mod args;
mod error;
mod grpc;
mod metrics;
mod own;
mod query;
mod request;
mod run;

pub use args::Args;
pub use error::Error;
pub use grpc::{KelvinService, KelvinServiceArgs};
pub use run::run;
