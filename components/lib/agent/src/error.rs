use std::io;

/// Why an agent does not belong to its Vizier, or a connection between it and Kelvin is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No threads to compute on.
    #[error("cannot start the compute threads")]
    Threads(#[source] io::Error),
    /// A name that no certificate can carry.
    #[error("`{name}` is no server name")]
    ServerName {
        /// As given.
        name: String,
    },
    /// The other side cannot be reached.
    #[error("cannot reach {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// One of the sides did not take the other's certificate, or speaks no TLS.
    #[error("no TLS with {peer}")]
    Handshake {
        /// Address of the other side.
        peer: String,
        /// What TLS said.
        #[source]
        source: io::Error,
    },
    /// The other side took too long to say who it is.
    #[error("{peer} did not finish its greeting in time")]
    Late {
        /// Address of the other side.
        peer: String,
    },
    /// The greeting broke off.
    #[error("the greeting with {peer} broke off")]
    Greeting {
        /// Address of the other side.
        peer: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The greeting is none.
    #[error("{peer} sent no greeting of ours")]
    Malformed {
        /// Address of the other side.
        peer: String,
    },
    /// Kelvin does not take the agent.
    #[error("{peer} refused: {reason}")]
    Refused {
        /// Address of the other side.
        peer: String,
        /// Its words.
        reason: String,
    },
    /// HTTP/2 did not begin, or broke.
    #[error("the connection with {peer} broke")]
    Connection {
        /// Address of the other side.
        peer: String,
        /// What HTTP/2 said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The metadata service does not want this process.
    #[error("the metadata service says that this agent must not go on: {reason}")]
    Stopped {
        /// Its words.
        reason: String,
    },
    /// Nobody runs the membership any more.
    #[error("the agent's membership has ended")]
    Ended,
    /// The bus carries nothing any more.
    #[error("the bus does not carry messages")]
    Bus(#[source] bus::Error),
}
