use std::path::PathBuf;

use auth::{Secret, SigningKeyArgs};
use bus::NatsArgs;
use clap::Parser;
use rpc::TlsArgs;
use service::{HttpArgs, ServiceArgs, Settings};

use crate::Error;

/// What tells this machine from others where there is no Kubernetes.
const MACHINE_ID: &str = "/etc/machine-id";

/// Connects a Vizier with its control plane.
#[derive(Debug, Clone, Parser)]
#[command(name = "cloud-connector", version)]
pub struct Args {
    /// Control plane: host:port, or https://host:port; http:// on this machine only.
    #[arg(long, env = "PX_CLOUD_ADDR", value_name = "ADDR")]
    pub cloud_addr: String,

    /// Certificate of the authority that has signed the control plane's, in PEM. Without it the system's authorities are trusted.
    #[arg(long, env = "PX_CLOUD_CA_CERT", value_name = "FILE")]
    pub cloud_ca_cert: Option<PathBuf>,

    /// File with the deploy key that this cluster registers with.
    #[arg(long, env = "PX_DEPLOY_KEY_FILE", value_name = "FILE")]
    pub deploy_key_file: Option<PathBuf>,

    /// The key itself, where there is no file. Whoever may list processes sees flags: use the variable.
    #[arg(long, env = "PX_DEPLOY_KEY", value_name = "KEY", hide_env_values = true)]
    pub deploy_key: Option<Secret>,

    /// What tells this cluster from all others, for ever: the UID of Kubernetes' namespace kube-system. Without it the machine's id.
    #[arg(long, env = "PX_CLUSTER_UID", value_name = "UID")]
    pub cluster_uid: Option<String>,

    /// What people shall call it. The control plane may add to it where another has the name, and makes one up where there is none.
    #[arg(long, env = "PX_CLUSTER_NAME", default_value = "", hide_default_value = true, value_name = "NAME")]
    pub cluster_name: String,

    /// Folder for the identity that the control plane gives this cluster.
    #[arg(long, env = "PX_STATE_DIR", default_value = "/var/lib/px-cloud-connector", value_name = "DIR")]
    pub state_dir: PathBuf,

    /// Query broker, whose health is told: host:port, or http://host:port on this machine.
    #[arg(long, alias = "query-broker-addr", env = "PX_BROKER_ADDRESS", default_value = "127.0.0.1:50300", value_name = "ADDR")]
    pub broker_address: String,

    /// Certificate of the authority that has signed the broker's, where it is another than --tls-ca-cert.
    #[arg(long, env = "PX_BROKER_CA_CERT", value_name = "FILE")]
    pub broker_ca_cert: Option<PathBuf>,

    /// Name that the broker's certificate carries, where it is not the host of its address.
    #[arg(long, env = "PX_BROKER_TLS_SERVER_NAME", default_value = "", hide_default_value = true, value_name = "NAME")]
    pub broker_tls_server_name: String,

    /// Metadata service, whose agents are counted.
    #[arg(long, alias = "metadata-addr", env = "PX_METADATA_ADDRESS", default_value = "127.0.0.1:50400", value_name = "ADDR")]
    pub metadata_address: String,

    /// Name that the metadata service's certificate carries, where it is not the host of its address.
    #[arg(long, env = "PX_METADATA_TLS_SERVER_NAME", default_value = "", hide_default_value = true, value_name = "NAME")]
    pub metadata_tls_server_name: String,

    /// File that is written once the control plane knows this cluster, with its id as the only line.
    #[arg(long, env = "PX_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Between the parts of this Vizier.
    #[command(flatten)]
    pub tls: TlsArgs,

    /// The same.
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
    pub(crate) fn deploy_key(&self) -> Result<Secret, Error> {
        let text = match (&self.deploy_key_file, &self.deploy_key) {
            (Some(path), _) => {
                let text = std::fs::read_to_string(path);
                Secret::new(text.map_err(|source| Error::File { action: "read", path: path.clone(), source })?.trim())
            }
            (None, Some(key)) => key.clone(),
            (None, None) => return Err(Error::NoDeployKey),
        };
        if text.expose().is_empty() { Err(Error::NoDeployKey) } else { Ok(text) }
    }

    pub(crate) fn cluster_uid(&self) -> Result<String, Error> {
        if let Some(uid) = self.cluster_uid.as_ref().filter(|uid| !uid.is_empty()) {
            return Ok(uid.clone());
        }
        let id = std::fs::read_to_string(MACHINE_ID).unwrap_or_default();
        Some(id.trim()).filter(|id| !id.is_empty()).map(str::to_owned).ok_or(Error::NoClusterUid)
    }
}

impl Settings for Args {
    fn service(&self) -> &ServiceArgs {
        &self.service
    }
}
