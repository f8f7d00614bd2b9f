//! The agents and tables of the cluster, as the metadata service tells them.
//!
//! ```text
//! metadata ── GetAgentUpdates ──▶ Assembly (pure) ── end of a version ──▶ ClusterView ──▶ TrackerHandle: engine, status, tables of state
//!               reconnects for ever       schemas: most agents decide
//! ```

mod assembly;
mod client;
mod decode;
mod schemas;
mod view;

pub use client::{Tracker, TrackerHandle};
pub(crate) use decode::{agent as decode_agent, agent_id as decode_agent_id};
pub use schemas::KnownTable;
pub use view::{ClusterView, CollectorState, KnownAgent, KnownCollector};
