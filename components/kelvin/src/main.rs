//! The `kelvin` binary.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service::main(service::parse::<kelvin::Args>(), kelvin::run).await
}
