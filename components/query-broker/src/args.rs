use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use auth::SigningKeyArgs;
use bus::NatsArgs;
use clap::Parser;
use ids::ClusterId;
use rpc::TlsArgs;
use service::{HttpArgs, ServiceArgs, Settings};

/// Serves the public API of a Vizier: compiles scripts, has Kelvins run them over the tables of all agents, streams the answers.
#[derive(Debug, Clone, Parser)]
#[command(name = "query-broker", version)]
pub struct Args {
    /// Address to serve the public API on, over TLS with this part's certificate; clients need none, but a token or a key. Port 0 lets the
    /// system choose.
    #[arg(long, env = "PX_BROKER_LISTEN", default_value = "127.0.0.1:50300", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// Serve without TLS, to clients on this machine only. Tokens and keys are asked for all the same.
    #[arg(long, env = "PX_BROKER_PLAINTEXT")]
    pub plaintext: bool,

    /// Where the metadata service is: host:port.
    #[arg(long, env = "PX_METADATA_ADDRESS", default_value = "127.0.0.1:50400", value_name = "ADDR")]
    pub metadata_address: String,

    /// The name that the metadata service's certificate has, if it is not the host of its address.
    #[arg(long, env = "PX_METADATA_TLS_SERVER_NAME", default_value = "", hide_default_value = true, value_name = "NAME")]
    pub metadata_tls_server_name: String,

    /// File of keys with which clients may call this Vizier directly: a key or its sha256: hash on each line. Read again when it changes.
    #[arg(long, env = "PX_DIRECT_KEYS_FILE", value_name = "FILE")]
    pub direct_keys_file: Option<PathBuf>,

    /// This cluster's id as the control plane gave it; without, one that only this process has.
    #[arg(long, env = "PX_CLUSTER_ID", value_name = "UUID")]
    pub cluster_id: Option<ClusterId>,

    /// This cluster's name, for people; without, the host's.
    #[arg(long, env = "PX_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<String>,

    /// File that is written once it serves, with its address, and that of health and metrics if they are served, as its lines.
    #[arg(long, env = "PX_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Longest time for one query, in milliseconds; one that streams has no end.
    #[arg(long, env = "PX_QUERY_TIME_MAX_MS", default_value_t = 600_000, value_name = "MS")]
    pub query_time_max_ms: u64,

    /// How long a query waits for a client that lost its connection to come back for the rest, in milliseconds. 0: it ends with its call.
    #[arg(long, env = "PX_REATTACH_MAX_MS", default_value_t = 180_000, value_name = "MS")]
    pub reattach_max_ms: u64,

    /// Most queries that wait so; the one that has waited longest ends when there are more.
    #[arg(long, env = "PX_REATTACH_QUERIES_MAX", default_value_t = 4, value_name = "NUMBER")]
    pub reattach_queries_max: usize,

    /// Do not run the scripts that the control plane wants to have run again and again.
    #[arg(long, env = "PX_NO_CRON_SCRIPTS")]
    pub no_cron_scripts: bool,

    /// This part's certificate.
    #[command(flatten)]
    pub tls: TlsArgs,

    /// The key of the tokens.
    #[command(flatten)]
    pub signing_key: SigningKeyArgs,

    /// The bus.
    #[command(flatten)]
    pub nats: NatsArgs,

    /// Health and metrics.
    #[command(flatten)]
    pub http: HttpArgs,

    /// The shell's part.
    #[command(flatten)]
    pub service: ServiceArgs,
}

impl Args {
    pub(crate) fn query_time_max(&self) -> Duration {
        Duration::from_millis(self.query_time_max_ms)
    }

    pub(crate) fn reattach_max(&self) -> Duration {
        Duration::from_millis(self.reattach_max_ms)
    }
}

impl Settings for Args {
    fn service(&self) -> &ServiceArgs {
        &self.service
    }
}
