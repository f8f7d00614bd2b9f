use core::mem::{align_of, size_of};

/// Bits of [`Socket::flags`].
pub mod socket_flag {
    /// `Opened` was told. Sockets that no visible process has used yet are not.
    pub const ANNOUNCED: u8 = 1;
    /// Its opening was seen.
    pub const FRESH: u8 = 1 << 1;
    /// The traced side is the client.
    pub const CLIENT: u8 = 1 << 2;
    /// The traced side is the server.
    pub const SERVER: u8 = 1 << 3;
    /// Datagrams.
    pub const DATAGRAMS: u8 = 1 << 4;
    /// The verdict is `ignore`, for good.
    pub const IGNORED: u8 = 1 << 5;
    /// Its addresses are IPv6.
    pub const IPV6: u8 = 1 << 6;
}

/// What is remembered of a socket, by the address of its `struct sock`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Socket {
    /// When it was opened, or first seen.
    pub opened_ns: u64,
    /// Results of all sending calls.
    pub bytes_sent: u64,
    /// Results of all receiving calls.
    pub bytes_received: u64,
    /// `start_boottime` of the group leader of the last process seen on it; 0 if none.
    pub start_boottime_ns: u64,
    /// Ports and a part of the remote address: a datagram socket that was connected anew, or another socket at the same
    /// address, is another connection.
    pub tuple: u64,
    /// The last process seen on it, as the agent's PID namespace sees it.
    pub tgid: u32,
    /// Inode number of its network namespace.
    pub netns_inum: u32,
    /// Position of the first byte to be sent, when it was opened or first seen.
    pub send_start: u32,
    /// Position of the first byte to be read, when it was opened or first seen.
    pub receive_start: u32,
    /// Bytes copied while the verdict was not known.
    pub copied: Copied,
    /// Bits of [`socket_flag`].
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The verdict as it was last looked up, and above [`VERDICT_BITS`] the epoch of that look: it holds until user space decides anything again. One word,
    /// since several processors may write it; 0 if nothing was looked up.
    pub decided: u32,
}

/// Bytes copied of each direction.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Copied {
    /// Of what was sent.
    pub sent: u32,
    /// Of what was received.
    pub received: u32,
}

/// Copy up to the budget of a call.
pub const VERDICT_TRACE: u32 = 1;
/// Copy nothing, tell nothing, keep counting. Final.
pub const VERDICT_IGNORE: u32 = 2;

/// Bits of a verdict, so that an epoch is told beside it.
pub const VERDICT_BITS: u32 = 2;
/// Epochs go from 1 to this, and begin again.
pub const VERDICT_EPOCH_MAX: u32 = u32::MAX >> VERDICT_BITS;

/// What user space decided on a socket, by the address of its `struct sock`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct VerdictEntry {
    /// The generation it was decided for.
    pub opened_ns: u64,
    /// [`VERDICT_TRACE`] or [`VERDICT_IGNORE`].
    pub verdict: u32,
    /// Zero.
    pub reserved: u32,
}

/// Bits of [`ProbeEntry::flags`].
pub mod probe_flag {
    /// Calls are told when they return.
    pub const RETURNS: u32 = 1;
    /// Arguments are where Go passes them.
    pub const GO: u32 = 1 << 1;
}

/// What the programs of a slot are to do.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct ProbeEntry {
    /// Number of the probe; 0 if the slot is free.
    pub probe: u64,
    /// Bits of [`probe_flag`].
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}

/// What became of a probe's calls.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct ProbeCounts {
    /// Records in the ring.
    pub told: u64,
    /// Records that found the ring full.
    pub lost: u64,
    /// Returns whose entry was not seen, or was forgotten.
    pub unmatched: u64,
}

const _: () = assert!(size_of::<ProbeEntry>() == 16 && align_of::<ProbeEntry>() == 8);
const _: () = assert!(size_of::<ProbeCounts>() == 24 && align_of::<ProbeCounts>() == 8);
const _: () = assert!(size_of::<Socket>() == 72 && align_of::<Socket>() == 8);
const _: () = assert!(size_of::<VerdictEntry>() == 16 && align_of::<VerdictEntry>() == 8);
