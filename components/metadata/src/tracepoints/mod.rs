//! Tracepoints: what is wanted of them, what agents say of them, what is to be done about the difference.
//!
//! ```text
//! register · remove ─▶       ─▶ plan(book, nodes, now) ─▶ actions ─▶ told to agents, again and again until they answer
//! agents' reports   ─▶ Book  ◀─ apply(action) ────────────────┘
//!                       │ take_unsaved
//!                       ▼
//!                 TracepointKeeper ─▶ store
//! ```

mod book;
mod keeper;
mod plan;
mod types;

pub use book::{Book, Refused, Registered, Reported, TRACEPOINTS_MAX, UnsavedTracepoints};
pub use keeper::TracepointKeeper;
pub use plan::{ASK_AGAIN_AFTER, ASK_PENDING_AGAIN_AFTER, Action, plan};
pub use types::{Deployment, FAILED_PRECONDITION, Node, Program, Report, Selector, State, Status, Tracepoint, Wanted};
