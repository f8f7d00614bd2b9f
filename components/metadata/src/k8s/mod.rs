//! Names of Kubernetes on their way to agents: a state that changes fold into, and a log of updates with numbers that every agent can catch up from.
//!
//! ```text
//! watchers ── k8s_state::Change ──▶ ClusterFeed ──▶ updates: version, the one before on each topic ──▶ bus
//!                                       │ UpdateLog: what agents may have missed; the newest of what lives is never dropped
//!                                       ▼
//!                                   LogKeeper ──▶ store
//! ```

mod feed;
mod keeper;
mod log;
mod ranges;

pub use feed::ClusterFeed;
pub use keeper::LogKeeper;
pub use log::{Entry, Forgotten, LOG_BYTES_MAX, LOG_ENTRIES_MAX, LogLimits, Published, RETENTION, Topic, UnsavedEntries, UpdateLog};
pub use ranges::Ranges;
