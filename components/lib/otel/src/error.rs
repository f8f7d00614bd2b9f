use std::time::Duration;

/// Why rows were not exported. Each names the endpoint, none what its headers hold.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be an endpoint.
    #[error("OTel export to `{endpoint}` is not possible: {reason}")]
    Endpoint {
        /// As the script or the request names it.
        endpoint: String,
        /// What to change.
        reason: String,
    },
    /// It was not reached, or did not take the rows.
    #[error("OTel export to `{endpoint}` failed: {reason}")]
    Failed {
        /// As the script or the request names it.
        endpoint: String,
        /// What it said, or what the connection did.
        reason: String,
    },
    /// It did not answer in time.
    #[error("OTel export to `{endpoint}` failed: no answer within {} s", timeout.as_secs_f64())]
    Silent {
        /// As the script or the request names it.
        endpoint: String,
        /// The time that it had.
        timeout: Duration,
    },
    /// The rows are not those of the export. Our fault.
    #[error("rows for an export have no column {column} of the type that it needs")]
    Column {
        /// Its position.
        column: usize,
    },
    /// A message from another part of the Vizier makes no export.
    #[error("an export without {what}")]
    Wire {
        /// What is missing or wrong.
        what: &'static str,
    },
}

impl Error {
    /// Whether the export itself is wrong, and would be everywhere.
    pub fn is_internal(&self) -> bool {
        match self {
            Error::Endpoint { .. } | Error::Failed { .. } | Error::Silent { .. } => false,
            Error::Column { .. } | Error::Wire { .. } => true,
        }
    }
}
