//! Types and limits that the BPF programs and user space share: the kernel's word, in one place.
//!
//! ```text
//! record    what the ring carries: sockets opened and closed, bytes, processes, calls of probed functions
//! table     keys and values of the maps both sides touch
//! settings  what user space finds out before the load: offsets in the kernel's structures, who the agent is
//! counter   what was lost, cut or left out, by index
//! limit     sizes of rings, maps and copies, each with its reason
//! ```
#![no_std]

mod counter;
pub mod limit;
mod record;
mod settings;
mod table;

pub use counter::Counter;
pub use record::{Closed, Data, Exec, Exit, Header, Kind, Opened, ProbeHit, ProcessSeen, SocketId, flag};
pub use settings::{Offsets, Settings, Whoami};
pub use table::{
    Copied, ProbeCounts, ProbeEntry, Socket, VERDICT_BITS, VERDICT_EPOCH_MAX, VERDICT_IGNORE, VERDICT_TRACE, VerdictEntry, probe_flag,
    socket_flag,
};
