//! The `cloud` binary.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service::main(service::parse::<cloud::Args>(), cloud::run).await
}
