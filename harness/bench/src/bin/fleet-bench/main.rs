//! A whole Vizier of real processes on this machine, measured: what it needs at rest, what agents and names cost it, how soon a node takes part,
//! what the way through the control plane costs. Prints lines of the section "Many agents" of `docs/performance.md`.
//!
//! ```text
//! fleet's processes: nats-server, metadata, query-broker, kelvin, cloud, cloud-connector, vizier-pem     this process
//!   ▲ bus: registration, beats, names, metrics ────────────────────────────────────── crowd: agents as tasks, with tables of their own
//!   ▲ Kelvin ◀── dialled back, mutual TLS ────────────────────────────────────────────┘
//!   ▲ metadata ◀── lists, watches ── API server of Kubernetes (harness-kubernetes)
//!   ▲ broker, cloud ◀── scripts ── clients
//! ```
#![allow(clippy::print_stdout, reason = "the figures are this program's output")]

mod ask;
mod churn;
mod cluster;
mod crowd;
mod large;
mod new_pem;
mod passthrough;
mod rest;
mod traffic;
mod vizier;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// Measures a Vizier of real processes on this machine.
#[derive(Debug, Clone, Parser)]
struct Cli {
    /// Folder with the binaries; by default the one of this program.
    #[arg(long, env = "PX_FLEET_BIN_DIR", value_name = "DIR")]
    bin_dir: Option<PathBuf>,

    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [What::NewPem, What::Rest, What::Passthrough, What::Large])]
    only: Vec<What>,

    /// Agents of what is measured at rest and under churn; each is on a node of its own with 30 pods.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    agents: u32,

    /// Agents of the control path.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=4000))]
    large_agents: u32,

    /// Rows of each of those.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    large_rows: u32,

    /// Length of each observation, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=600))]
    seconds: u32,

    /// Pods that begin, and end, in a second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pods_per_second: u32,

    /// Rounds of what takes seconds each.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,

    /// Queries of each kind.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(4..=10_000))]
    queries: u32,

    /// Rows of the large answer.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(4000..=2_000_000))]
    answer_rows: u32,

    /// Serves and sends requests there, for this program's own children on nodes.
    #[arg(long, hide = true, requires = "marker")]
    traffic: Option<SocketAddr>,

    /// In the paths of those requests.
    #[arg(long, hide = true)]
    marker: Option<String>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// From the start of a new node's agent to a query that has its rows.
    NewPem,
    /// Memory and CPU at rest with many agents, what agents cost, and pods that come and go.
    Rest,
    /// The way through cloud and connector against the direct one.
    Passthrough,
    /// The control path over very many agents.
    Large,
}

/// Whatever is not done by then hangs.
const PATIENCE: Duration = Duration::from_mins(20);

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleet-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    if let (Some(address), Some(marker)) = (cli.traffic, &cli.marker) {
        return traffic::run(address, marker);
    }
    if let Some(reason) = fleet::skip_reason() {
        bail!("this machine cannot run a fleet: {reason}");
    }
    allow_many_files()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            measured = all(cli) => measured,
            stopped = stopped() => stopped,
        }
    })
}

/// Each for itself: what fails does not keep the others from being measured.
async fn all(cli: &Cli) -> Result<()> {
    harness_bench::head();
    let mut failed = Vec::new();
    for what in &cli.only {
        let measured = match what {
            What::NewPem => bounded("new-pem", new_pem::measure(cli)).await,
            What::Rest => bounded("rest", rest::measure(cli)).await,
            What::Passthrough => bounded("passthrough", passthrough::measure(cli)).await,
            What::Large => bounded("large", large::measure(cli)).await,
        };
        failed.extend(measured.err().map(|error| format!("{error:#}")));
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

async fn bounded(what: &str, measuring: impl Future<Output = Result<()>>) -> Result<()> {
    let measured = tokio::time::timeout(PATIENCE, Box::pin(measuring)).await;
    measured.with_context(|| format!("{what} is not done after {PATIENCE:?}"))?.with_context(|| format!("measuring {what}"))
}

/// The fleet goes down with the future that has it.
async fn stopped() -> Result<()> {
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupted.recv() => bail!("interrupted"),
        _ = terminated.recv() => bail!("told to end"),
    }
}

/// Each agent has two connections here, and those that it connects to are started with our limits.
fn allow_many_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).context("raising the limit of open files")
}
