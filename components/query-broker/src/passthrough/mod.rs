//! Calls of the control plane's clients, by the bus. Reference: vizier.md §7.2, api.md §3.3.
//!
//! ```text
//! c2v.VizierPassthroughRequest ─▶ Desk ─▶ one task for each call ─▶ Broker ─▶ answers, numbered ─▶ v2c.reply-<id>
//!     cancel, acknowledged, again ─┘        window: so many unacknowledged           the status comes last
//! ```
//!
//! A call that is said again runs once; what is not acknowledged of its answers is said again, also for a while after its end.

mod answers;
mod calls;
mod desk;
pub(crate) mod wire;

pub(crate) use desk::serve;
