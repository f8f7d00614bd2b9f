//! Byte-budgeted Arrow tables: append, seal, expire, snapshot.
//!
//! ```text
//! append ─► hot batches ── seal ──► sealed batches ── budget full ──► expired, oldest first
//!           (plain Arrow)           (columns encoded, zstd)
//!                 └──────── snapshot: an immutable list of both ────────┘
//!                               ├─ scan: projection, times
//!                               └─ cursor: follows the table by row id
//! ```

mod batch;
mod budget;
mod codec;
mod cursor;
mod error;
mod list;
mod sealed;
mod snapshot;
mod store;
mod table;
mod waiting;

pub use budget::Budget;
pub use cursor::{Cursor, CursorBatch, Start, Stop};
pub use error::Error;
pub use snapshot::{Scan, Snapshot, TimeRange};
pub use store::TableStore;
pub use table::{Limits, Sealed, Stats, Table};
