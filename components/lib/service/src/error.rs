use std::net::SocketAddr;
use std::time::Duration;

/// Why a service could not start or stop well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter does not parse.
    #[error("log filter `{filter}` is not understood")]
    LogFilter {
        /// As given.
        filter: String,
        /// What the parser said.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Signal handlers could not be set.
    #[error("signals cannot be handled")]
    Signals(#[source] std::io::Error),
    /// Health and metrics cannot be served.
    #[error("cannot listen on {address} for health and metrics")]
    Http {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Tasks were still running at the end of the grace.
    #[error("{count} tasks still ran {grace:?} after the stop")]
    ShutdownOverran {
        /// How many.
        count: usize,
        /// How long they had.
        grace: Duration,
    },
}
