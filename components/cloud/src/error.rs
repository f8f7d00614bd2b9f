use std::io;
use std::path::PathBuf;

/// Why the control plane does not run, or a command was not done. What callers do wrong is a status to them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener or its certificates.
    #[error(transparent)]
    Rpc(#[from] rpc::Error),
    /// The listener for health and metrics.
    #[error(transparent)]
    Service(#[from] service::Error),
    /// The key that signs tokens.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// The database cannot be opened.
    #[error("cannot open the database {}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// The database is not as this version needs it, and cannot be made so.
    #[error("the database {} cannot be brought to this version", path.display())]
    Migrate {
        /// Which file.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// The database refuses.
    #[error("the database cannot {action}")]
    Database {
        /// What was to be done.
        action: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// The database holds what this version does not understand.
    #[error("the database holds no usable {what}")]
    Content {
        /// Which part.
        what: &'static str,
    },
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
    /// A certificate without its key, or the other way round.
    #[error("--tls-cert and --tls-key belong together")]
    HalfCertificate,
    /// The name is in use.
    #[error("there is an organisation `{name}` already")]
    OrgExists {
        /// Which.
        name: String,
    },
    /// No such organisation.
    #[error("there is no organisation `{name}`; `cloud org list` names them all")]
    NoSuchOrg {
        /// As given.
        name: String,
    },
    /// No such key, cluster or script.
    #[error("there is no {what} {id}")]
    NoSuch {
        /// What was asked for.
        what: &'static str,
        /// As given.
        id: String,
    },
    /// Standard output fails.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// The listener broke.
    #[error("serving failed")]
    Serve(#[source] tonic::transport::Error),
}
