use std::io;
use std::path::PathBuf;

/// Why something could not be kept or read back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file has one process.
    #[error("{} is in use by another process: stop that one, or give this one a file of its own", path.display())]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// Permissions, or a volume that is mounted read-only.
    #[error("cannot write {}: mount its volume writable and let this process's user write there", path.display())]
    Unwritable {
        /// The store's file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Nothing is lost; nothing more can be kept.
    #[error("the volume of {} is full: enlarge it or free some of it; what was kept before is still there", path.display())]
    VolumeFull {
        /// The store's file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Another failure of the file.
    #[error("cannot {action} {}", path.display())]
    File {
        /// Open, read, write.
        action: &'static str,
        /// The store's file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Its content is not ours, or was changed by others.
    #[error("{} is damaged or no store ({reason}): restore it, or move it away to begin anew; agents register again by themselves", path.display())]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer release wrote it.
    #[error("{} was written in format {found}, and this release knows {known}: use the newer release again, or move the file away", path.display())]
    NewerFormat {
        /// The store's file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// An endpoint is not `http://host:port` or `https://host:port`.
    #[error("`{endpoint}` is no endpoint of etcd: it looks like https://pl-etcd-client:2379")]
    Endpoint {
        /// As given.
        endpoint: String,
    },
    /// The certificates were refused.
    #[error("cannot use the certificates for etcd")]
    EtcdTls(#[source] tonic::transport::Error),
    /// Nothing was done.
    #[error("cannot reach etcd at {endpoints}: is it running, and do its certificates fit?")]
    EtcdUnreachable {
        /// All that were tried.
        endpoints: String,
        /// What the last one said.
        #[source]
        source: Box<tonic::Status>,
    },
    /// A write was sent and its answer is lost: it was done, or not. Whoever asked reads and decides.
    #[error("etcd at {endpoint} did not answer to a write, which may have been done")]
    EtcdUncertain {
        /// Who had it.
        endpoint: String,
        /// What was seen.
        #[source]
        source: Box<tonic::Status>,
    },
    /// Its quota is used up; it takes no more writes until it is compacted and defragmented.
    #[error("etcd at {endpoint} has used up its space: compact and defragment it and disarm its alarm, or raise its quota")]
    EtcdFull {
        /// Who said so.
        endpoint: String,
        /// What it said.
        #[source]
        source: Box<tonic::Status>,
    },
    /// Anything else that etcd says.
    #[error("etcd at {endpoint} refused a request")]
    EtcdRefused {
        /// Who said so.
        endpoint: String,
        /// What it said.
        #[source]
        source: Box<tonic::Status>,
    },
    /// A key that cannot be kept.
    #[error("a key of {bytes} bytes cannot be kept: keys have 1 to {max}")]
    Key {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A transaction that cannot be kept.
    #[error("a transaction of {found} {what} cannot be kept: {max} is the limit")]
    TooLarge {
        /// Bytes, conditions, writes.
        what: &'static str,
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A transaction that is ambiguous.
    #[error("a transaction writes `{key}` twice")]
    WrittenTwice {
        /// Which.
        key: String,
    },
    /// A record that this release cannot read.
    #[error("the record `{key}` cannot be read ({reason}): a newer release may have written it")]
    Record {
        /// Which.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Someone else wrote what we just read.
    #[error("the store was changed by another process while `{what}` was written: only one may be the leader")]
    Conflict {
        /// What was to be written.
        what: String,
    },
    /// The process is stopping.
    #[error("the store was stopped in the middle of an operation")]
    Stopped,
    /// The bus cannot be used, whoever is there.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// A certificate, or the listener.
    #[error(transparent)]
    Rpc(#[from] rpc::Error),
    /// The key that signs tokens.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// Health and metrics.
    #[error(transparent)]
    Service(#[from] service::Error),
    /// The API server does not do what it was asked for.
    #[error("Kubernetes refused a request, or cannot be reached")]
    Kubernetes(#[source] Box<kube::Error>),
    /// There is no cluster, or no way to it.
    #[error("cannot find the Kubernetes cluster that --kubernetes asks for")]
    NoKubernetes(#[source] Box<kube::Error>),
    /// etcd without saying where.
    #[error("--store etcd needs --etcd-endpoints")]
    NoEndpoints,
    /// A certificate or key for etcd.
    #[error("cannot read {}", path.display())]
    CertificateFile {
        /// Which.
        path: PathBuf,
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
    /// The listener broke.
    #[error("serving failed")]
    Serve(#[source] tonic::transport::Error),
}
