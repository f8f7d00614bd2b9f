use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why Kelvin does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate, or the broker's listener.
    #[error(transparent)]
    Rpc(#[from] rpc::Error),
    /// The bus has settings with which it cannot be used.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The address for health and metrics.
    #[error(transparent)]
    Service(#[from] service::Error),
    /// The compute threads, or the metadata service does not want this process.
    #[error(transparent)]
    Agent(#[from] agent::Error),
    /// The folder for spilled rows.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The agents' listener.
    #[error("cannot listen on {address} for agents")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The ready file.
    #[error("cannot write {}", path.display())]
    ReadyFile {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The broker's listener broke.
    #[error("serving the query broker failed")]
    Serve(#[source] tonic::transport::Error),
}
