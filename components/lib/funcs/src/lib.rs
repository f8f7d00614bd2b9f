//! PxL's scalar and aggregate functions on Arrow arrays.
//!
//! ```text
//! registry(environment) ─▶ pxl::FunctionRegistry: name, exact types, semantic rule, how it runs
//!   native      what DataFusion can do itself, as its own expressions, so that its optimizer sees through them
//!   kernel      the rest: one DataFusion function per name, a loop over rows per overload
//!   tables      functions whose value is a table: which there are; who answers them is elsewhere
//!   kubernetes  names by process, id, name and address, of one snapshot for each batch
//!   aggregates  count, sum, mean, min, max, any as DataFusion's own; quantiles by a t-digest that merges
//! ```
//!
//! No function fails a query over the values of its arguments: integers wrap, floats follow IEEE 754, text that is none of what it should be
//! gives the type's default. The one exception is a batch whose text outgrows [`TEXT_BATCH_BYTES_MAX`].

mod aggregates;
mod builder;
mod environment;
mod json;
mod kernel;
mod kubernetes;
mod math;
mod names;
mod native;
mod net;
mod quantiles;
mod regexes;
mod table_functions;
mod text;
mod upids;

use builder::Builder;
pub use environment::{AddressNames, Environment, Kubernetes, NoKubernetes, NoNames, NoProcesses, ProcessNames};
pub use kernel::{TEXT_BATCH_BYTES_MAX, TEXT_BYTES_MAX};
use pxl::FunctionRegistry;
pub use table_functions::TABLE_FUNCTIONS;

/// Every function there is, for one agent or one machine.
pub fn registry(environment: &Environment) -> FunctionRegistry {
    let mut builder = Builder::default();
    native::add(&mut builder);
    math::add(&mut builder);
    text::add(&mut builder);
    regexes::add(&mut builder);
    json::add(&mut builder);
    net::add(&mut builder);
    names::add(&mut builder);
    upids::add(&mut builder, environment);
    kubernetes::add(&mut builder, environment);
    aggregates::add(&mut builder);
    builder.finish()
}
