use std::io;
use std::path::PathBuf;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
    /// A folder that holds no script, or several.
    #[error("{} has {count} .pxl files, it must have one", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// No such script.
    #[error("there is no script `{name}` in the library{nearest}; `px script list` names them all")]
    UnknownScript {
        /// As given.
        name: String,
        /// What may have been meant.
        nearest: String,
    },
    /// The arguments of the script.
    #[error(transparent)]
    ScriptArguments(#[from] scripts::Error),
    /// A word among the arguments of the script that is none.
    #[error("`{word}` is not an argument: write --name value")]
    ArgumentSyntax {
        /// Which.
        word: String,
    },
    /// An argument without a value.
    #[error("argument `--{name}` has no value")]
    ArgumentValue {
        /// Which.
        name: String,
    },
    /// The Vizier, or the way to it.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The control plane, or the way to it.
    #[error("{}", place(address, source))]
    Cloud {
        /// Where it is.
        address: String,
        /// What went wrong.
        source: client::Error,
    },
    /// A command for a control plane without one.
    #[error("this needs a control plane: --cloud-addr or PX_CLOUD_ADDR says where it is")]
    NoCloud,
    /// Neither a key nor a token for the control plane.
    #[error("not logged in at {address}: give an API key with --api-key or PX_API_KEY, or run `px auth login`")]
    NotLoggedIn {
        /// Where it is.
        address: String,
    },
    /// `px auth login` without a key.
    #[error("`px auth login` needs an API key: --api-key or PX_API_KEY gives one, `cloud key create --kind api` makes one")]
    NoApiKey,
    /// Nowhere to keep a token.
    #[error("there is no home folder to keep the token in: PX_CONFIG_DIR names another folder")]
    NoHome,
    /// The token is none that we can read.
    #[error("the token of {address} is not understood")]
    Token {
        /// Where it came from.
        address: String,
    },
    /// No such cluster.
    #[error("there is no cluster `{name}`; there are: {names}")]
    NoSuchCluster {
        /// As given.
        name: String,
        /// Those there are.
        names: String,
    },
    /// No cluster to choose.
    #[error("{address} knows no healthy cluster; there are: {names}")]
    NoHealthyCluster {
        /// Where it is.
        address: String,
        /// Those there are, with where they stand.
        names: String,
    },
    /// Several to choose from.
    #[error("there are several healthy clusters, choose with --cluster: {names}")]
    SeveralClusters {
        /// Which.
        names: String,
    },
    /// An id that is none.
    #[error("`{text}` is not the id of a key")]
    KeyId {
        /// As given.
        text: String,
    },
    /// The cluster does not do it.
    #[error("cluster {cluster} has not begun to change its version: it has no operator that could, or has that version")]
    NotUpdated {
        /// Which.
        cluster: String,
    },
    /// Standard output is closed: nobody reads it any more.
    #[error("standard output is closed")]
    OutputClosed,
    /// Standard output fails.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// A stream of Arrow holds one table.
    #[error("the script makes {count} tables ({names}), and an Arrow stream holds one: choose with --table, or write files with -d DIR")]
    SeveralTables {
        /// How many.
        count: usize,
        /// Which.
        names: String,
    },
    /// The table asked for is none of those that there are.
    #[error("the script makes no table `{name}`; it makes: {names}")]
    NoSuchTable {
        /// Which.
        name: String,
        /// Those there are.
        names: String,
    },
    /// `-d` with a format that has no files.
    #[error("-d writes Arrow files: use it with -o arrow")]
    FolderWithoutArrow,
    /// Arrow on a terminal.
    #[error("an Arrow stream is binary: send it to a file or a program, or write files with -d DIR")]
    BinaryOnTerminal,
    /// The Arrow writer.
    #[error("cannot write rows")]
    Arrow(#[source] arrow::error::ArrowError),
    /// Ctrl-C.
    #[error("Script was cancelled. Exiting.")]
    Cancelled,
}

impl Error {
    pub(crate) fn output(error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::BrokenPipe { Error::OutputClosed } else { Error::Output(error) }
    }

    pub(crate) fn arrow(error: arrow::error::ArrowError) -> Error {
        if let arrow::error::ArrowError::IoError(_, source) = error { Error::output(source) } else { Error::Arrow(error) }
    }
}

/// Where something went wrong, unless what went wrong says it itself. The cause follows in any case.
fn place(address: &str, source: &client::Error) -> String {
    match source {
        client::Error::Address { .. } | client::Error::NoAuthority { .. } | client::Error::Setup { .. } | client::Error::Connect { .. } => {
            source.to_string()
        }
        client::Error::Credentials
        | client::Error::Script(_)
        | client::Error::Pending { .. }
        | client::Error::Failed { .. }
        | client::Error::Call(_)
        | client::Error::Lost(_)
        | client::Error::Protocol(_) => address.to_owned(),
    }
}
