use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use agent::NodeArgs;
use bus::NatsArgs;
use clap::Parser;
use engine::distributed::{CoordinatorArgs, SpillArgs};
use rpc::TlsArgs;
use service::{HttpArgs, ServiceArgs, Settings};

/// Coordinates queries: asks the agents that have dialled for their part, does the rest, streams the rows to the query broker.
#[derive(Debug, Clone, Parser)]
#[command(name = "kelvin", version, mut_arg("nats_url", |url| url.required(false)))]
pub struct Args {
    /// Address to serve the query broker on. Mutual TLS; port 0 lets the system choose.
    #[arg(long, env = "PX_KELVIN_LISTEN", default_value = "127.0.0.1:51210", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// Address that agents dial. Mutual TLS; port 0 lets the system choose.
    #[arg(long, env = "PX_KELVIN_AGENTS_LISTEN", default_value = "127.0.0.1:51211", value_name = "ADDR")]
    pub agents_listen: SocketAddr,

    /// How it shows itself.
    #[command(flatten)]
    pub tls: TlsArgs,

    /// Name by which agents and the broker check its certificate.
    #[arg(long, env = "PX_TLS_SERVER_NAME", default_value = "localhost", value_name = "NAME")]
    pub tls_server_name: String,

    /// Address by which agents and the broker reach it; by default that of the listeners, or the machine's where they take any.
    #[arg(long, env = "PX_POD_IP", value_name = "IP")]
    pub pod_ip: Option<IpAddr>,

    /// Where it runs.
    #[command(flatten)]
    pub node: NodeArgs,

    /// The bus. Without --nats-url it registers nowhere, and serves whoever knows its addresses.
    #[command(flatten)]
    pub nats: Option<NatsArgs>,

    /// Where it tells how it does.
    #[command(flatten)]
    pub http: HttpArgs,

    /// File that is written once all is served: the broker's and the agents' address as its lines, then that of /healthz if that is served.
    #[arg(long, env = "PX_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Most bytes of memory that one query may use; operators that can spill do so from here on.
    #[arg(long, env = "PX_QUERY_MEMORY_BYTES_MAX", default_value_t = 256 * 1024 * 1024, value_name = "BYTES")]
    pub query_memory_bytes_max: usize,

    /// Most bytes of memory that all queries may use together.
    #[arg(long, env = "PX_MEMORY_BYTES_MAX", default_value_t = 512 * 1024 * 1024, value_name = "BYTES")]
    pub memory_bytes_max: usize,

    /// Folder for rows that do not fit into memory. Without it a query that reaches its memory limit fails. Captured payloads may be
    /// written there; they are removed when the query ends, and when Kelvin starts.
    #[arg(long, env = "PX_SPILL_DIR", value_name = "DIR")]
    pub spill_dir: Option<PathBuf>,

    /// Most bytes in that folder.
    #[arg(long, env = "PX_SPILL_BYTES_MAX", default_value_t = 4 * 1024 * 1024 * 1024, value_name = "BYTES")]
    pub spill_bytes_max: u64,

    /// Most queries that run at a time.
    #[arg(long, env = "PX_QUERIES_RUNNING_MAX", default_value_t = 16, value_name = "NUMBER")]
    pub queries_running_max: usize,

    /// Most queries that wait for their turn; more are refused.
    #[arg(long, env = "PX_QUERIES_WAITING_MAX", default_value_t = 64, value_name = "NUMBER")]
    pub queries_waiting_max: usize,

    /// Longest time for one query, in milliseconds; a broker that asks for more gets this.
    #[arg(long, env = "PX_QUERY_TIME_MAX_MS", default_value_t = 600_000, value_name = "MS")]
    pub query_time_max_ms: u64,

    /// How long an agent that is waited for may send nothing, in milliseconds, before its rows are given up.
    #[arg(long, env = "PX_AGENT_SILENCE_MAX_MS", default_value_t = 30_000, value_name = "MS")]
    pub agent_silence_max_ms: u64,

    /// Threads that compute. Connections are served by others.
    #[arg(long, env = "PX_COMPUTE_THREADS", default_value_t = 2, value_name = "NUMBER")]
    pub compute_threads: usize,

    /// The shell's part.
    #[command(flatten)]
    pub service: ServiceArgs,
}

impl Args {
    pub(crate) fn coordinator(&self) -> CoordinatorArgs {
        let spill = self.spill_dir.clone().map(|folder| SpillArgs { folder, bytes_max: self.spill_bytes_max });
        CoordinatorArgs {
            query_memory_bytes_max: self.query_memory_bytes_max,
            memory_bytes_max: self.memory_bytes_max,
            spill,
            queries_running_max: self.queries_running_max,
            queries_waiting_max: self.queries_waiting_max,
            agent_silence_max: Duration::from_millis(self.agent_silence_max_ms),
            ..CoordinatorArgs::default()
        }
    }
}

impl Settings for Args {
    fn service(&self) -> &ServiceArgs {
        &self.service
    }
}
