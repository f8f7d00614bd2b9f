//! The service as its neighbours see it: agents on the bus, the broker by gRPC; in one process, in paused time.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod agents;
mod leaders;
mod scripts;
mod settings;
mod tracepoints;
mod world;
