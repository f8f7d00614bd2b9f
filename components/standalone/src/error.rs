use std::path::PathBuf;

/// Why `vizier` ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state folder cannot be used.
    #[error("state folder `{}` cannot be used", path.display())]
    State {
        /// The folder, or the file in it.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file with the cluster's id holds something else.
    #[error("`{}` holds no cluster id", path.display())]
    ClusterId {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ids::ParseIdError,
    },
    /// The ready file cannot be written.
    #[error("ready file `{}` cannot be written", path.display())]
    ReadyFile {
        /// As given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The address cannot be served, or the certificates cannot be used.
    #[error(transparent)]
    Rpc(#[from] rpc::Error),
    /// The file of keys cannot be used.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// The node agent cannot start.
    #[error(transparent)]
    Pem(#[from] pem::Error),
    /// The broker failed.
    #[error(transparent)]
    Broker(#[from] query_broker::Error),
}
