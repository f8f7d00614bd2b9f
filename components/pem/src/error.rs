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
}
