//! The whole product in one process: PEM, Kelvin, broker and metadata.
//!
//! ```text
//! kernel ── pem ──► table-store ◄── engine ◄── query-broker ◄── px, pxapi
//!             └───── names of processes ──► funcs ┘
//! ```

mod args;
mod error;
mod facts;
mod identity;
mod ready;
mod run;

pub use args::{Args, Command, RunArgs};
pub use error::Error;
pub use run::run;
