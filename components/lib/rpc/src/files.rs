//! The state directory's files.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::Error;

/// Keys are their owner's alone.
const KEY_MODE: u32 = 0o600;
/// Certificates are public.
const CERTIFICATE_MODE: u32 = 0o644;
/// A directory that we make ourselves.
const DIRECTORY_MODE: u32 = 0o700;

/// This machine's name as the kernel knows it; `localhost` where it has none.
pub fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() || name == "(none)" { "localhost".to_owned() } else { name.to_owned() }
}

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Where a pair is kept.
pub(crate) struct PairPaths {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl PairPaths {
    pub(crate) fn new(directory: &Path, certificate: &str, key: &str) -> PairPaths {
        PairPaths { certificate: directory.join(certificate), key: directory.join(key) }
    }

    /// None if neither file exists.
    pub(crate) fn read(&self) -> Result<Option<Pair>, Error> {
        match (read(&self.certificate)?, read(&self.key)?) {
            (Some(certificate), Some(key)) => Ok(Some(Pair { certificate, key })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Error::HalfPair { missing: self.key.clone(), present: self.certificate.clone() }),
            (None, Some(_)) => Err(Error::HalfPair { missing: self.certificate.clone(), present: self.key.clone() }),
        }
    }

    pub(crate) fn write(&self, pair: &Pair) -> Result<(), Error> {
        write(&self.key, &pair.key, KEY_MODE)?;
        write(&self.certificate, &pair.certificate, CERTIFICATE_MODE)
    }
}

pub(crate) fn make_directory(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path).map_err(|source| Error::File {
        action: "make the directory",
        path: path.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { action: "read", path: path.to_owned(), source }),
    }
}

/// Puts a secret into a file that its owner alone can read; a crash leaves the old file or the new one.
///
/// # Errors
/// It cannot be written.
pub fn write_secret(path: &Path, text: &str) -> Result<(), Error> {
    write(path, text, KEY_MODE)
}

/// Replaces the file as a whole, so that a crash leaves the old one or the new one.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let fresh = path.with_extension("new");
    let failed = |action, path: &Path, source| Error::File { action, path: path.to_owned(), source };
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("remove", &fresh, error)),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh).map_err(|e| failed("create", &fresh, e))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| failed("write", &fresh, e))?;
    fs::rename(&fresh, path).map_err(|e| failed("replace", path, e))
}
