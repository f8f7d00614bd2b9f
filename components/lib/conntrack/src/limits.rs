//! What is kept and waited for, and why.

use std::time::Duration;

/// How long a hole in a stream may still be filled by an event of another CPU. The ring keeps one order for all of them but for the instructions
/// between a call's work and its report, microseconds unless the thread is interrupted there; a scheduler's slice is some milliseconds.
pub const HOLE_WAIT: Duration = Duration::from_millis(50);

/// How long the first bytes of a connection wait for the event that tells what it is. As [`HOLE_WAIT`].
pub const OPENED_WAIT: Duration = Duration::from_millis(50);

/// How long after its close a connection still takes what other CPUs have to say about it. As [`HOLE_WAIT`].
pub const CLOSE_LINGER: Duration = Duration::from_millis(50);

/// Most bytes of one direction that wait behind a hole: four calls of the largest size that is copied (30 KiB), and room for as many again.
pub const PENDING_BYTES_MAX: usize = 256 * 1024;

/// Most bytes that may have passed before the position at which a connection was reported open: `TCP_FASTOPEN` sends with the SYN.
pub const FAST_OPEN_BYTES_MAX: u64 = 64 * 1024;

/// Most bytes of a direction that are kept to find out what it speaks: the longest request line that is waited for.
pub const PREFIX_BYTES_MAX: usize = 4096;

/// Of a connection that is older than the agent, or of which the beginning was lost: how often its peers may take turns without a head.
pub const TURNS_UNDECIDED_MAX: u32 = 16;

/// And how many calls: a download of 1 GiB in calls of 64 KiB.
pub const CALLS_UNDECIDED_MAX: u32 = 16 * 1024;

/// How far apart the positions of a forgotten and a re-opened socket may lie to be the same connection: what passes in the minutes in which an
/// entry of the kernel's table grows old enough to be evicted is little.
pub const REOPEN_DISTANCE_MAX: u32 = 1 << 30;

/// What all connections together may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most connections that are remembered; those idle the longest go first. As many as the kernel's table has; some 700 bytes each.
    pub connections_max: usize,
    /// Most bytes of unfinished messages and of streams behind holes; those of the connections idle the longest go first. A quarter of what an agent may
    /// use beside its tables.
    pub buffered_bytes_max: usize,
    /// Most pairs of process and peer whose counters are remembered; closed ones go first. Some 200 bytes each.
    pub aggregates_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { connections_max: 32 * 1024, buffered_bytes_max: 20 * 1024 * 1024, aggregates_max: 32 * 1024 }
    }
}
