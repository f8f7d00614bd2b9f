//! The command line: runs scripts on a Vizier and prints their tables, checks scripts, shows the script library.
//!
//! ```text
//! px run NAME ─▶ script + calls ─▶ client ─▶ tables, rows ─▶ table · json · csv · arrow ─▶ stdout
//! px check FILE ─▶ pxl, here                          errors, with a caret picture ─▶ stderr
//! ```

mod args;
mod arrow_output;
mod check;
mod command;
mod csv_output;
mod error;
mod json_output;
mod library;
mod output;
mod picture;
mod run;
mod source;
mod table_output;
mod value;

pub use args::{Args, CheckArgs, Command, Format, ListFormat, RunArgs, ScriptCommand};
pub use command::{Terminal, run};
pub use error::Error;
