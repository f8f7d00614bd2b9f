//! The `vizier` binary.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service::main(service::parse::<standalone::Args>(), standalone::run).await
}
