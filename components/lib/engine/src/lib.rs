//! Runs compiled PxL over the tables: DataFusion session, limits, cancellation.
//!
//! ```text
//! script ─ compile (pxl) ─▶ outputs with logical plans ─ execute ─▶ physical plans ─ next ─▶ batches of output 0, then of 1, …
//!              ▲ tables, as sources of plans                 │ leaf: a scan of a table's snapshot
//!         table-store ◀──────────────────────────────────────┘ limits: memory of a query and of all, queries at a time
//! ```

mod admission;
mod bounded;
mod bounds;
mod catalog;
mod conform;
pub mod distributed;
mod engine;
mod error;
mod execution;
mod functions;
mod made;
mod memory;
mod quality;
mod scan;
mod store_table;
mod streaming;
mod table_info;
mod tail;

pub use catalog::StoreCatalog;
pub use engine::{CompileRequest, Compiled, Engine, EngineArgs};
pub use error::{Error, Fault};
pub use execution::{Execution, OutputBatch, Stats};
pub use functions::Functions;
pub use made::{AgentFacts, AgentTables, OwnNames};
pub use quality::{EventsLost, TableQuality};
pub use store_table::StoreTable;
