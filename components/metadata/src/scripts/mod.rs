//! Scripts that run again and again, and how their last runs went.
//!
//! ```text
//! put · remove · replace · record ─▶ Shelf before, Shelf after ─▶ ScriptKeeper: what differs ─▶ store
//! ```

mod keeper;
mod shelf;

pub use keeper::ScriptKeeper;
pub use shelf::{Outcome, RESULTS_KEPT, Refused, Run, SCRIPTS_MAX, Script, Shelf, Stats};
