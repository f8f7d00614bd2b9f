use std::io;
use std::path::PathBuf;

/// Why the broker does not run, or stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The gRPC server failed.
    #[error("the gRPC server failed")]
    Serve(#[source] tonic::transport::Error),
    /// The listener, or certificates that do not serve.
    #[error(transparent)]
    Rpc(#[from] rpc::Error),
    /// The key of the tokens, or the file of keys.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// The bus's settings.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The shell: health and metrics.
    #[error(transparent)]
    Service(#[from] service::Error),
    /// An address that is none, or a certificate that cannot be used for it.
    #[error("`{address}` cannot be called")]
    Peer {
        /// As given.
        address: String,
        /// What the transport said.
        #[source]
        source: tonic::transport::Error,
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
}
