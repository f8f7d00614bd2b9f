use std::path::PathBuf;
use std::time::Duration;

use datafusion::arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use ids::QueryId;

use crate::memory::Refusal;

/// A function where it cannot be asked: how planners tell of it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{function} {rule}")]
pub(crate) struct Misplaced {
    pub(crate) function: String,
    pub(crate) rule: &'static str,
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The script's: with another script or other data it would run.
    Script,
    /// There is not enough of something just now, or for this query at all.
    Resources,
    /// Ours.
    Engine,
}

/// Why a query did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The query reached its own memory limit.
    #[error(
        "the query needs more than the {bytes_max} bytes of memory that one query may have (in {operator}): \
         ask for a shorter time or fewer columns, aggregate before joining, or raise the limit"
    )]
    QueryMemory {
        /// The limit.
        bytes_max: usize,
        /// The step of the plan that asked for more.
        operator: String,
    },
    /// All queries together reached their memory limit.
    #[error(
        "the queries that run now need more than the {bytes_max} bytes of memory that all queries may have together (in {operator}): \
         try again when fewer run, or raise the limit"
    )]
    EngineMemory {
        /// The limit.
        bytes_max: usize,
        /// The step of the plan that asked for more.
        operator: String,
    },
    /// Another limit.
    #[error("the query reached a limit")]
    Resources(#[source] DataFusionError),
    /// As many queries as may run and wait are here.
    #[error("{running_max} queries run and {waiting_max} wait already: try again later")]
    Busy {
        /// That may run at a time.
        running_max: usize,
        /// That may wait.
        waiting_max: usize,
    },
    /// A function or an operator refused a value.
    #[error("the query failed on its data")]
    Data(#[source] DataFusionError),
    /// The query took longer than it may.
    #[error("the query did not end within {time_max:?}: ask for a shorter time or fewer rows, or allow it more time")]
    OutOfTime {
        /// The limit.
        time_max: Duration,
    },
    /// An operator that gives nothing before its input ends, over rows that never do.
    #[error("{operator} cannot stream: it has no rows before all of its input is there. Leave out stream(), or the operator")]
    Blocking {
        /// As scripts know it.
        operator: &'static str,
    },
    /// A function asked for where what it tells is not known.
    #[error("{function} {rule}")]
    Misplaced {
        /// As scripts name it.
        function: String,
        /// Where it may stand.
        rule: &'static str,
    },
    /// Somebody stopped it.
    #[error("the query was cancelled")]
    Cancelled,
    /// Its id is in use.
    #[error("a query {query} runs already")]
    QueryExists {
        /// The id.
        query: QueryId,
    },
    /// A plan that cannot be written for the wire, or read from it.
    #[error("the plan cannot travel")]
    Plan(#[source] DataFusionError),
    /// A plan too large for the wire.
    #[error("the plan has {bytes} bytes, and may have {bytes_max}: ask for less in one script")]
    PlanBytes {
        /// Of the plan.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A plan with too many operators in a row, or too deep an expression, for the wire.
    #[error("the plan is nested too deeply to travel: use fewer operators in a row, or split large expressions over several columns")]
    PlanDepth,
    /// The folder for rows that do not fit into memory cannot be used.
    #[error("cannot use {} for spilled rows", folder.display())]
    SpillFolder {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A plan that could not be run, or a table that could not be read.
    #[error("the query failed inside the engine")]
    Internal(#[source] DataFusionError),
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Error::QueryMemory { .. }
            | Error::EngineMemory { .. }
            | Error::Resources(_)
            | Error::Busy { .. }
            | Error::OutOfTime { .. }
            | Error::Cancelled
            | Error::PlanBytes { .. }
            | Error::PlanDepth => Fault::Resources,
            Error::Data(_) | Error::Blocking { .. } | Error::Misplaced { .. } => Fault::Script,
            Error::Internal(_) | Error::QueryExists { .. } | Error::Plan(_) | Error::SpillFolder { .. } => Fault::Engine,
        }
    }

    /// `refusal`: the last time the query was refused memory.
    pub(crate) fn classify(error: DataFusionError, refusal: Option<Refusal>) -> Error {
        enum Class {
            Resources,
            Data,
            Internal,
        }
        if let DataFusionError::External(cause) = error.find_root()
            && let Some(Misplaced { function, rule }) = cause.downcast_ref::<Misplaced>()
        {
            return Error::Misplaced { function: function.clone(), rule };
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "what is not known to be the script's fault is ours")]
        let class = match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Class::Resources,
            DataFusionError::Execution(_) => Class::Data,
            DataFusionError::ArrowError(arrow, _) => match **arrow {
                ArrowError::DivideByZero
                | ArrowError::ArithmeticOverflow(_)
                | ArrowError::CastError(_)
                | ArrowError::ComputeError(_)
                | ArrowError::ParseError(_) => Class::Data,
                // How DataFusion says that what it spills has reached its limit.
                ArrowError::IoError(ref text, _) if text.contains("max_temp_directory_size") => Class::Resources,
                _ => Class::Internal,
            },
            _ => Class::Internal,
        };
        match (class, refusal) {
            (Class::Resources, _) if matches!(error.find_root(), DataFusionError::ArrowError(_, _)) => Error::Resources(error),
            (Class::Resources, Some(Refusal { operator, bytes_max, whole_engine: true })) => Error::EngineMemory { bytes_max, operator },
            (Class::Resources, Some(Refusal { operator, bytes_max, whole_engine: false })) => Error::QueryMemory { bytes_max, operator },
            (Class::Resources, None) => Error::Resources(error),
            (Class::Data, _) => Error::Data(error),
            (Class::Internal, _) => Error::Internal(error),
        }
    }
}
