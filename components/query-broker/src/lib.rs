//! Serves the public API: compiles, runs and streams scripts.
//!
//! ```text
//! VizierService ───────┐                 ┌─▶ compile ─┐
//!   ExecuteScript      ├─▶ Broker ─▶ run ┤            ├─▶ QueryEngine: LocalEngine, or DistributedEngine over Kelvins
//!   HealthCheck        │     │           └─▶ rows ────┘        ▲ Tracker: agents and tables, from the metadata service
//! VizierClusterInfo ───┘     │  encode ─ cut ─ seal (JWE) ─▶ bounded queue (delivery) ─▶ client, or the one that comes back
//!   GetClusterInfo           └ self-test every 5 s
//! ```
//!
//! What runs a query is behind [`QueryEngine`]; this crate knows messages, their order, their sizes and who may wait for how long.

mod access;
mod answer;
mod args;
mod broker;
mod cluster;
mod counters;
mod cron;
mod debug;
mod delivery;
mod distributed;
mod encode;
mod encrypt;
mod engine;
mod error;
mod health;
mod jwk;
mod limits;
mod local;
mod messages;
mod metadata;
mod metrics;
mod mutations;
mod passthrough;
mod peers;
mod plan_graph;
mod process;
mod quality;
mod serve;
mod service;
mod state;
mod status;
mod tracker;

pub use access::{Access, Caller};
pub use args::Args;
pub use broker::{Broker, BrokerArgs, ClusterIdentity, ClusterState, Nodes};
pub use counters::{Counters, CountersSnapshot};
pub use debug::PODS_SUBJECT;
pub use delivery::ReattachArgs;
pub use distributed::{DistributedArgs, DistributedEngine};
pub use engine::{CompileFailure, FuncCall, Output, PluginTimes, Problem, Query, QueryEngine, QueryEvent, RunFailure, Script};
pub use error::Error;
pub use health::HEALTH_SCRIPT;
pub use limits::{
    CONCURRENT_QUERIES_MAX, ENCRYPTED_BATCH_BYTES_MAX, HEALTH_EVERY, MESSAGES_WAITING_MAX, ROW_BATCH_BYTES_MAX, ROW_BYTES_MAX,
    SCRIPT_BYTES_MAX,
};
pub use local::{LocalAgent, LocalEngine};
pub use metadata::Metadata;
pub use mutations::{LifeCycle, Mutated, MutationFailure, MutationState, Readiness};
pub use peers::Connect;
pub use process::run;
pub use quality::{QUALITY_HEADER, QUALITY_TABLE, QUALITY_TRAILER, Quality, Trouble, What};
pub use serve::{routes, serve};
pub use state::{AgentFact, AgentHealth, CronRunFact, Facts, TableFact, TracepointFact};
pub use tracker::{ClusterView, CollectorState, KnownAgent, KnownCollector, KnownTable, Tracker, TrackerHandle};
