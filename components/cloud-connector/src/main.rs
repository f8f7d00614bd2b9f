//! The `cloud-connector` binary.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service::main(service::parse::<cloud_connector::Args>(), cloud_connector::run).await
}
