//! Knows which agents there are, and keeps what must survive: their numbers and tables, tracepoints, cron scripts; and the store that all rests in.
//!
//! ```text
//! agents ── bus: UpdateAgent ──▶ ┌───────────────────────── Desk: no IO ──────────────────────────┐ ── bus: Agent/<id> ──▶ agents
//!                                │ agents::Registry · tracepoints::Book and plan · scripts::Shelf │
//! broker ── gRPC ──────────────▶ └───────────────┬────────────────────────────────────────────────┘ ── gRPC: streams ───▶ broker
//!                                     keepers: what changed, before anybody is told
//!                                                ▼
//!                                 store: a file, or etcd; a fence lets the leader alone write
//! ```

pub mod agents;
mod args;
mod clock;
mod desk;
pub mod election;
mod error;
mod io;
pub mod k8s;
mod metrics;
mod run;
pub mod scripts;
mod service;
pub mod store;
pub mod tracepoints;
mod wire;

pub use args::{Args, KubernetesUse, StoreKind};
pub use clock::Clock;
pub use error::Error;
pub use io::{Kubernetes, StoreSource};
pub use metrics::Metrics;
pub use run::run;
pub use service::{Leads, Parts, Service};
