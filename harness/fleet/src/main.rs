//! The `px-fleet` binary, behind `ci/fleet`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use fleet::{Fleet, KELVINS_MAX, PEMS_MAX, Settings, Store};

/// A Vizier of real processes on this machine, each node agent in namespaces of its own.
#[derive(Debug, Parser)]
#[command(name = "ci/fleet", bin_name = "ci/fleet")]
struct Args {
    /// What to do.
    #[command(subcommand)]
    command: Command,
    /// Folder for what runs, logs, state and certificates.
    #[arg(long, global = true, env = "PX_FLEET_DIR", default_value = "/run/px-fleet", value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts it, and returns when scripts answer; the last lines are variables for its clients.
    Up {
        /// How many nodes.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=PEMS_MAX as u64), value_name = "N")]
        pems: u64,
        /// How many Kelvins.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=KELVINS_MAX as u64), value_name = "N")]
        kelvins: u64,
        /// Where metadata keeps its state.
        #[arg(long, value_enum, default_value = "embedded")]
        store: Store,
        /// Folder with the binaries.
        #[arg(long, env = "PX_FLEET_BIN_DIR", value_name = "DIR")]
        bin_dir: PathBuf,
    },
    /// Runs a command on a node; its exit code is this one's.
    Exec {
        /// The node: pem-1, …
        pem: String,
        /// The command.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Prints name, pid and address of each part, one a line.
    Status,
    /// Prints the variables for clients.
    Env,
    /// Kills a part, as a crash would.
    Kill {
        /// As `status` names it.
        part: String,
    },
    /// Starts a part that does not run.
    Start {
        /// As `status` names it.
        part: String,
    },
    /// Ends all that was started, and removes everything.
    Down,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ci/fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<ExitCode> {
    let mut out = std::io::stdout();
    match args.command {
        Command::Up { pems, kelvins, store, bin_dir } => {
            let (pems, kelvins) = (usize::try_from(pems)?, usize::try_from(kelvins)?);
            let fleet = Fleet::up(&Settings { dir: args.dir, bin_dir, pems, kelvins, store })?;
            writeln!(out, "{}", fleet.variables()?)?;
        }
        Command::Exec { pem, command } => {
            let status = Fleet::open(&args.dir)?.command(&pem, &command)?.status().context("running nsenter")?;
            return Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from));
        }
        Command::Status => {
            for line in Fleet::open(&args.dir)?.status() {
                writeln!(out, "{line}")?;
            }
        }
        Command::Env => writeln!(out, "{}", Fleet::open(&args.dir)?.variables()?)?,
        Command::Kill { part } => Fleet::open(&args.dir)?.kill(&part)?,
        Command::Start { part } => Fleet::open(&args.dir)?.start(&part)?,
        Command::Down => Fleet::open(&args.dir)?.down()?,
    }
    Ok(ExitCode::SUCCESS)
}
