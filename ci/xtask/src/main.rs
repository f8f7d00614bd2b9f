//! The project's chores: `cargo xtask --help`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    xtask::main(&xtask::Args::parse())
}
