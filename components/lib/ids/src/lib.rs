//! Typed identifiers, times and units that cross function boundaries.
//!
//! ```text
//! upid       which process          asid (node) · pid · start time
//! socket     which connection       kernel address · time opened · network namespace
//! id         what the control plane names: queries, agents, clusters
//! time       monotonic and wall-clock nanoseconds, never mixed
//! ```

mod id;
mod socket;
mod time;
mod upid;

pub use id::{AgentId, ClusterId, KeyId, OrgId, ParseIdError, QueryId, ScriptId, TableId, TracepointId};
pub use socket::{Direction, Endpoints, Role, SocketId, Transport};
pub use time::{MonoNs, UnixNs};
pub use upid::{Asid, Upid};
