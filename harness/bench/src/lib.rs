//! What the benchmarks share: figures as lines of a table, what processes use, tables with rows.

mod events;
mod figures;
pub mod usage;

pub use events::{http_data, with_http_events};
pub use figures::{Goal, head, line, mb, ms, quantile};
