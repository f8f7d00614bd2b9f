//! One query over the tables of many agents.
//!
//! ```text
//! broker       AgentCatalog ─ compile ─▶ logical plan ─ encode_plan ─▶ bytes
//! coordinator  decode_plan (agents bound) ─▶ physical plan ─▶ stage of the agents │ everything above it, here
//!                                              │ task i to agent i, over its own connection (AgentLink)
//! agent        AgentWorker: leaf (AgentScan) over the agent's table-store, filters, partial aggregates, limits
//! ```
//!
//! The coordinator holds no rows and the agents know nothing of each other. A leaf is bound to the agents that were connected when the
//! query was planned; it is an error if the stage does not have exactly one task for each of them.

mod agents;
mod catalog;
mod channels;
mod codec;
mod coordinator;
mod execution;
mod leaf;
mod missing;
mod names;
mod places;
mod plans;
mod prune;
mod queries;
mod reports;
mod rule;
mod session;
mod steps;
mod table;
mod worker;

pub use catalog::AgentCatalog;
pub use channels::{AgentLink, AgentTransport};
pub use coordinator::{Begun, Coordinator, CoordinatorArgs, QuerySpec, SpillArgs};
pub use execution::{AgentQuality, DistributedExecution, Ended};
pub use missing::MissingAgent;
pub use names::NamesFilter;
pub use plans::{PLAN_BYTES_MAX, PLAN_VERSION, encode_plan};
pub use prune::{OneOf, Own, Scan, Wanted, wanted};
pub use queries::{AgentQueries, AgentReads};
pub use steps::{PlanStep, StepAt};
pub use worker::{AgentWorker, AgentWorkerArgs};
