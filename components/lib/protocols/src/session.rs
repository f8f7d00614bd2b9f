use std::collections::VecDeque;
use std::ops::AddAssign;

use ids::{Direction, MonoNs, Role, Upid};

use crate::{Protocol, http};

/// Bytes that passed in one direction, next in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// When the call that moved them ended.
    pub at: MonoNs,
    /// Who made that call.
    pub process: Upid,
}

/// One finished conversation step: a row of the protocol's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A request and its response.
    Http(http::Exchange),
}

/// Where a session's first bytes stand in the life of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At its beginning.
    Fresh,
    /// Somewhere in it, from where on nothing is missing; the bytes may begin inside a message, and a request may be under way.
    Midstream,
    /// Somewhere in it, and what passed just before is missing.
    AfterLoss,
}

/// Why a session reads no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The connection changed to another protocol, as its peers agreed (`101`, `CONNECT`).
    Upgraded,
    /// Too many bytes or heads in a row made no sense.
    Undecodable,
    /// Something was lost on a connection that pipelines: nothing tells any more which response answers which request.
    PairingLost,
}

/// Whether a session still wants bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does.
    Running,
    /// It does not, and never will.
    Stopped(Stop),
}

/// Where sessions put what they make. One serves any number of sessions.
#[derive(Debug, Default)]
pub struct Sink {
    /// In the order in which they were finished.
    pub records: VecDeque<Record>,
    /// What happened beside records.
    pub counters: Counters,
    /// What sessions have seen lately, which saves work.
    pub(crate) heads: http::Heads,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// What parsers and stitchers dropped, cut or did not see. Each only grows.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)+ }

        impl Counters {
            /// Name and value of each, in the order of declaration.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }

        impl AddAssign for Counters {
            fn add_assign(&mut self, other: Counters) { $(self.$name += other.$name;)+ }
        }
    };
}

counters! {
    /// Records made.
    records,
    /// Requests of which no response was seen, or none that surely is theirs.
    requests_unanswered,
    /// Responses to a request that was not seen, or that cannot be told from others.
    responses_unmatched,
    /// Messages whose end was lost; their record was made from what is known.
    messages_cut,
    /// Messages of which only a part of the head was seen; no record.
    heads_lost,
    /// Heads that are not of the protocol, or contradict themselves.
    heads_bad,
    /// Times a reader lost its place in the stream.
    syncs_lost,
    /// Times it found a head, after that or after a start in the middle.
    resyncs,
    /// Bytes passed over in search of a head.
    bytes_skipped,
    /// Bytes of bodies that passed but were not copied.
    body_bytes_not_captured,
}

/// The one list of protocols that are parsed: a line makes a folder a protocol.
macro_rules! sessions {
    ($($protocol:ident => $module:ident,)+) => {
        /// One connection, from bytes to records. Positions are the caller's affair: bytes come in order, each once, and what is missing is told.
        #[derive(Debug)]
        pub enum Session {
            $(#[doc = concat!("See `", stringify!($module), "`.")] $protocol(Box<$module::Session>),)+
        }

        impl Session {
            /// `None` where the protocol is only recognised, not parsed. `role` must be known.
            pub fn new(protocol: Protocol, role: Role, start: Start) -> Option<Session> {
                $(if protocol == Protocol::$protocol {
                    return Some(Session::$protocol(Box::new($module::Session::new(role, start))));
                })+
                None
            }

            /// The next bytes of a direction.
            pub fn on_bytes(&mut self, direction: Direction, chunk: Chunk<'_>, now: MonoNs, sink: &mut Sink) {
                match self { $(Session::$protocol(session) => session.on_bytes(direction, chunk, now, sink),)+ }
            }

            /// The next `len` bytes of a direction are missing for good. `seen` is when they passed, where their call was seen and only its bytes were not.
            pub fn on_gap(&mut self, direction: Direction, len: u64, seen: Option<MonoNs>, now: MonoNs, sink: &mut Sink) {
                match self { $(Session::$protocol(session) => session.on_gap(direction, len, seen, now, sink),)+ }
            }

            /// The connection is closed: nothing follows in either direction.
            pub fn on_end(&mut self, at: MonoNs, sink: &mut Sink) {
                match self { $(Session::$protocol(session) => session.on_end(at, sink),)+ }
            }

            /// Lets what waits go when its time is over.
            pub fn tick(&mut self, now: MonoNs, sink: &mut Sink) {
                match self { $(Session::$protocol(session) => session.tick(now, sink),)+ }
            }

            /// When [`Self::tick`] is due, if anything waits.
            pub fn deadline(&self) -> Option<MonoNs> {
                match self { $(Session::$protocol(session) => session.deadline(),)+ }
            }

            /// Whether more bytes are of use.
            pub fn state(&self) -> State {
                match self { $(Session::$protocol(session) => session.state(),)+ }
            }

            /// Bytes of memory held for unfinished messages.
            pub fn memory_bytes(&self) -> usize {
                match self { $(Session::$protocol(session) => session.memory_bytes(),)+ }
            }
        }
    };
}

sessions! {
    Http => http,
}
