//! Every table: column, type, semantic type, unit, text. Data only; a change here is a change of the public API
//! (`golden/tables/agents/schema.txt`).

mod all;
mod relation;
mod types;

pub use all::{CONN_STATS, HTTP_EVENTS, PROBE_STATUS, PROC_EXIT_EVENTS, STIRLING_ERROR, all};
pub use relation::{ColumnDef, Relation};
pub use types::{Column, DataType, PatternType, SemanticType, Table, UINT128_BYTES};
