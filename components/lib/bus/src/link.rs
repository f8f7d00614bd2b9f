use std::fmt;

use tokio::time::Instant;

/// The word of `/statusz` for a process that has no bus. It comes back by itself: nobody should restart a process for it.
pub const UNAVAILABLE: &str = "NATSUnavailable";

/// Whether the bus carries messages now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It does, and all subscriptions are in effect.
    Connected,
    /// It does not. A connection is being looked for, for ever.
    Disconnected {
        /// From when on.
        since: Instant,
        /// Why, as far as is known.
        reason: Reason,
    },
}

impl Link {
    /// Not connected from now on.
    pub(crate) fn lost(reason: Reason) -> Link {
        Link::Disconnected { since: Instant::now(), reason }
    }

    /// Whether it carries messages.
    pub fn is_connected(&self) -> bool {
        matches!(self, Link::Connected)
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// None was made yet, and nothing has failed yet.
    Starting,
    /// There was one, and it ended.
    Lost,
    /// No server is reached.
    Unreachable(String),
    /// A server is reached and does not take our credentials.
    Refused(String),
    /// One of both sides does not take the certificate of the other, or a certificate cannot be used.
    Untrusted(String),
}

impl Reason {
    /// Whether trying again heals only after someone has changed something.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Reason::Refused(_) | Reason::Untrusted(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Starting => f.write_str("no connection was made yet"),
            Reason::Lost => f.write_str("the connection ended"),
            Reason::Unreachable(text) => write!(f, "no server is reached: {text}"),
            Reason::Refused(text) => write!(f, "the server does not take our credentials: {text}"),
            Reason::Untrusted(text) => write!(f, "a certificate is not trusted: {text}"),
        }
    }
}
