//! The `vizier-pem` binary.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service::main(service::parse::<pem::Args>(), pem::run).await
}
