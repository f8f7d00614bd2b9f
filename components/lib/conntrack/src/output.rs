use std::net::IpAddr;

use ids::{Endpoints, Role, SocketId, Upid};
use protocols::{Protocol, Record};

use crate::Verdict;

/// What a tracker has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are records; a box would be one more allocation for each")]
pub enum Output {
    /// A row.
    Record {
        /// The connection.
        socket: SocketId,
        /// Both ends; `None` where the family has no addresses, or its opening was lost.
        endpoints: Option<Endpoints>,
        /// Which side is traced.
        role: Role,
        /// What was said.
        record: Record,
    },
    /// What the kernel shall do with a connection from now on.
    Verdict {
        /// The connection.
        socket: SocketId,
        /// Never [`Verdict::Unknown`].
        verdict: Verdict,
    },
}

/// Kind of address. The numbers are those of the `addr_family` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddrFamily {
    /// The opening was lost.
    Unspecified = 0,
    /// IPv4.
    Ipv4 = 1,
    /// IPv6.
    Ipv6 = 2,
}

/// Connections of one process with one peer so far: a row of `conn_stats` without its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnStatsRow {
    /// The traced process.
    pub upid: Upid,
    /// The peer; `None` where it is not known.
    pub remote_addr: Option<IpAddr>,
    /// The peer's port; 0 where the traced side is the server.
    pub remote_port: u16,
    /// Which side is traced.
    pub role: Role,
    /// Kind of the peer's address.
    pub addr_family: AddrFamily,
    /// The last one that was recognised.
    pub protocol: Protocol,
    /// Whether TLS was ever seen.
    pub ssl: bool,
    /// Connections opened or first seen.
    pub conn_open: u64,
    /// Connections closed.
    pub conn_close: u64,
    /// Opened and not closed.
    pub conn_active: u64,
    /// By the traced side, all connections, cumulative.
    pub bytes_sent: u64,
    /// As `bytes_sent`, the other way.
    pub bytes_received: u64,
}
