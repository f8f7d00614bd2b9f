use arrow::error::ArrowError;

/// What a table or the store refuses, or what failed inside.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The fixed parts of the budget leave nothing for the tables that share the rest.
    #[error(
        "the table budget of {total_bytes} bytes does not add up: {fixed_bytes} bytes are set aside by name and leave nothing for {sharing} other tables"
    )]
    BudgetTooSmall {
        /// Of the whole store.
        total_bytes: u64,
        /// Set aside for tables that are named in the budget.
        fixed_bytes: u64,
        /// Tables that share what is left.
        sharing: usize,
    },
    /// A percentage above 100.
    #[error("http_events cannot have {percent} % of the table budget")]
    Percent {
        /// As configured.
        percent: u8,
    },
    /// A table of this name is there.
    #[error("table `{table}` already exists")]
    Exists {
        /// Its name.
        table: String,
    },
    /// Every table has its rows' time in a column `time_` of type TIME64NS.
    #[error("table `{table}` has no column `time_` of type TIME64NS")]
    NoTime {
        /// Its name.
        table: String,
    },
    /// The batch is of another schema.
    #[error("table `{table}`: {what}")]
    Schema {
        /// Its name.
        table: String,
        /// The first difference.
        what: String,
    },
    /// The batch alone is larger than the table may be.
    #[error("a batch of {bytes} bytes is larger than table `{table}` may be ({bytes_max} bytes)")]
    BatchTooLarge {
        /// Its name.
        table: String,
        /// That the batch holds.
        bytes: u64,
        /// The table's limit.
        bytes_max: u64,
    },
    /// A projection names a column that is not there.
    #[error("column {index} of {columns} was asked for")]
    NoColumn {
        /// Asked for, from 0.
        index: usize,
        /// That there are.
        columns: usize,
    },
    /// Arrow refused; ours.
    #[error("table data could not be put together")]
    Arrow(#[from] ArrowError),
    /// Packing or unpacking failed; ours.
    #[error("table data could not be packed or unpacked")]
    Zstd(#[source] std::io::Error),
    /// A sealed column is not what its header says; ours.
    #[error("sealed column {column} is damaged")]
    Damaged {
        /// Its place in the schema.
        column: usize,
    },
}
