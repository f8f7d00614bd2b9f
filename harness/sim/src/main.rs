//! Runs the worlds of many seeds; the first one in which something does not hold is told in full.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Runs the worlds of many seeds.
#[derive(Debug, Parser)]
struct Args {
    /// How many.
    #[arg(long, default_value_t = 200)]
    seeds: u64,

    /// The first one.
    #[arg(long, default_value_t = 0)]
    first: u64,

    /// Tells the story of each, also if all holds.
    #[arg(long)]
    tell: bool,

    /// What to log.
    #[arg(long, env = "PX_LOG", default_value = "off")]
    log: String,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(&args.log)?).with_writer(std::io::stderr).init();
    let mut out = std::io::stdout().lock();
    for seed in args.first..args.first.saturating_add(args.seeds) {
        let told = harness_sim::tell(seed)?;
        if args.tell || told.outcome.is_err() {
            writeln!(out, "seed {seed}\n{}", told.trace.join("\n"))?;
        }
        if let Err(error) = told.outcome {
            writeln!(out, "seed {seed}: {error:#}\nagain: ci/sim --first {seed} --seeds 1")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    writeln!(out, "{} seeds from {}: all holds", args.seeds, args.first)?;
    Ok(ExitCode::SUCCESS)
}
