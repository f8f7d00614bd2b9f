use std::net::SocketAddr;

use crate::MonoNs;

/// A connection: the kernel's socket, not a descriptor. Address and namespace alone are reused; the time tells generations apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    /// Address of the kernel's `struct sock`; in replay a number of the capture's own.
    pub address: u64,
    /// When it was opened, or first seen if it is older than the agent.
    pub opened: MonoNs,
    /// Inode number of its network namespace. The same four-tuple lives in many namespaces at once.
    pub netns: u32,
}

/// Both ends, as the traced side sees them. IPv4-mapped IPv6 addresses are IPv4 here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// The traced side.
    pub local: SocketAddr,
    /// Its peer.
    pub remote: SocketAddr,
}

/// Which side of a connection is traced. The numbers are those of the `trace_role` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It opened the connection, or sends requests.
    Client = 1,
    /// It accepted the connection, or answers requests.
    Server = 2,
    /// Not known (yet).
    Unknown = 4,
}

/// Which way bytes went, seen from the traced side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Written by the traced process.
    Sent,
    /// Read by the traced process.
    Received,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub fn opposite(self) -> Direction {
        match self {
            Direction::Sent => Direction::Received,
            Direction::Received => Direction::Sent,
        }
    }
}

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// A stream with positions.
    Tcp,
    /// Datagrams: no positions.
    Udp,
}
