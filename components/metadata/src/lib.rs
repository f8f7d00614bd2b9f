//! Keeps what must survive a restart: agents with their numbers and tables, and the store that they rest in.
//!
//! ```text
//! messages ──▶ agents::Registry (pure: what is known, what to answer, what to write) ──▶ agents::Keeper ──▶ store ──▶ a file, or etcd
//!                    └──▶ versioned changes for the query broker
//! ```

pub mod agents;
mod error;
pub mod store;

pub use error::Error;
