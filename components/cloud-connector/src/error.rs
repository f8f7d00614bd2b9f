use std::io;
use std::path::PathBuf;

/// Why the connector does not run. That others are not reached is none: it is tried again for ever.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate.
    #[error(transparent)]
    Rpc(#[from] rpc::Error),
    /// The key that the parts of this Vizier share.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// The bus cannot be used as it is set up.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The listener for health and metrics.
    #[error(transparent)]
    Service(#[from] service::Error),
    /// A file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// Read, write, …
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file of the identity holds something else. A new registration in its place could make a second cluster of this one.
    #[error("{} holds no cluster's identity", path.display())]
    Identity {
        /// Which.
        path: PathBuf,
    },
    /// Nothing to register with.
    #[error("no deploy key: --deploy-key-file names a file with one")]
    NoDeployKey,
    /// A key that no header carries.
    #[error("the deploy key has characters that none has")]
    DeployKey,
    /// Nothing that tells this cluster from others.
    #[error("no cluster UID: --cluster-uid gives one, and this machine has no /etc/machine-id to take in its place")]
    NoClusterUid,
    /// An address that is none.
    #[error("`{address}` is not an address: write host:port, https://host:port or, on this machine, http://host:port")]
    Address {
        /// As given.
        address: String,
    },
    /// Keys and rows would be read by others.
    #[error("{address} is on another machine, and is spoken to over TLS only: write https://, or leave http:// out")]
    PlaintextOffLoopback {
        /// As given.
        address: String,
    },
    /// Nobody to trust.
    #[error("there is no certificate of an authority to check {address} against: --cloud-ca-cert names one")]
    NoAuthority {
        /// As given.
        address: String,
    },
    /// The transport refuses its settings.
    #[error("cannot set up a connection to {address}")]
    Setup {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// Something hangs.
    #[error("no heartbeat was handed over for {minutes} minutes although the bridge is open: leaving, to be started again")]
    Watchdog {
        /// For how long.
        minutes: u64,
    },
}
