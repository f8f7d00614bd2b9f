//! The `px-provision` binary.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service::main(service::parse::<provision::Args>(), provision::run).await
}
