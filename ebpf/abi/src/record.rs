use core::mem::{align_of, size_of};

use crate::limit::{CMDLINE_BYTES, COMM_BYTES, PROBE_ARGUMENTS};

/// What a record is; the first field of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// [`Opened`].
    Opened = 1,
    /// [`Data`], its payload behind it.
    Data = 2,
    /// [`Closed`].
    Closed = 3,
    /// [`ProcessSeen`].
    ProcessSeen = 4,
    /// [`Exec`], the command line behind it.
    Exec = 5,
    /// [`Exit`].
    Exit = 6,
}

impl Kind {
    /// The kind with this number.
    pub const fn from_number(number: u16) -> Option<Kind> {
        Some(match number {
            1 => Kind::Opened,
            2 => Kind::Data,
            3 => Kind::Closed,
            4 => Kind::ProcessSeen,
            5 => Kind::Exec,
            6 => Kind::Exit,
            _ => return None,
        })
    }
}

/// Bits of [`Header::flags`].
pub mod flag {
    /// `Data`: the traced side sent it. Else it received it.
    pub const SENT: u16 = 1;
    /// `Data`: nothing of the call follows.
    pub const LAST: u16 = 1 << 1;
    /// `Opened`: the opening itself was seen.
    pub const FRESH: u16 = 1 << 2;
    /// `Opened`: the traced side is the client.
    pub const CLIENT: u16 = 1 << 3;
    /// `Opened`: the traced side is the server.
    pub const SERVER: u16 = 1 << 4;
    /// `Opened`: datagrams.
    pub const DATAGRAMS: u16 = 1 << 5;
    /// `Opened`: addresses are IPv6, all 16 bytes of them count. Else the first four.
    pub const IPV6: u16 = 1 << 6;
    /// `Opened`, `Closed`: the process is known.
    pub const PROCESS: u16 = 1 << 7;
}

/// How every record begins.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Header {
    /// A [`Kind`].
    pub kind: u16,
    /// Bits of [`flag`].
    pub flags: u16,
    /// Bytes behind the fixed part: payload or command line.
    pub tail_bytes: u32,
}

/// A connection: the kernel's socket. The time tells generations of one address apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct SocketId {
    /// Address of the `struct sock`.
    pub sock_address: u64,
    /// When it was opened, or first seen.
    pub opened_ns: u64,
    /// Inode number of its network namespace.
    pub netns_inum: u32,
    /// Zero.
    pub reserved: u32,
}

/// A socket was opened, or was seen for the first time.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Opened {
    /// Flags: `FRESH`, `CLIENT`, `SERVER`, `DATAGRAMS`, `IPV6`, `PROCESS`.
    pub header: Header,
    /// The connection.
    pub socket: SocketId,
    /// `start_boottime` of the process' group leader.
    pub start_boottime_ns: u64,
    /// The process, as the agent's PID namespace sees it.
    pub tgid: u32,
    /// TCP position of the next byte to be sent.
    pub send_position: u32,
    /// TCP position of the next byte to be read.
    pub receive_position: u32,
    /// Host order.
    pub local_port: u16,
    /// Host order.
    pub remote_port: u16,
    /// Network order.
    pub local_address: [u8; 16],
    /// Network order.
    pub remote_address: [u8; 16],
}

/// A chunk of a call that moved bytes; the payload follows.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Data {
    /// Flags: `SENT`, `LAST`.
    pub header: Header,
    /// The connection.
    pub socket: SocketId,
    /// When the call ended.
    pub time_ns: u64,
    /// `start_boottime` of the group leader of the process that made the call.
    pub start_boottime_ns: u64,
    /// That process, as the agent's PID namespace sees it.
    pub tgid: u32,
    /// TCP position of the call's first byte.
    pub call_position: u32,
    /// Bytes that the call moved.
    pub call_bytes: u32,
    /// Where in the call this chunk begins.
    pub chunk_offset: u32,
}

/// A socket was closed.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Closed {
    /// Flags: `PROCESS`.
    pub header: Header,
    /// The connection.
    pub socket: SocketId,
    /// When.
    pub time_ns: u64,
    /// All that was sent while it was known.
    pub bytes_sent: u64,
    /// All that was received while it was known.
    pub bytes_received: u64,
    /// `start_boottime` of the last process seen on it.
    pub start_boottime_ns: u64,
    /// The last process seen on it.
    pub tgid: u32,
    /// Zero.
    pub reserved: u32,
}

/// A process was seen on a socket for the first time.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct ProcessSeen {
    /// No flags.
    pub header: Header,
    /// When.
    pub time_ns: u64,
    /// `start_boottime` of its group leader.
    pub start_boottime_ns: u64,
    /// Id of its cgroup in the version 2 hierarchy; the root's where the machine has version 1.
    pub cgroup_id: u64,
    /// As the agent's PID namespace sees it.
    pub tgid: u32,
    /// Inode number of the innermost PID namespace it is in.
    pub pidns_inum: u32,
    /// Inode number of its network namespace; 0 if it has left it already.
    pub netns_inum: u32,
    /// Zero.
    pub reserved: u32,
    /// Its name, zero-terminated.
    pub comm: [u8; COMM_BYTES],
}

/// A process started a program; the command line follows, arguments separated by zeros, cut at [`CMDLINE_BYTES`].
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Exec {
    /// What [`ProcessSeen`] tells.
    pub process: ProcessSeen,
}

/// A process ended.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Exit {
    /// No flags.
    pub header: Header,
    /// When.
    pub time_ns: u64,
    /// `start_boottime` of its group leader.
    pub start_boottime_ns: u64,
    /// As the agent's PID namespace sees it.
    pub tgid: u32,
    /// As `wait` tells it: exit status in bits 8 to 15, or the signal in bits 0 to 6 and "core dumped" in bit 7.
    pub wait_status: u32,
    /// Its name, zero-terminated.
    pub comm: [u8; COMM_BYTES],
}

/// A probed function was called. The only record of its ring.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct ProbeHit {
    /// Number of the probe.
    pub probe: u64,
    /// When the function was entered, or returned where that is told.
    pub time_ns: u64,
    /// `start_boottime` of the group leader of the process that called it.
    pub start_boottime_ns: u64,
    /// From entry to return; 0 where that is not told.
    pub duration_ns: u64,
    /// The register of the result; 0 where the return is not told.
    pub result: u64,
    /// The registers of the arguments at the entry.
    pub arguments: [u64; PROBE_ARGUMENTS],
    /// The process, as the agent's PID namespace sees it.
    pub tgid: u32,
    /// The thread, as the agent's PID namespace sees it.
    pub tid: u32,
    /// 1 if the function has returned.
    pub returned: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Header>() == 8);
const _: () = assert!(size_of::<SocketId>() == 24 && align_of::<SocketId>() == 8);
const _: () = assert!(size_of::<Opened>() == 88 && align_of::<Opened>() == 8);
const _: () = assert!(size_of::<Data>() == 64 && align_of::<Data>() == 8);
const _: () = assert!(size_of::<Closed>() == 72 && align_of::<Closed>() == 8);
const _: () = assert!(size_of::<ProcessSeen>() == 64 && align_of::<ProcessSeen>() == 8);
const _: () = assert!(size_of::<Exec>() == 64 && align_of::<Exec>() == 8);
const _: () = assert!(size_of::<Exit>() == 48 && align_of::<Exit>() == 8);
const _: () = assert!(size_of::<ProbeHit>() == 104 && align_of::<ProbeHit>() == 8);
const _: () = assert!(CMDLINE_BYTES.is_power_of_two());
