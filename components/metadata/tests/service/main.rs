//! The service as its neighbours see it: agents on the bus, the broker by gRPC; in one process, in paused time.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[path = "../support/mod.rs"]
mod support;

mod agents;
mod leaders;
mod scripts;
mod settings;
mod stores;
mod tracepoints;
mod world;
