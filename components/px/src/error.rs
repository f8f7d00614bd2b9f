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
