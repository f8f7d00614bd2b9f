//! Rows of a query as OpenTelemetry metrics and spans, sent to an endpoint by gRPC.
//!
//! ```text
//! pxl::Export ─▶ Exporter ─▶ Sink ◀─ batches of rows
//!                              └─ per row: resource × signals ─ gathered to a request ─ gzip, gRPC ─▶ endpoint
//! ```
//!
//! A sink holds one request at a time and sends the next when that was answered: who makes the rows waits for the endpoint.

mod counts;
mod dial;
mod error;
mod exports;
mod ids;
mod rows;
mod sink;
mod wire;

pub use counts::CountsSnapshot;
pub use dial::Roots;
pub use error::Error;
pub use exports::Exports;
pub use sink::{Exported, Exporter, Sink};
pub use wire::{decode, encode};
