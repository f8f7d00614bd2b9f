use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Asks a Vizier what happens on its machines.
#[derive(Debug, Clone, Parser)]
#[command(name = "px", version, disable_version_flag = true, arg_required_else_help = true)]
pub struct Args {
    /// Vizier to ask: host:port, or https://host:port.
    #[arg(long, global = true, env = "PX_VIZIER_ADDR", default_value = "127.0.0.1:51200", value_name = "ADDR", hide_env_values = true)]
    pub addr: String,
    /// Certificate (PEM) of the authority that signed the Vizier's; turns TLS on. `vizier run --tls` says where its own is.
    #[arg(long, global = true, env = "PX_TLS_CA", value_name = "FILE", hide_env_values = true)]
    pub tls_ca: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run a script and print its tables.
    Run(RunArgs),
    /// Compile a script without running it: exit code 0 if it is right, 1 if not.
    Check(CheckArgs),
    /// Look at the script library.
    #[command(subcommand)]
    Script(ScriptCommand),
    /// Print the version.
    Version,
}

/// Arguments of `px run`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Arguments of the script come after `--`:  px run px/http_data -- --start_time -10m\n\
    What a script takes:                      px run px/http_data -- --help")]
pub struct RunArgs {
    /// Script of the library, as `px script list` names it.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub name: Option<String>,
    /// Script of one's own: a file, `-` for standard input, or a folder with a .pxl file and perhaps a vis.json.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How to print rows.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Print this table only.
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// Write each table to a file of its own in this folder, as NAME.arrow (with -o arrow).
    #[arg(short, long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Arguments of the script.
    #[arg(last = true, value_name = "SCRIPT_ARGS")]
    pub script_args: Vec<String>,
}

/// How to print rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: aligned columns, values with units.
    #[default]
    Table,
    /// An object a line, the table's name under `_table_`.
    Json,
    /// Comma-separated, the table's name in the first column.
    Csv,
    /// Arrow IPC stream.
    Arrow,
}

/// Arguments of `px check`.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// The script: a file, or `-` for standard input.
    pub file: PathBuf,
}

/// What to do with the script library.
#[derive(Debug, Clone, Subcommand)]
pub enum ScriptCommand {
    /// Names and what they show.
    List {
        /// How to print them.
        #[arg(short, long, value_enum, default_value_t)]
        output: ListFormat,
    },
    /// Print a script.
    Show {
        /// As `px script list` names it.
        name: String,
    },
}

/// How to print a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    #[default]
    Table,
    /// An object a line.
    Json,
}
