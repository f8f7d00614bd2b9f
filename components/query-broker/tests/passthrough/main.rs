//! Calls that come by the bus, over the bus in memory, whose laws are those of NATS.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail where it stands")]

mod again;
mod calls;
#[path = "../support/mod.rs"]
mod support;
mod world;
