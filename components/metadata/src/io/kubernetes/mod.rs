//! Kubernetes: watches its objects, and feeds agents their names.
//!
//! ```text
//! API server ── list, watch ──▶ Watches ── objects ──▶ Feeder ── k8s::ClusterFeed ──▶ store, then bus: K8sUpdates/<selector>
//!                                                        ▲  agents that missed some: MissingMetadataRequests
//! ```

mod convert;
mod feeder;
mod lease;
mod watches;

pub(crate) use feeder::{Feeder, Told};
pub(crate) use lease::LeaseCell;
pub use watches::Kubernetes;
