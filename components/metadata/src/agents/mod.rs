//! Which agents there are: their ids and numbers, their tables, whether they are alive, and what a subscriber has to be told.
//!
//! ```text
//! Registration ─▶           ─▶ Registered(id, asid) | Refused          a place (node, or Kelvin's pod) keeps its id and asid
//! Heartbeat    ─▶ Registry  ─▶ Ack | Nack(register again) | Nack(stop)  every answer names the process that it is for
//! expire(now)  ─▶           ─▶ changes_since(version)                   the broker's agent tracker
//!                    │ take_unsaved
//!                    ▼
//!                  Keeper ─▶ store      an answer is sent when what it says is kept
//! ```

mod asids;
mod changes;
mod keeper;
mod registry;
mod stored;
mod types;

pub use changes::{AgentUpdate, Changes, ChangesPage, Version};
pub use keeper::Keeper;
pub use registry::{AGENT_SILENCE_MAX, AGENT_UNRESPONSIVE_AFTER, AGENTS_MAX, Metrics, PLACES_REMEMBERED_MAX, Registry};
pub use stored::{Seat, Unsaved};
pub use types::{
    Agent, AgentInfo, AgentKind, AgentState, Answer, CollectorState, CollectorStatus, ColumnSchema, Heartbeat, Incarnation, KernelVersion,
    Now, Place, Refusal, Registration, Reply, SchemaInfo, TableSchema,
};
