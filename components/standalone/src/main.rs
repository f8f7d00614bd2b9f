//! The `vizier` binary.

use std::process::ExitCode;

/// Gives back to the system what starting and queries needed for a moment, which the C library's allocator keeps.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    service::main(service::parse::<standalone::Args>(), standalone::run).await
}
