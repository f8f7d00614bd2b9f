//! The names of Kubernetes on an agent: the metadata service's changes in their order, whatever became of messages on their way.
//!
//! ```text
//! K8sUpdates/<host> ─▶ Feed: in order, gaps asked for again ─▶ Mirror: messages to k8s-state's changes ─▶ State ─▶ snapshots
//! MissingMetadataRequests ◀──┘
//! ```

mod feed;
mod filter;
mod mirror;
mod state_table;
mod sync;

pub use feed::{BACKLOG_UPDATES_MAX, Feed, FeedCounts, FeedEffect, FeedEvent, REQUEST_AGAIN, Sequenced};
pub use filter::names_filter;
pub use mirror::{Mirror, MirrorCounts};
pub use state_table::StateTable;
pub use sync::{ClusterNames, ContainerOf, NamesCounts, NamesHandle, run_names};
