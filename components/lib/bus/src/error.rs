use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::Reason;

/// Why something could not be said, asked or heard. Wrong bytes from a peer are never one: they are counted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A text that cannot be a subject, a part of one, a group or the name of a connection.
    #[error("`{text}` cannot be {what}: {reason}")]
    Name {
        /// As given.
        text: String,
        /// A subject, a group, …
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The address of a server does not parse.
    #[error("`{address}` is not the address of a NATS server")]
    Address {
        /// As given.
        address: String,
        /// What the parser said.
        #[source]
        source: io::Error,
    },
    /// A certificate, a key or a secret cannot be read.
    #[error("cannot read the {what} {}", path.display())]
    File {
        /// Which of them.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The message is larger than the bus carries. It was not sent.
    #[error("a message of {bytes} bytes for `{subject}` is larger than the {bytes_max} that the bus carries")]
    TooLarge {
        /// Where to.
        subject: Arc<str>,
        /// Its size with what travels beside it.
        bytes: usize,
        /// What the server said it takes.
        bytes_max: usize,
    },
    /// There is no connection now; one is being looked for.
    #[error("the bus is not connected: {reason}")]
    Disconnected {
        /// Why.
        reason: Reason,
    },
    /// Nobody listens there.
    #[error("nobody answers at `{subject}`")]
    NoResponder {
        /// Where.
        subject: Arc<str>,
    },
    /// Somebody listens there, but no answer came in time.
    #[error("no answer from `{subject}` within {after:?}")]
    Deadline {
        /// Where.
        subject: Arc<str>,
        /// How long.
        after: Duration,
    },
    /// An answer came, and it is none.
    #[error("the answer from `{subject}` is not understood")]
    Undecodable {
        /// Where.
        subject: Arc<str>,
        /// What the decoder said.
        #[source]
        source: prost::DecodeError,
    },
    /// An answer to a message that asked for none.
    #[error("the message on `{subject}` asks for no answer")]
    NotAsked {
        /// Where it came in.
        subject: Arc<str>,
    },
    /// The bus is gone for good: its hub was dropped, or its client ended.
    #[error("the bus is closed")]
    Closed,
}
