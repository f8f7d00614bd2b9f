use std::path::PathBuf;

use agent::NodeArgs;
use bus::NatsArgs;
use clap::{Args as ClapArgs, Parser, ValueEnum};
use rpc::TlsArgs;
use service::{HttpArgs, ServiceArgs, Settings};

/// Node agent: sees what the programs of a machine do, keeps it in tables, and lets the Kelvins of its Vizier read them.
#[derive(Debug, Clone, Parser)]
#[command(name = "vizier-pem", version)]
pub struct Args {
    /// Where it runs.
    #[command(flatten)]
    pub node: NodeArgs,

    /// The bus.
    #[command(flatten)]
    pub nats: NatsArgs,

    /// How it shows itself.
    #[command(flatten)]
    pub tls: TlsArgs,

    /// What it captures.
    #[command(flatten)]
    pub pem: PemArgs,

    /// Threads that make rows for queries. Connections are served by others.
    #[arg(long, env = "PX_COMPUTE_THREADS", default_value_t = 2, value_name = "NUMBER")]
    pub compute_threads: usize,

    /// Most bytes of memory that one query may use here.
    #[arg(long, env = "PX_QUERY_MEMORY_BYTES_MAX", default_value_t = 128 * 1024 * 1024, value_name = "BYTES")]
    pub query_memory_bytes_max: usize,

    /// Most bytes of memory that all queries may use here together.
    #[arg(long, env = "PX_MEMORY_BYTES_MAX", default_value_t = 256 * 1024 * 1024, value_name = "BYTES")]
    pub memory_bytes_max: usize,

    /// File that is written once it is registered and captures: its id and its number as lines, then the address of /healthz if that is served.
    #[arg(long, env = "PX_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Where it tells how it does.
    #[command(flatten)]
    pub http: HttpArgs,

    /// The shell's part.
    #[command(flatten)]
    pub service: ServiceArgs,
}

impl Settings for Args {
    fn service(&self) -> &ServiceArgs {
        &self.service
    }
}

/// What the node agent can be told.
#[derive(Debug, Clone, ClapArgs)]
pub struct PemArgs {
    /// Most bytes of table data this node keeps; the oldest batches go first.
    #[arg(long, env = "PX_TABLE_STORE_BYTES_MAX", default_value_t = 1280 * 1024 * 1024, value_name = "BYTES")]
    pub table_store_bytes_max: u64,

    /// Share of the tables' bytes that http_events gets, in percent.
    #[arg(long, env = "PX_TABLE_STORE_HTTP_EVENTS_PERCENT", default_value_t = 40, value_parser = clap::value_parser!(u8).range(1..=90), value_name = "PERCENT")]
    pub table_store_http_events_percent: u8,

    /// Size of the ring between kernel and agent; a power of two. What does not fit is lost and counted.
    #[arg(long, env = "PX_RING_BYTES", default_value_t = 16 * 1024 * 1024, value_name = "BYTES")]
    pub ring_bytes: u32,

    /// Where socket data comes from.
    #[arg(long, env = "PX_CAPTURE", default_value = "auto", value_name = "WAY")]
    pub capture: Capture,

    /// How often conn_stats gets rows for what changed, in milliseconds.
    #[arg(long, env = "PX_CONN_STATS_PERIOD_MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=3_600_000), value_name = "MS")]
    pub conn_stats_period_ms: u64,
}

/// Where socket data comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Capture {
    /// The socket layer's tracepoints where the kernel has them (6.3 and newer), else the exit of system calls.
    Auto,
    /// The socket layer's own tracepoints.
    SocketLayer,
    /// The exit of system calls.
    SyscallExit,
    /// Nowhere: tables stay empty.
    Off,
}
