use std::fmt;

use tonic::{Code, Status};

use crate::Address;

/// One mistake in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: u64,
    /// From 1.
    pub column: u64,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{} : C{}  {}", self.line, self.column, self.message)
    }
}

/// Why there are no results.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an address.
    #[error("`{text}` is not an address: write host:port, or https://host:port for TLS")]
    Address {
        /// As given.
        text: String,
    },
    /// A key or token that no header carries.
    #[error("the key has characters that none has")]
    Credentials,
    /// TLS needs somebody to trust.
    #[error("{address} asks for TLS, and there is no CA certificate to check the server against")]
    NoAuthority {
        /// Where.
        address: Address,
    },
    /// The certificate or the address is refused by the transport.
    #[error("cannot set up a connection to {address}")]
    Setup {
        /// Where.
        address: Address,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// Nobody answers.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: Address,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// The script is wrong. Never empty.
    #[error("the script does not compile")]
    Script(Vec<Problem>),
    /// What the script wants changed is not in effect yet: run it again in a moment.
    #[error("{message}")]
    Pending {
        /// What is waited for.
        message: String,
    },
    /// The query failed.
    #[error("{message}")]
    Failed {
        /// Its kind.
        code: Code,
        /// As the server says it.
        message: String,
    },
    /// The call failed.
    #[error("{}", told(.0))]
    Call(Box<Status>),
    /// The connection ended before the answer did: what came of it is not all.
    #[error("the connection was lost in the middle of the answer: {}", told(.0))]
    Lost(Box<Status>),
    /// The server says something that it must not.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
}

impl From<Status> for Error {
    fn from(status: Status) -> Error {
        Error::Call(Box::new(status))
    }
}

impl Error {
    /// How an answer ended that had begun.
    pub(crate) fn of_answer(status: Status) -> Error {
        // What the server says itself has no other cause.
        if std::error::Error::source(&status).is_some() { Error::Lost(Box::new(status)) } else { Error::from(status) }
    }
}

/// What the server said; what its code means where it said nothing.
fn told(status: &Status) -> &str {
    if status.message().is_empty() { status.code().description() } else { status.message() }
}
