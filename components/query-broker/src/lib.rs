//! Serves the public API: compiles, runs and streams scripts.
//!
//! ```text
//! VizierService ───────┐                 ┌─▶ compile ─┐
//!   ExecuteScript      ├─▶ Broker ─▶ run ┤            ├─▶ QueryEngine
//!   HealthCheck        │     │           └─▶ rows ────┘
//! VizierClusterInfo ───┘     │  encode ─ cut ─ seal (JWE) ─▶ bounded channel ─▶ client
//!   GetClusterInfo           └ self-test every 5 s
//! ```
//!
//! What runs a query is behind [`QueryEngine`]; this crate knows messages, their order, their sizes and who may wait for how long.

mod broker;
mod cluster;
mod counters;
mod encode;
mod encrypt;
mod engine;
mod error;
mod health;
mod jwk;
mod limits;
mod local;
mod messages;
mod plan_graph;
mod run;
mod serve;
mod service;

pub use broker::{Broker, ClusterIdentity, ClusterState};
pub use counters::{Counters, CountersSnapshot};
pub use engine::{CompileFailure, FuncCall, Output, PluginTimes, Problem, Query, QueryEngine, QueryEvent, RunFailure, Script};
pub use error::Error;
pub use health::HEALTH_SCRIPT;
pub use limits::{
    CONCURRENT_QUERIES_MAX, ENCRYPTED_BATCH_BYTES_MAX, HEALTH_EVERY, MESSAGES_WAITING_MAX, ROW_BATCH_BYTES_MAX, ROW_BYTES_MAX,
    SCRIPT_BYTES_MAX,
};
pub use local::LocalEngine;
pub use serve::{routes, serve};
