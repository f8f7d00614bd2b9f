use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use ids::ClusterId;
use query_broker::ClusterIdentity;
use uuid::Uuid;

use crate::Error;

/// Holds the cluster's id, one line of text.
const CLUSTER_ID_FILE: &str = "cluster-id";

/// Who this machine is as a cluster: the id kept in the state folder, made on first start, and the host's name.
pub(crate) fn open(state_dir: &Path) -> Result<ClusterIdentity, Error> {
    fs::create_dir_all(state_dir).map_err(|source| Error::State { path: state_dir.to_owned(), source })?;
    let kernel = rustix::system::uname();
    Ok(ClusterIdentity {
        id: cluster_id(state_dir)?,
        name: rpc::host_name(),
        vizier_version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster_version: format!("Linux {}", kernel.release().to_string_lossy()),
    })
}

fn cluster_id(state_dir: &Path) -> Result<ClusterId, Error> {
    let path = state_dir.join(CLUSTER_ID_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|source| Error::ClusterId { path, source }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let id = ClusterId::from_bytes(*Uuid::new_v4().as_bytes());
            fs::write(&path, format!("{id}\n")).map_err(|source| Error::State { path, source })?;
            Ok(id)
        }
        Err(source) => Err(Error::State { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_kept_and_nonsense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path()).unwrap();
        assert_eq!(open(folder.path()).unwrap(), first);
        fs::write(folder.path().join(CLUSTER_ID_FILE), "mine").unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(error.to_string().ends_with("holds no cluster id"), "{error}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = open(Path::new("/proc/px-state")).unwrap_err();
        assert_eq!(error.to_string(), "state folder `/proc/px-state` cannot be used");
    }
}
