//! Kubernetes as scripts ask about it: changes in, snapshots out.
//!
//! ```text
//! watchers ── Change ──▶ State ── snapshot() ──▶ Snapshot: by uid, name, container, address; now or at a time
//!                │         names stay for a retention after their object is gone, within a budget of bytes
//!                ▼
//!              Feed ── Update: version, the one before ──▶ Follower: the same state elsewhere; a gap is seen, and filled
//! ```

mod change;
mod feed;
mod lifetimes;
mod limits;
mod lookup;
mod object;
mod record;
mod snapshot;
mod state;
mod text;

pub use change::{Change, Outcome, Scope};
pub use feed::{Feed, FeedVersion, Followed, Follower, Missing, Resync, Update};
pub use limits::{Limits, Metrics};
pub use lookup::{Found, Moment};
pub use object::{
    Condition, Container, ContainerState, Deployment, Endpoint, EndpointSlice, Kind, Meta, Namespace, Node, Object, Owner, Phase, Pod, Qos,
    ReplicaCounts, ReplicaSet, Service, Truth,
};
pub use record::{Held, Record, Tenure};
pub use snapshot::Snapshot;
pub use state::State;
pub use text::{ContainerId, ResourceVersion, Runtime, Text, Uid};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
