//! The control plane: organisations, keys, clusters with their state, scripts passed through to them. One binary on SQLite.
//!
//! ```text
//! px, pxapi ── public API ──► auth ──► clusters ─┐                    ┌── store: SQLite
//!                               └────► calls ────┼── bridges ─────────┤
//! cloud-connector ── registration, bridge ──► vzconn ── heartbeats ───┘
//! ```
//!
//! What a cluster's state is at a time, which name it gets and which changes of scripts it must be told are pure: `life`, `names`, `cron`.

mod args;
mod bridges;
mod caller;
mod calls;
mod command;
mod cron;
mod error;
mod life;
mod metrics;
mod names;
mod public_api;
mod run;
mod serve;
mod store;
mod vzconn;
mod wire;

pub use args::{Args, Base, ClusterCommand, Command, KeyCommand, KeyKind, OrgCommand, Owner, ScriptCommand, ServeArgs};
pub use command::key;
pub use error::Error;
pub use life::{Life, SILENCE_MAX, SILENCE_UPDATING_MAX, Said, Standing};
pub use run::run;
