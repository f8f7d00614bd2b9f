use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use service::{HttpArgs, ServiceArgs, Settings};

pub use crate::store::KeyKind;

/// The control plane: keys, clusters, scripts passed through to them.
#[derive(Debug, Clone, Parser)]
#[command(name = "cloud", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `cloud` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Serves the public API and the clusters, until it is told to stop.
    Serve(Box<ServeArgs>),
    /// API keys, with which programs call the API, and deploy keys, with which clusters register.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Organisations, which see only what is theirs. There is always one, `default`.
    #[command(subcommand)]
    Org(OrgCommand),
    /// Registered clusters.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Scripts that clusters run again and again.
    #[command(subcommand)]
    Script(ScriptCommand),
}

/// What every command needs.
#[derive(Debug, Clone, ClapArgs)]
pub struct Base {
    /// Folder for what must survive a restart: the database, the key that signs tokens and, with --tls, the certificate authority.
    #[arg(long, env = "PX_STATE_DIR", default_value = "/var/lib/px-cloud", value_name = "DIR")]
    pub state_dir: PathBuf,

    /// The shell's part.
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// What commands need that look at one organisation.
#[derive(Debug, Clone, ClapArgs)]
pub struct Owner {
    /// Whose it is.
    #[arg(long, default_value = crate::store::DEFAULT_ORG, value_name = "NAME")]
    pub org: String,

    /// State and shell.
    #[command(flatten)]
    pub base: Base,
}

/// `cloud serve`.
#[derive(Debug, Clone, ClapArgs)]
pub struct ServeArgs {
    /// Address to serve the public API and the clusters on. Without TLS only a loopback address is accepted; port 0 lets the system choose.
    #[arg(long, env = "PX_LISTEN", default_value = "127.0.0.1:51600", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// File that is written, with the address served as its only line, once it is served.
    #[arg(long, env = "PX_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Serve over TLS, with a certificate from an authority made on first start; clients trust STATE_DIR/tls/ca.crt.
    #[arg(long, env = "PX_TLS")]
    pub tls: bool,

    /// Further names or addresses that that certificate is valid for.
    #[arg(long, env = "PX_TLS_NAMES", value_delimiter = ',', value_name = "NAME")]
    pub tls_names: Vec<String>,

    /// Serve over TLS with this certificate (PEM, with those in between it and its authority) instead of one of our own.
    #[arg(long, env = "PX_TLS_CERT", value_name = "FILE", conflicts_with = "tls", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of that certificate.
    #[arg(long, env = "PX_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Health and metrics.
    #[command(flatten)]
    pub http: HttpArgs,

    /// State and shell.
    #[command(flatten)]
    pub base: Base,
}

/// `cloud key`.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyCommand {
    /// Makes a key and prints it. It is not shown again: only its hash is kept.
    Create {
        /// What it opens.
        #[arg(long, value_enum)]
        kind: KeyKind,
        /// For people.
        #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
        desc: String,
        /// Print the key alone.
        #[arg(short, long)]
        short: bool,
        /// Whose it is.
        #[command(flatten)]
        owner: Owner,
    },
    /// Lists keys, without the keys themselves.
    List {
        /// Only these.
        #[arg(long, value_enum)]
        kind: Option<KeyKind>,
        /// Whose they are.
        #[command(flatten)]
        owner: Owner,
    },
    /// Deletes a key: it opens nothing from then on, nor do tokens that were made for it.
    Delete {
        /// As `cloud key list` prints it.
        id: String,
        /// Whose it is.
        #[command(flatten)]
        owner: Owner,
    },
}

/// `cloud org`.
#[derive(Debug, Clone, Subcommand)]
pub enum OrgCommand {
    /// Makes an organisation.
    Create {
        /// Its name.
        name: String,
        /// State and shell.
        #[command(flatten)]
        base: Base,
    },
    /// Lists organisations.
    List {
        /// State and shell.
        #[command(flatten)]
        base: Base,
    },
}

/// `cloud cluster`.
#[derive(Debug, Clone, Subcommand)]
pub enum ClusterCommand {
    /// Lists clusters and where they stand.
    List {
        /// Whose they are.
        #[command(flatten)]
        owner: Owner,
    },
}

/// `cloud script`.
#[derive(Debug, Clone, Subcommand)]
pub enum ScriptCommand {
    /// Keeps a script; clusters run it from then on.
    Create {
        /// File with the script.
        file: PathBuf,
        /// Seconds from run to run.
        #[arg(long, value_name = "SECONDS")]
        frequency_s: u32,
        /// File with settings of its export (YAML).
        #[arg(long, value_name = "FILE")]
        configs: Option<PathBuf>,
        /// Run it on this cluster alone.
        #[arg(long, value_name = "ID")]
        cluster: Option<String>,
        /// Whose it is.
        #[command(flatten)]
        owner: Owner,
    },
    /// Gives a script another text.
    Update {
        /// As `cloud script list` prints it.
        id: String,
        /// File with the script.
        file: PathBuf,
        /// Whose it is.
        #[command(flatten)]
        owner: Owner,
    },
    /// Lists scripts.
    List {
        /// Whose they are.
        #[command(flatten)]
        owner: Owner,
    },
    /// Deletes a script; clusters run it no more.
    Delete {
        /// As `cloud script list` prints it.
        id: String,
        /// Whose it is.
        #[command(flatten)]
        owner: Owner,
    },
}

impl Command {
    fn base(&self) -> &Base {
        match self {
            Command::Serve(serve) => &serve.base,
            Command::Key(KeyCommand::Create { owner, .. } | KeyCommand::List { owner, .. } | KeyCommand::Delete { owner, .. })
            | Command::Cluster(ClusterCommand::List { owner, .. })
            | Command::Script(
                ScriptCommand::Create { owner, .. }
                | ScriptCommand::Update { owner, .. }
                | ScriptCommand::List { owner, .. }
                | ScriptCommand::Delete { owner, .. },
            ) => &owner.base,
            Command::Org(OrgCommand::Create { base, .. } | OrgCommand::List { base }) => base,
        }
    }
}

impl Settings for Args {
    fn service(&self) -> &ServiceArgs {
        &self.command.base().service
    }
}
