use std::io;

/// Why something was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Certificates, or a file.
    #[error(transparent)]
    Rpc(#[from] rpc::Error),
    /// Keys.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// Nobody reads what was made.
    #[error("cannot say what was made")]
    Output(#[source] io::Error),
}
