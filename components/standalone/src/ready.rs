use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::Error;

/// The ready file: there while scripts are answered.
#[derive(Debug)]
pub(crate) struct ReadyFile {
    path: PathBuf,
}

impl ReadyFile {
    /// Writes the address. Whoever reads the file sees all of it: it is written beside and renamed.
    pub(crate) fn write(path: &Path, address: SocketAddr) -> Result<ReadyFile, Error> {
        let beside = path.with_extension("tmp");
        let failed = |source| Error::ReadyFile { path: path.to_owned(), source };
        fs::write(&beside, format!("{address}\n")).map_err(failed)?;
        fs::rename(&beside, path).map_err(failed)?;
        Ok(ReadyFile { path: path.to_owned() })
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the ready file stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_the_address_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        let ready = ReadyFile::write(&path, "127.0.0.1:51200".parse().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "127.0.0.1:51200\n");
        drop(ready);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
