//! The `query-broker` binary.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service::main(service::parse::<query_broker::Args>(), query_broker::run).await
}
