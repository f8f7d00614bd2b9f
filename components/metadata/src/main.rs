//! The `metadata` binary.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service::main(service::parse::<metadata::Args>(), metadata::run).await
}
