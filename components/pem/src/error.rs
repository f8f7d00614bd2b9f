/// Why the node agent cannot start. A hook that is missing is no such reason: it costs its rows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table store refuses its budget.
    #[error("tables cannot be set up")]
    Tables(#[source] table_store::Error),
    /// The thread that reads the ring could not be made.
    #[error("thread `{name}` cannot be started")]
    Thread {
        /// Its name.
        name: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A certificate.
    #[error(transparent)]
    Rpc(#[from] rpc::Error),
    /// The bus has settings with which it cannot be used, or is closed.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The compute threads, or the metadata service does not want this process.
    #[error(transparent)]
    Agent(#[from] agent::Error),
    /// The address for health and metrics.
    #[error(transparent)]
    Service(#[from] service::Error),
    /// The ready file.
    #[error("cannot write {}", path.display())]
    ReadyFile {
        /// Which.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
