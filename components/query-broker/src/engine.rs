//! What the broker wants of whatever compiles and runs scripts.

use arrow::record_batch::RecordBatch;
use futures::future::{BoxFuture, FutureExt as _, ready};
use futures::stream::BoxStream;
use ids::{QueryId, UnixNs};
use tables::Relation;

use crate::mutations::{Mutated, MutationFailure};
use crate::quality::Quality;

/// A script and how to call it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// PxL.
    pub text: String,
    /// Functions to call; none means the script's top level is what counts.
    pub funcs: Vec<FuncCall>,
    /// What a retention script is given as `px.plugin`.
    pub plugin_times: Option<PluginTimes>,
    /// Where exports go that name no endpoint.
    pub endpoint: Option<pxl::Endpoint>,
}

impl Script {
    /// What the compiler is given beside the text.
    pub(crate) fn configs(&self) -> pxl::Configs<'_> {
        let plugin_times = self.plugin_times.map(|times| pxl::PluginTimes { start: UnixNs(times.start_ns), end: UnixNs(times.end_ns) });
        pxl::Configs { endpoint: self.endpoint.as_ref(), plugin_times }
    }
}

/// One call of a script's function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FuncCall {
    /// Its name.
    pub name: String,
    /// Parameter and PxL literal.
    pub args: Vec<(String, String)>,
    /// Name of the table it returns, or the prefix of their names.
    pub output_prefix: String,
}

/// The window of a retention script, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PluginTimes {
    /// From.
    pub start_ns: i64,
    /// To.
    pub end_ns: i64,
}

/// One mistake in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1; a line that the script has.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// Why there is nothing to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompileFailure {
    /// The script is wrong. Never empty.
    Script(Vec<Problem>),
    /// It may be right, and asks for too much.
    TooLarge(String),
    /// Nobody knows yet which tables there are.
    NotReady(String),
    /// Our fault.
    Internal(String),
}

/// One table that a query makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// As the script displays it.
    pub name: String,
    /// Its columns.
    pub relation: Relation,
}

/// Something a running query says.
#[derive(Debug)]
pub enum QueryEvent {
    /// Rows of the output with that index, with its columns in order.
    Rows {
        /// Which output.
        output: usize,
        /// Its rows.
        batch: RecordBatch,
    },
    /// The output with that index is complete.
    OutputEnd {
        /// Which output.
        output: usize,
    },
    /// Rows of the script's exports were taken by their endpoints.
    Exported {
        /// How many, since the last time.
        rows: u64,
        /// Data points and spans of them that were refused.
        refused: u64,
    },
    /// How the outputs are made, as GraphViz text.
    Plan(String),
    /// How complete the answer is.
    Quality(Quality),
    /// What was read so far. The last one counts.
    Read {
        /// Bytes of the tables.
        bytes: u64,
        /// Rows of the tables.
        records: u64,
    },
}

/// Why a running query ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunFailure {
    /// A limit: memory, time, rows.
    ResourceExhausted(String),
    /// The data does not go with the script.
    InvalidArgument(String),
    /// It did not end within the time it may take.
    DeadlineExceeded(String),
    /// Another part of the Vizier does not understand us: another version.
    FailedPrecondition(String),
    /// Nobody who could run it can be reached now.
    Unavailable(String),
    /// Somebody cancelled it.
    Cancelled(String),
    /// The endpoint of an export did not take its rows.
    Export(String),
    /// Our fault.
    Internal(String),
}

/// A compiled script.
pub trait Query: Send {
    /// The tables it makes, in the order of the script.
    fn outputs(&self) -> &[Output];

    /// True if the script asked for its plan: [`QueryEvent::Plan`] then tells it.
    fn explains(&self) -> bool;

    /// True if the script asked how complete the answer is: [`QueryEvent::Quality`] then tells it, as it may otherwise.
    fn tells_quality(&self) -> bool {
        false
    }

    /// True if rows come until nobody wants more.
    fn streams(&self) -> bool {
        false
    }

    /// Runs it. The stream ends when every output has; dropping it cancels the query. An output that the stream's end leaves without
    /// [`QueryEvent::OutputEnd`] is complete as well.
    fn run(self: Box<Self>, id: QueryId) -> BoxStream<'static, Result<QueryEvent, RunFailure>>;
}

/// Compiles scripts.
pub trait QueryEngine: Send + Sync + 'static {
    /// Compiles a script against the tables that exist now.
    fn compile(&self, script: Script) -> BoxFuture<'_, Result<Box<dyn Query>, CompileFailure>>;

    /// The same script with an export of each table that it displays.
    fn otel_script(&self, script: String) -> BoxFuture<'_, Result<String, CompileFailure>> {
        drop(script);
        ready(Err(CompileFailure::Internal("scripts with exports are not made here".to_owned()))).boxed()
    }

    /// Makes the changes that a script wants, and says how they stand. Asked again, it makes none that are made.
    fn mutate(&self, script: Script) -> BoxFuture<'_, Result<Mutated, MutationFailure>> {
        drop(script);
        let text = "tracepoints and settings of agents cannot be changed here".to_owned();
        ready(Err(MutationFailure::Unsupported(text))).boxed()
    }
}
