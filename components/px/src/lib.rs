//! The command line: runs scripts on a Vizier, directly or through a control plane, and prints their tables; asks the control plane; checks
//! scripts, shows the script library.
//!
//! ```text
//! px run NAME ─▶ script + calls ─▶ client ─▶ tables, rows ─▶ table · json · csv · arrow ─▶ stdout
//! px get, deploy-key, …  ─▶ session ─▶ client ─▶ control plane
//! px check FILE ─▶ pxl, here                          errors, with a caret picture ─▶ stderr
//! ```

mod args;
mod arrow_output;
mod check;
mod command;
mod csv_output;
mod debug;
mod error;
mod json_output;
mod keys;
mod library;
mod login;
mod output;
mod picture;
mod run;
mod session;
mod source;
mod table_output;
mod value;
mod viziers;

pub use args::{
    Args, AuthCommand, CheckArgs, Command, DebugCommand, Format, GetCommand, KeyCommand, ListFormat, Plane, RunArgs, ScriptCommand,
    UpdateCommand,
};
pub use command::{Terminal, run};
pub use error::Error;
