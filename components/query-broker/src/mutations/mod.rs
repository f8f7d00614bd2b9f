//! What a script wants changed: tracepoints and settings of agents. Reference: api.md §3.2, vizier.md §6.3.
//!
//! ```text
//! script ─ pxl::compile_mutations ─▶ changes ─ wire ─▶ metadata service ─▶ how they stand ─▶ MutationInfo
//! ```
//!
//! A client asks again until all tracepoints run; to ask again is harmless, it refreshes their time to live.

mod apply;
mod wire;

pub(crate) use apply::apply;

use crate::engine::CompileFailure;

/// Where a tracepoint stands. Numbers: `LifeCycleState`, vizierapi.proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeCycle {
    /// Nobody knows.
    Unknown = 0,
    /// Agents install it.
    Pending = 1,
    /// It fills its tables.
    Running = 2,
    /// It cannot.
    Failed = 3,
    /// It is gone.
    Terminated = 4,
}

/// A tracepoint of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MutationState {
    /// Its id, as text.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: LifeCycle,
}

/// How the changes of a script stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutated {
    /// Its tracepoints.
    pub states: Vec<MutationState>,
    /// Whether the script can be run.
    pub readiness: Readiness,
}

/// Whether a script can be run whose changes are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// Not yet, for this reason: the client asks again.
    Pending(String),
    /// It never will, for this reason.
    Failed(String),
}

/// Why nothing was changed, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MutationFailure {
    /// The script does not compile.
    Compile(CompileFailure),
    /// Nobody here can change such things.
    Unsupported(String),
    /// Whoever should make the change did not want to.
    Refused(String),
    /// Whoever should make the change is away.
    Unavailable(String),
}
