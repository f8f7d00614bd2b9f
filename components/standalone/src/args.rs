use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use pem::PemArgs;
use service::{ServiceArgs, Settings};

/// Observability for one Linux machine: eBPF captures, tables in memory, answers in PxL.
#[derive(Debug, Clone, Parser)]
#[command(name = "vizier", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `vizier` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Captures this machine's traffic and answers scripts, until it is told to stop.
    Run(RunArgs),
}

/// `vizier run`.
#[derive(Debug, Clone, ClapArgs)]
pub struct RunArgs {
    /// Address to serve the API on. Without --tls only a loopback address is accepted; port 0 lets the system choose.
    #[arg(long, env = "PX_LISTEN", default_value = "127.0.0.1:51200", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// File that is written, with the address served as its only line, once traffic is captured and scripts are answered.
    #[arg(long, env = "PX_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Folder for what must survive a restart: the cluster's id and, with --tls, the certificate authority.
    #[arg(long, env = "PX_STATE_DIR", default_value = "/var/lib/px", value_name = "DIR")]
    pub state_dir: PathBuf,

    /// Serve over TLS, with a certificate from an authority made on first start; clients trust STATE_DIR/tls/ca.crt.
    #[arg(long, env = "PX_TLS")]
    pub tls: bool,

    /// Further names or addresses that the certificate is valid for.
    #[arg(long, env = "PX_TLS_NAMES", value_delimiter = ',', value_name = "NAME")]
    pub tls_names: Vec<String>,

    /// File of keys, one of which every call must show: a key or its sha256: hash on each line. Without it whoever reaches the address may
    /// call.
    #[arg(long, env = "PX_DIRECT_KEYS_FILE", value_name = "FILE")]
    pub direct_keys_file: Option<PathBuf>,

    /// Most bytes of memory that running queries may use together; a query that needs more fails with an error.
    #[arg(long, env = "PX_QUERY_MEMORY_BYTES_MAX", default_value_t = 256 * 1024 * 1024, value_name = "BYTES")]
    pub query_memory_bytes_max: usize,

    /// The node agent's part.
    #[command(flatten)]
    pub pem: PemArgs,

    /// The shell's part.
    #[command(flatten)]
    pub service: ServiceArgs,
}

impl Settings for Args {
    fn service(&self) -> &ServiceArgs {
        let Command::Run(run) = &self.command;
        &run.service
    }
}
