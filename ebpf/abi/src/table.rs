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
    pub reserved: [u8; 7],
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

const _: () = assert!(size_of::<Socket>() == 72 && align_of::<Socket>() == 8);
const _: () = assert!(size_of::<VerdictEntry>() == 16 && align_of::<VerdictEntry>() == 8);
