//! A small API server of Kubernetes for tests and benchmarks, and objects to put into it.

mod objects;
mod server;

pub use objects::{DEPLOYMENTS, LEASES, NAMESPACES, NODES, PODS, SERVICES, SETS, SLICES, node, pod, service, simple, slice};
pub use server::ApiServer;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
