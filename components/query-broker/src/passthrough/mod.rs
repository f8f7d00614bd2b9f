//! Calls of the control plane's clients, by the bus. Reference: vizier.md §7.2, api.md §3.3.
//!
//! ```text
//! c2v.VizierPassthroughRequest ─▶ Desk ─▶ one task for each call ─▶ Broker ─▶ answers, numbered ─▶ v2c.reply-<id>
//!     cancel, acknowledged ────────┘        window: so many unacknowledged           the status comes last
//! ```

mod answers;
mod desk;
pub(crate) mod wire;

pub(crate) use desk::serve;
