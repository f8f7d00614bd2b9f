//! The cluster as the broker's [`QueryEngine`](crate::QueryEngine): compiled here, run by a Kelvin over the tables of the agents.
//!
//! ```text
//! script ─ pxl over the tracker's view ─▶ plans ─▶ Kelvins::choose ─▶ ExecutePlan ─▶ schemas, rows, end ─▶ events
//!                                                      └── once more on another one, if it is lost before the client got rows
//! ```

mod call;
mod compile;
mod kelvins;
mod report;

pub use compile::{DistributedArgs, DistributedEngine};
