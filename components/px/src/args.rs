use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Asks a Vizier what happens on its machines.
#[derive(Debug, Clone, Parser)]
#[command(name = "px", version, disable_version_flag = true, arg_required_else_help = true)]
pub struct Args {
    /// Vizier to ask directly: host:port, or https://host:port. Without it and a control plane: 127.0.0.1:51200.
    #[arg(
        long,
        alias = "direct_vizier_addr",
        alias = "direct-vizier-addr",
        global = true,
        env = "PX_VIZIER_ADDR",
        value_name = "ADDR",
        hide_env_values = true
    )]
    pub addr: Option<String>,
    /// Key for that Vizier, where it asks for one.
    #[arg(long, alias = "direct_vizier_key", global = true, env = "PX_DIRECT_VIZIER_KEY", value_name = "KEY", hide_env_values = true)]
    pub direct_vizier_key: Option<String>,
    /// Control plane to ask: host:port, or https://host:port. Scripts go to one of its clusters; a Vizier that is named by --addr goes before
    /// it, unless --cluster says which cluster.
    #[arg(long, alias = "cloud_addr", global = true, env = "PX_CLOUD_ADDR", value_name = "ADDR", hide_env_values = true)]
    pub cloud_addr: Option<String>,
    /// API key for the control plane, and for a Vizier that asks for a key and is given none by --direct-vizier-key. Without it the control
    /// plane is shown the token of `px auth login`.
    #[arg(long, alias = "api_key", global = true, env = "PX_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// Certificate (PEM) of the authority that signed the server's; turns TLS on. `vizier run --tls` and `cloud serve --tls` say where
    /// theirs is.
    #[arg(long, global = true, env = "PX_TLS_CA", value_name = "FILE", hide_env_values = true)]
    pub tls_ca: Option<PathBuf>,
    /// The same, as other gRPC clients read it.
    #[arg(long, global = true, env = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", value_name = "FILE", hide = true)]
    pub grpc_default_ssl_roots: Option<PathBuf>,
    /// Folder for what `px auth login` keeps.
    #[arg(long, global = true, env = "PX_CONFIG_DIR", value_name = "DIR", hide = true)]
    pub config_dir: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run a script and print its tables.
    Run(RunArgs),
    /// Compile a script without running it: exit code 0 if it is right, 1 if not.
    Check(CheckArgs),
    /// Look at the script library.
    #[command(subcommand)]
    Script(ScriptCommand),
    /// Log in at a control plane.
    #[command(subcommand)]
    Auth(AuthCommand),
    /// List what a control plane knows.
    #[command(subcommand)]
    Get(GetCommand),
    /// Change what runs in a cluster.
    #[command(subcommand)]
    Update(UpdateCommand),
    /// Keys with which clusters register at the control plane.
    #[command(subcommand)]
    DeployKey(KeyCommand),
    /// Keys with which programs call the control plane.
    #[command(subcommand)]
    ApiKey(KeyCommand),
    /// Look at a Vizier's own pods.
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Print the version.
    Version,
}

/// Arguments of `px run`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Arguments of the script come after `--`:  px run px/http_data -- --start_time -10m\n\
    What a script takes:                      px run px/http_data -- --help")]
pub struct RunArgs {
    /// Script of the library, as `px script list` names it.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub name: Option<String>,
    /// Script of one's own: a file, `-` for standard input, or a folder with a .pxl file and perhaps a vis.json.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How to print rows.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Print this table only.
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// Write each table to a file of its own in this folder, as NAME.arrow (with -o arrow).
    #[arg(short, long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Cluster to run it on: id or name, as `px get viziers` lists them. Without it: the only healthy one there is.
    #[arg(short, long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Arguments of the script.
    #[arg(last = true, value_name = "SCRIPT_ARGS")]
    pub script_args: Vec<String>,
}

/// How to print rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: aligned columns, values with units.
    #[default]
    Table,
    /// An object a line, the table's name under `_table_`.
    Json,
    /// Comma-separated, the table's name in the first column.
    Csv,
    /// Arrow IPC stream.
    Arrow,
}

/// Arguments of `px check`.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// The script: a file, or `-` for standard input.
    pub file: PathBuf,
}

/// What to do with the script library.
#[derive(Debug, Clone, Subcommand)]
pub enum ScriptCommand {
    /// Names and what they show.
    List {
        /// How to print them.
        #[arg(short, long, value_enum, default_value_t)]
        output: ListFormat,
    },
    /// Print a script.
    Show {
        /// As `px script list` names it.
        name: String,
    },
}

/// How to print a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    #[default]
    Table,
    /// An object a line.
    Json,
}

/// `px auth`.
#[derive(Debug, Clone, Subcommand)]
pub enum AuthCommand {
    /// Exchanges the API key for a token and keeps that, with the control plane's address, for later commands.
    Login,
    /// Forgets them.
    Logout,
}

/// `px get`.
#[derive(Debug, Clone, Subcommand)]
pub enum GetCommand {
    /// Clusters and where they stand.
    #[command(visible_alias = "clusters")]
    Viziers {
        /// How to print them.
        #[arg(short, long, value_enum, default_value_t)]
        output: ListFormat,
    },
    /// Agents of a cluster.
    #[command(visible_aliases = ["agents", "pem"])]
    Pems {
        /// How to print them.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
        /// Of which cluster: id or name.
        #[arg(short, long, value_name = "CLUSTER")]
        cluster: Option<String>,
    },
}

/// `px update`.
#[derive(Debug, Clone, Subcommand)]
pub enum UpdateCommand {
    /// Asks a cluster to install another version.
    #[command(visible_aliases = ["platform", "pixie"])]
    Vizier {
        /// Which version.
        #[arg(short = 'v', long, alias = "vizier_version", value_name = "VERSION")]
        vizier_version: String,
        /// In which cluster: id or name.
        #[arg(short, long, value_name = "CLUSTER")]
        cluster: Option<String>,
        /// Replace etcd too.
        #[arg(short = 'e', long, alias = "redeploy_etcd")]
        redeploy_etcd: bool,
    },
}

/// `px deploy-key`, `px api-key`.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyCommand {
    /// Makes a key and prints it. It is not shown again.
    Create {
        /// For people.
        #[arg(short, long, default_value = "", hide_default_value = true, value_name = "TEXT")]
        desc: String,
        /// Print the key alone.
        #[arg(short, long)]
        short: bool,
    },
    /// Lists keys, without the keys themselves.
    List {
        /// How to print them.
        #[arg(short, long, value_enum, default_value_t)]
        output: ListFormat,
    },
    /// Shows what is known of a key.
    Get {
        /// As `list` prints it.
        id: String,
    },
    /// Says which key this is; it is read from standard input where it is not given.
    Lookup {
        /// The key itself.
        #[arg(short, long, value_name = "KEY")]
        key: Option<String>,
    },
    /// Deletes a key.
    Delete {
        /// As `list` prints it.
        #[arg(short, long, value_name = "ID")]
        id: String,
    },
}

/// `px debug`.
#[derive(Debug, Clone, Subcommand)]
pub enum DebugCommand {
    /// Prints the log of a pod.
    Log {
        /// Its name, without the namespace.
        pod: String,
        /// Of the container that ran before.
        #[arg(short, long)]
        previous: bool,
        /// Of this container.
        #[arg(short = 'n', long, default_value = "", hide_default_value = true, value_name = "NAME")]
        container: String,
        /// In which cluster: id or name.
        #[arg(short, long, value_name = "CLUSTER")]
        cluster: Option<String>,
    },
    /// Lists pods.
    Pods {
        /// Which of them.
        #[arg(short, long, value_enum, default_value_t)]
        plane: Plane,
        /// In which cluster: id or name.
        #[arg(short, long, value_name = "CLUSTER")]
        cluster: Option<String>,
    },
    /// Lists containers.
    Containers {
        /// Of which pods.
        #[arg(short, long, value_enum, default_value_t)]
        plane: Plane,
        /// In which cluster: id or name.
        #[arg(short, long, value_name = "CLUSTER")]
        cluster: Option<String>,
    },
}

/// Pods of a Vizier by what they are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Plane {
    /// Agents.
    Data,
    /// Everything else.
    Control,
    /// Both.
    #[default]
    All,
}
