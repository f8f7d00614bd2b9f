//! Queries over many agents: what a Kelvin and its agents need for them, over real TLS connections on loopback. Prints the section "Many
//! agents" of `docs/performance.md`.
//!
//! This process is the Kelvin and the broker's side of a query: compile, encode, call, read. The agents are tasks in two processes that it
//! starts, each with a table of its own.
#![allow(clippy::print_stdout, reason = "the figures are this program's output")]

mod agents;
mod kelvin;
mod measure;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser};

/// Measures queries over many agents on this machine.
#[derive(Debug, Parser)]
struct Cli {
    /// Numbers of agents to measure with.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100])]
    agents: Vec<usize>,

    /// Rows of each agent's http_events, over the last five minutes.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1000..=1_000_000))]
    rows: u32,

    /// Queries of each kind; half as many are run before, unmeasured.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(4..=10_000))]
    rounds: u32,

    #[command(flatten)]
    of_child: Option<Child>,
}

/// Runs agents; for this program's own children.
#[derive(Debug, Clone, Args)]
#[group(requires_all = ["first", "count", "kelvin", "certificates"])]
struct Child {
    /// Number of the first agent here.
    #[arg(long, hide = true, required = false)]
    first: usize,
    /// How many.
    #[arg(long, hide = true, required = false)]
    count: usize,
    /// Where they dial.
    #[arg(long, hide = true, required = false)]
    kelvin: SocketAddr,
    /// Folder with ca.crt, peer.crt and peer.key.
    #[arg(long, hide = true, required = false)]
    certificates: PathBuf,
}

/// Whatever is not done by then hangs.
const PATIENCE: Duration = Duration::from_mins(10);

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("many-agents: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let Some(child) = cli.of_child {
        return runtime.block_on(agents::run(&child, cli.rows));
    }
    harness_bench::head();
    for agents in &cli.agents {
        runtime.block_on(async { tokio::time::timeout(PATIENCE, measure::all(*agents, cli.rows, cli.rounds)).await })??;
    }
    Ok(())
}
