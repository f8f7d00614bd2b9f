//! Whom a command speaks to, and what it shows them.

use std::path::{Path, PathBuf};

use api::cloudapi::{ClusterInfo, ClusterStatus};
use client::{Access, Address, CLOUD_PORT, Cloud, Credentials};
use ids::ClusterId;

use crate::Error;
use crate::args::Args;
use crate::login;

/// A Vizier on this machine.
const LOCAL_VIZIER: &str = "127.0.0.1:51200";

/// Where systems keep the certificates of those they trust: Debian and its kin, Red Hat and its.
const SYSTEM_ROOTS: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// The control plane of a command.
pub(crate) struct Session {
    pub(crate) cloud: Cloud,
    address: Address,
    access: Access,
}

impl Session {
    /// Connects to the control plane that flag, variable or login name.
    pub(crate) async fn open(args: &Args) -> Result<Session, Error> {
        let kept = login::kept(args)?;
        let text = args.cloud_addr.clone().or_else(|| kept.as_ref().and_then(|kept| kept.cloud_addr.clone())).ok_or(Error::NoCloud)?;
        let address = Address::parse(&text, CLOUD_PORT)?;
        let credentials = match (&args.api_key, kept) {
            (Some(key), _) => Credentials::ApiKey(key.clone()),
            // A token is for the one control plane that gave it.
            (None, Some(kept)) if kept.cloud_addr.as_ref().is_none_or(|from| *from == text) => Credentials::Token(kept.token),
            (None, Some(_) | None) => return Err(Error::NotLoggedIn { address: address.to_string() }),
        };
        let access = Access { authority: authority(args, &address)?, credentials };
        let cloud = Cloud::connect(&address, &access).await.map_err(|source| failed(&address, source))?;
        Ok(Session { cloud, address, access })
    }

    /// What went wrong there, with where that is.
    pub(crate) fn failed(&self, source: client::Error) -> Error {
        failed(&self.address, source)
    }

    /// The cluster with this id or name; without one, the only healthy one.
    pub(crate) async fn cluster(&self, wanted: Option<&str>) -> Result<ClusterInfo, Error> {
        let clusters = self.cloud.clusters(None).await.map_err(|source| self.failed(source))?;
        choose(&clusters, wanted, &self.address)
    }
}

fn failed(address: &Address, source: client::Error) -> Error {
    Error::Cloud { address: address.to_string(), source }
}

fn choose(clusters: &[ClusterInfo], wanted: Option<&str>, address: &Address) -> Result<ClusterInfo, Error> {
    let names = |chosen: &[&ClusterInfo]| {
        let told = chosen.iter().map(|cluster| format!("{} ({})", cluster.cluster_name, status(cluster))).collect::<Vec<_>>();
        if told.is_empty() { "none".to_owned() } else { told.join(", ") }
    };
    let all: Vec<&ClusterInfo> = clusters.iter().collect();
    if let Some(wanted) = wanted {
        let is = |cluster: &&&ClusterInfo| id(cluster) == wanted || cluster.cluster_name == wanted;
        let found = all.iter().find(is).map(|cluster| (**cluster).clone());
        return found.ok_or_else(|| Error::NoSuchCluster { name: wanted.to_owned(), names: names(&all) });
    }
    let takes_scripts =
        |cluster: &&ClusterInfo| [ClusterStatus::CsHealthy as i32, ClusterStatus::CsDegraded as i32].contains(&cluster.status);
    let healthy: Vec<&ClusterInfo> = clusters.iter().filter(takes_scripts).collect();
    match &healthy[..] {
        [one] => Ok((*one).clone()),
        [] => Err(Error::NoHealthyCluster { address: address.to_string(), names: names(&all) }),
        several => Err(Error::SeveralClusters { names: names(several) }),
    }
}

/// The id of a cluster as text.
pub(crate) fn id(cluster: &ClusterInfo) -> String {
    let id = cluster.id.unwrap_or_default();
    ClusterId::from_halves(id.high_bits, id.low_bits).to_string()
}

/// Where it stands, as a word.
pub(crate) fn status(cluster: &ClusterInfo) -> &'static str {
    ClusterStatus::try_from(cluster.status).unwrap_or_default().as_str_name().trim_start_matches("CS_")
}

/// Where scripts go.
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) access: Access,
    /// Through a control plane: to which cluster.
    cluster: Option<ClusterInfo>,
}

impl Target {
    /// A Vizier that is named goes first, unless a cluster is; then the control plane; then this machine.
    pub(crate) async fn choose(args: &Args, cluster: Option<&str>) -> Result<Target, Error> {
        let knows_cloud = args.cloud_addr.is_some() || login::kept(args)?.is_some_and(|kept| kept.cloud_addr.is_some());
        if cluster.is_some() || (args.addr.is_none() && knows_cloud) {
            let session = Session::open(args).await?;
            let cluster = session.cluster(cluster).await?;
            return Ok(Target { address: session.address, access: session.access, cluster: Some(cluster) });
        }
        let address: Address = args.addr.as_deref().unwrap_or(LOCAL_VIZIER).parse()?;
        // As the published clients do, who know but one key.
        let key = args.direct_vizier_key.clone().or_else(|| args.api_key.clone());
        let credentials = key.map_or(Credentials::None, Credentials::DirectKey);
        let access = Access { authority: authority(args, &address)?, credentials };
        Ok(Target { address, access, cluster: None })
    }

    /// Its id; empty for a Vizier that is asked directly.
    pub(crate) fn cluster(&self) -> String {
        self.cluster.as_ref().map(id).unwrap_or_default()
    }

    /// What went wrong, with where.
    pub(crate) fn failed(&self, source: client::Error) -> Error {
        if self.cluster.is_some() { failed(&self.address, source) } else { Error::Client(source) }
    }
}

/// Who may have signed the server's certificate; None: TLS is not used.
pub(crate) fn authority(args: &Args, address: &Address) -> Result<Option<Vec<u8>>, Error> {
    // What other clients trust turns TLS on where it is needed: plaintext is served on loopback alone.
    let of_others = args.grpc_default_ssl_roots.as_ref().filter(|_| address.wants_tls() || !address.is_loopback());
    if let Some(path) = args.tls_ca.as_ref().or(of_others) {
        return read(path).map(Some);
    }
    if !address.wants_tls() {
        return Ok(None);
    }
    let system = SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.exists());
    system.as_deref().map(read).transpose()
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File { action: "read", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str, number: u64, status: ClusterStatus) -> ClusterInfo {
        let id = Some(api::uuidpb::Uuid { high_bits: 0, low_bits: number });
        ClusterInfo { id, cluster_name: name.to_owned(), status: status as i32, ..ClusterInfo::default() }
    }

    fn chosen(clusters: &[ClusterInfo], wanted: Option<&str>) -> Result<String, String> {
        let address = "cloud:1".parse().unwrap();
        choose(clusters, wanted, &address).map(|cluster| cluster.cluster_name).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cluster_is_chosen_by_name_or_id_or_because_it_is_the_only_healthy_one() {
        let all = || vec![cluster("a", 1, ClusterStatus::CsHealthy), cluster("b", 2, ClusterStatus::CsDisconnected)];
        assert_eq!(chosen(&all(), None).unwrap(), "a");
        assert_eq!(chosen(&all(), Some("b")).unwrap(), "b");
        assert_eq!(chosen(&all(), Some("00000000-0000-0000-0000-000000000002")).unwrap(), "b");
        assert_eq!(chosen(&all(), Some("c")).unwrap_err(), "there is no cluster `c`; there are: a (HEALTHY), b (DISCONNECTED)");
        let two = vec![cluster("a", 1, ClusterStatus::CsHealthy), cluster("b", 2, ClusterStatus::CsDegraded)];
        assert_eq!(chosen(&two, None).unwrap_err(), "there are several healthy clusters, choose with --cluster: a (HEALTHY), b (DEGRADED)");
        assert_eq!(chosen(&[], None).unwrap_err(), "cloud:1 knows no healthy cluster; there are: none");
    }
}
