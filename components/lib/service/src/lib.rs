//! The shell that every process of ours shares: arguments, logs, signals, shutdown.
//!
//! ```text
//! main ── parse ──► service::main(args, run) ──► run(args, Shell { stop, tasks }) ──► exit code
//!                     │ logs, panic report          ▲
//!                     └ SIGINT / SIGTERM ── cancel ─┘      a second signal leaves at once
//! Health, Metrics ◄── what the service notes down     http ──► /healthz /readyz /statusz /metrics
//! ```

mod args;
mod error;
mod health;
pub mod http;
mod legacy;
mod memory;
mod metrics;
mod shell;

pub use args::{LogFormat, ServiceArgs};
pub use error::Error;
pub use health::{Check, Health};
pub use http::HttpArgs;
pub use legacy::{LEGACY_VARIABLES, LegacyVariable, parse};
pub use memory::{GIVE_BACK_PERIOD, Heap, give_back, heap, heap_text};
pub use metrics::Metrics;
pub use shell::{Settings, Shell, main};
