//! Benchmarks of the whole agent: real traffic, the real `vizier`. Prints the table of `docs/performance.md`.
#![allow(clippy::print_stdout, reason = "the figures are this program's output")]

mod load;
mod measure;

use anyhow::Result;
use clap::Parser;

/// Measures the agent on this machine.
#[derive(Debug, Parser)]
struct Args {
    /// Requests a second at the fixed rate.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    rate: u32,

    /// Length of the load, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,

    /// Rounds of what is measured several times; medians are printed.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

fn main() -> Result<()> {
    let args = Args::parse();
    println!("| measure | goal | seen | how |");
    println!("|---|---|---|---|");
    measure::start_to_first_row(args.rounds)?;
    measure::event_to_queryable(args.rounds)?;
    measure::under_load(args.rate, args.seconds)?;
    measure::memory(args.rate, args.seconds)
}
