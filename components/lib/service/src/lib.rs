//! The shell that every process of ours shares: arguments, logs, signals, shutdown.
//!
//! ```text
//! main ── parse ──► service::main(args, run) ──► run(args, Shell { stop, tasks }) ──► exit code
//!                     │ logs, panic report          ▲
//!                     └ SIGINT / SIGTERM ── cancel ─┘      a second signal leaves at once
//! ```

mod args;
mod error;
mod legacy;
mod memory;
mod shell;

pub use args::{LogFormat, ServiceArgs};
pub use error::Error;
pub use legacy::{LEGACY_VARIABLES, LegacyVariable, parse};
pub use memory::{GIVE_BACK_PERIOD, give_back};
pub use shell::{Settings, Shell, main};
