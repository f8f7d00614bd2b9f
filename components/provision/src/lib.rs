//! Makes what the parts of a Vizier know each other by, where no operator does.
//!
//! ```text
//! parts and their names ──► rpc: authority, certificates ──► files
//!                           auth: key of the tokens, API key ──┘
//! ```

mod args;
mod error;
mod run;

pub use args::Args;
pub use error::Error;
pub use run::{API_KEYS_FILE, SIGNING_KEY_FILE, run};
