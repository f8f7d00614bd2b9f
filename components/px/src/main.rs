//! The `px` binary.

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    px::run(px::Args::parse(), px::Terminal::of_process()).await
}
