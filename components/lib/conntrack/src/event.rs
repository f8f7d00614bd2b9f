use ids::{Direction, Endpoints, MonoNs, Role, SocketId, Transport, Upid};

/// What happened on a socket: the only input of a tracker, whether it comes from the kernel's ring or from a capture file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A socket was opened, or was seen for the first time.
    Opened(Opened),
    /// Bytes passed, or passed unseen.
    Transfer(Transfer<'a>),
    /// How much has passed so far, by the kernel's own count; exact whatever was lost on the way.
    Counted {
        /// The connection.
        socket: SocketId,
        /// So far.
        counters: Counters,
    },
    /// A socket was closed.
    Closed {
        /// The connection.
        socket: SocketId,
        /// When.
        at: MonoNs,
        /// Final.
        counters: Counters,
        /// Who closed it, where that is known.
        process: Option<Upid>,
    },
}

/// A socket that was opened or first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The connection.
    pub socket: SocketId,
    /// Both ends; `None` where the family has no IP addresses.
    pub endpoints: Option<Endpoints>,
    /// Stream or datagrams.
    pub transport: Transport,
    /// Who opened it, where the kernel's state changes or a listening socket tell.
    pub role: Role,
    /// Whether its opening was seen: the positions are those of its first bytes. Else it is older than the agent,
    /// or the kernel's bounded table had forgotten it.
    pub fresh: bool,
    /// Position of the next byte to be sent (TCP `write_seq`).
    pub send_position: u32,
    /// Position of the next byte to be read (TCP `copied_seq`).
    pub receive_position: u32,
    /// Who opened it, where that is known.
    pub process: Option<Upid>,
}

/// One chunk of one call that moved bytes. A call of which nothing was copied has one transfer without bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// The connection.
    pub socket: SocketId,
    /// Who made the call.
    pub process: Upid,
    /// Which way.
    pub direction: Direction,
    /// When the call ended.
    pub at: MonoNs,
    /// TCP position of the call's first byte; wraps around. For datagrams 0.
    pub call_position: u32,
    /// How many bytes the call moved.
    pub call_bytes: u32,
    /// Where in the call this chunk begins.
    pub offset: u32,
    /// The chunk; may be empty.
    pub bytes: &'a [u8],
    /// Nothing of this call follows: what lies behind this chunk, up to `call_bytes`, was not copied (budget, `sendfile`,
    /// a page that was gone) and will never come.
    pub last: bool,
}

/// Bytes that passed a socket since it was opened or first seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Written by the traced side.
    pub bytes_sent: u64,
    /// Read by the traced side.
    pub bytes_received: u64,
}

/// What the kernel shall do with a connection's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Not decided: copy a prefix of the stream.
    Unknown,
    /// Copy, up to the budget of a call.
    Trace,
    /// Copy nothing, keep counting.
    Ignore,
}
