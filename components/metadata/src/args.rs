use std::net::SocketAddr;
use std::path::PathBuf;

use auth::SigningKeyArgs;
use bus::{NatsArgs, TlsFiles};
use clap::{Parser, ValueEnum};
use rpc::TlsArgs;
use service::{HttpArgs, ServiceArgs, Settings};

use crate::Error;
use crate::io::{Kubernetes, StoreSource};
use crate::store::{EtcdSettings, EtcdTls};

/// Set in every container of a cluster.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";
/// How the original says all namespaces.
const ALL_NAMESPACES: &str = "all";

/// Knows which agents there are and keeps what must survive: their numbers, tracepoints, cron scripts. Feeds agents the names of Kubernetes.
#[derive(Debug, Clone, Parser)]
#[command(name = "metadata", version)]
pub struct Args {
    /// Address to serve the query broker and Kelvins on. Mutual TLS; port 0 lets the system choose.
    #[arg(long, env = "PX_METADATA_LISTEN", default_value = "127.0.0.1:50400", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// Where state rests.
    #[arg(long, env = "PX_STORE", default_value = "embedded", value_name = "STORE")]
    pub store: StoreKind,

    /// File of the embedded store. One process at a time has it open; others wait until it ends.
    #[arg(long, env = "PX_STORE_PATH", default_value = "metadata.redb", value_name = "FILE")]
    pub store_path: PathBuf,

    /// Members of one etcd, `http://host:port` or `https://host:port`, separated by commas.
    #[arg(long, env = "PX_ETCD_ENDPOINTS", value_delimiter = ',', value_name = "URLS")]
    pub etcd_endpoints: Vec<String>,

    /// Certificate of the authority that has signed etcd's, in PEM. Needed for `https`.
    #[arg(long, env = "PX_ETCD_TLS_CA_CERT", value_name = "FILE")]
    pub etcd_tls_ca_cert: Option<PathBuf>,

    /// This service's certificate for etcd, in PEM. Needed for `https`.
    #[arg(long, env = "PX_ETCD_TLS_CERT", value_name = "FILE")]
    pub etcd_tls_cert: Option<PathBuf>,

    /// Its private key.
    #[arg(long, env = "PX_ETCD_TLS_KEY", value_name = "FILE")]
    pub etcd_tls_key: Option<PathBuf>,

    /// What every key in etcd begins with, so that several Viziers can share one. May be empty.
    #[arg(long, env = "PX_ETCD_PREFIX", default_value = "", value_name = "TEXT")]
    pub etcd_prefix: String,

    /// This replica's name, which no other one has: one that comes back under its name leads again at once. By default it makes one up.
    #[arg(long, env = "PX_POD_NAME", value_name = "NAME")]
    pub replica: Option<String>,

    /// Whether to watch Kubernetes and feed agents its names: `auto` does so inside of a cluster.
    #[arg(long, env = "PX_KUBERNETES", default_value = "auto", value_name = "WHEN")]
    pub kubernetes: KubernetesUse,

    /// Namespaces whose pods, services and sets are watched, separated by commas. By default all.
    #[arg(long, env = "PX_METADATA_NAMESPACES", value_delimiter = ',', value_name = "NAMES")]
    pub namespaces: Vec<String>,

    /// Namespace of this service's pod, where replicas share a lease.
    #[arg(long, env = "PX_POD_NAMESPACE", default_value = "pl", value_name = "NAME")]
    pub pod_namespace: String,

    /// Certificates of the mutual TLS between parts of this Vizier.
    #[command(flatten)]
    pub tls: TlsArgs,

    /// The key that signs tokens between them.
    #[command(flatten)]
    pub signing_key: SigningKeyArgs,

    /// The bus.
    #[command(flatten)]
    pub nats: NatsArgs,

    /// File that is written, with the address as its only line, once it serves.
    #[arg(long, env = "PX_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Health and metrics.
    #[command(flatten)]
    pub http: HttpArgs,

    /// The shell's part.
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// When Kubernetes is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KubernetesUse {
    /// Never.
    Off,
    /// Inside of a cluster.
    Auto,
    /// Always: the cluster is found as kubectl finds it.
    On,
}

/// Where state rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// In one file.
    Embedded,
    /// In etcd, version 3.
    Etcd,
}

impl Args {
    /// What this part shows the bus's server.
    pub(crate) fn bus_tls(&self) -> TlsFiles {
        let TlsArgs { tls_ca_cert, tls_cert, tls_key } = self.tls.clone();
        TlsFiles { ca: tls_ca_cert, certificate: tls_cert, key: tls_key }
    }

    /// The cluster to watch, if one is.
    ///
    /// # Errors
    /// It cannot be found, or its credentials cannot be used.
    pub(crate) async fn cluster(&self) -> Result<Option<Kubernetes>, Error> {
        match self.kubernetes {
            KubernetesUse::Off => return Ok(None),
            KubernetesUse::Auto if std::env::var_os(IN_CLUSTER).is_none() => return Ok(None),
            KubernetesUse::Auto | KubernetesUse::On => {}
        }
        let client = kube::Client::try_default().await.map_err(|error| Error::NoKubernetes(Box::new(error)))?;
        let named = self.namespaces.iter().filter(|name| !name.is_empty() && *name != ALL_NAMESPACES).cloned().collect();
        Ok(Some(Kubernetes::new(client, named, self.pod_namespace.clone())))
    }

    /// # Errors
    /// etcd is asked for without endpoints, or its certificates cannot be read.
    pub(crate) fn store_source(&self) -> Result<StoreSource, Error> {
        match self.store {
            StoreKind::Embedded => Ok(StoreSource::Embedded(self.store_path.clone())),
            StoreKind::Etcd if self.etcd_endpoints.is_empty() => Err(Error::NoEndpoints),
            StoreKind::Etcd => Ok(StoreSource::Etcd(EtcdSettings {
                endpoints: self.etcd_endpoints.clone(),
                tls: self.etcd_tls()?,
                prefix: self.etcd_prefix.clone(),
            })),
        }
    }

    fn etcd_tls(&self) -> Result<Option<EtcdTls>, Error> {
        let (Some(ca), Some(certificate), Some(key)) = (&self.etcd_tls_ca_cert, &self.etcd_tls_cert, &self.etcd_tls_key) else {
            return Ok(None);
        };
        let read = |path: &PathBuf| std::fs::read_to_string(path).map_err(|source| Error::CertificateFile { path: path.clone(), source });
        Ok(Some(EtcdTls { ca: read(ca)?, certificate: read(certificate)?, key: read(key)? }))
    }
}

impl Settings for Args {
    fn service(&self) -> &ServiceArgs {
        &self.service
    }
}
