//! PxL: parse, check, lower to DataFusion logical plans; diagnostics.
//!
//! ```text
//! text ─ parse ─▶ syntax tree ─ eval ─▶ values: frames, expressions, functions ─ frame ─▶ one LogicalPlan per output
//!        limits                objects/  types: exact overloads, semantic types   catalog, functions: what there is
//! ```
//!
//! A script runs once, while it compiles: its values are descriptions of columns and tables, not their rows. There is no NULL in PxL:
//! every column of every plan made here holds a value in every row.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a value or a syntax node that a construct does not take is refused by its name, whatever it is"
)]
#![allow(clippy::unnecessary_box_returns, reason = "every diagnostic travels boxed, as the error of a Result")]

mod args;
mod catalog;
mod compile;
mod diagnostics;
mod eval;
mod exec;
mod export;
mod export_columns;
mod expr;
mod flags;
mod fold;
mod frame;
mod functions;
mod limits;
mod mutations;
mod objects;
mod otel_script;
mod parse;
mod scope;
mod source;
mod suggest;
mod survive;
mod table_functions;
mod time;
mod trace;
mod value;

pub use catalog::{Catalog, CatalogTable, SchemaCatalog};
pub use compile::{CompileInput, Compiled, FuncToExecute, Output, check, compile, compile_mutations, mutates};
pub use diagnostics::{Code, Diagnostic, Diagnostics, Message};
pub use export::{
    Attribute, Configs, EXPORT_TIMEOUT_DEFAULT, EXPORT_TIMEOUT_MAX, Endpoint, Export, Field, Gauge, Metric, PluginTimes, Signal,
    Span as OtelSpan, SpanKind, Summary,
};
pub use flags::{Flags, MAX_OUTPUT_ROWS_DEFAULT};
pub use functions::{AggregateFunction, AggregateLower, FunctionRegistry, RunsOn, ScalarFunction, ScalarLower, SemanticRule};
pub use mutations::{Captured, ConfigUpdate, Mutation, Probe, Program, Selector, Source, Target, Tracepoint};
pub use otel_script::otel_script;
pub use source::{Place, Span};
pub use survive::survive;
pub use table_functions::{
    AnsweredBy, Argument, FUNCTION_TABLE_PREFIX, FunctionRows, NoRows, TableFunction, TableFunctionArg, TableFunctionColumn,
};
