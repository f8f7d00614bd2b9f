//! Who this cluster is to the control plane. Given once, kept for ever.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ids::ClusterId;

use crate::Error;

/// Within the state folder.
const FILE: &str = "cluster";

/// What the control plane calls this cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// By which it knows the cluster.
    pub id: ClusterId,
    /// By which people do.
    pub name: String,
}

/// Where the identity outlives the process.
pub trait IdentityStore: Send + Sync {
    /// The identity that was kept, if one was.
    ///
    /// # Errors
    /// It cannot be read, or it is none: then nobody may register anew in its place.
    fn load(&self) -> Result<Option<Identity>, Error>;

    /// Keeps it, in place of another.
    ///
    /// # Errors
    /// It cannot be written.
    fn keep(&self, identity: &Identity) -> Result<(), Error>;
}

/// A file of two lines: id and name.
#[derive(Debug, Clone)]
pub struct FileIdentity {
    path: PathBuf,
}

impl FileIdentity {
    /// In this folder, which is made where it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(folder: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(|source| Error::File { action: "make the folder", path: folder.to_owned(), source })?;
        Ok(Self { path: folder.join(FILE) })
    }
}

impl IdentityStore for FileIdentity {
    fn load(&self) -> Result<Option<Identity>, Error> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::File { action: "read", path: self.path.clone(), source }),
        };
        let mut lines = text.lines();
        let id = lines.next().and_then(|line| line.parse().ok()).ok_or_else(|| Error::Identity { path: self.path.clone() })?;
        Ok(Some(Identity { id, name: lines.next().unwrap_or_default().to_owned() }))
    }

    fn keep(&self, identity: &Identity) -> Result<(), Error> {
        let failed = |action: &'static str| move |source| Error::File { action, path: self.path.clone(), source };
        // A name is one line: the control plane refuses others.
        let text = format!("{}\n{}\n", identity.id, identity.name.replace(['\n', '\r'], " "));
        let fresh = self.path.with_extension("new");
        let mut file = std::fs::File::create(&fresh).map_err(failed("create"))?;
        std::io::Write::write_all(&mut file, text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write"))?;
        std::fs::rename(&fresh, &self.path).map_err(failed("replace"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_outlives_the_process_and_a_file_of_something_else_is_no_reason_for_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileIdentity::new(&folder.path().join("new")).unwrap();
        assert_eq!(store.load().unwrap(), None);
        let identity = Identity { id: ClusterId::from_halves(1, 2), name: "prod".to_owned() };
        store.keep(&identity).unwrap();
        assert_eq!(store.load().unwrap(), Some(identity));
        std::fs::write(folder.path().join("new/cluster"), "garbage").unwrap();
        assert!(store.load().unwrap_err().to_string().ends_with("new/cluster holds no cluster's identity"));
    }
}
