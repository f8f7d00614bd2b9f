use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::Error;
use crate::authority::{open_authority, still_good, with_local_names};
use crate::certificates::{Usage, new_server};
use crate::files::PairPaths;

/// One part of a Vizier that needs a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What its files are called.
    pub name: String,
    /// Host names and addresses by which others reach it.
    pub names: Vec<String>,
}

/// Where the files of a part are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartFiles {
    /// The authority's certificate: for all parts the same.
    pub ca: PathBuf,
    /// The part's certificate, good for both ends of a connection.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Whether it was made now: it was not there, was about to expire, or had other names.
    pub made: bool,
}

/// An authority in `directory`, and for each part `NAME.crt` and `NAME.key`, signed by it, with the part's names and those by which every
/// machine knows itself. What is there and still good stays.
///
/// # Errors
/// The directory or a file cannot be read or written, holds something else, or a name is neither a host name nor an address.
pub fn provision(directory: &Path, parts: &[Part], now: SystemTime) -> Result<Vec<PartFiles>, Error> {
    let (ca_paths, ca) = open_authority(directory, now)?;
    let one = |part: &Part| {
        check_file_name(&part.name)?;
        let paths = PairPaths::new(directory, &format!("{}.crt", part.name), &format!("{}.key", part.name));
        let wanted = with_local_names(part.names.iter().cloned());
        let good = match paths.read()? {
            Some(pair) => still_good(&pair, &paths, &ca, &ca_paths, &wanted, now)?,
            None => false,
        };
        if !good {
            paths.write(&new_server(&ca, &ca_paths.certificate, &ca_paths.key, &wanted, (Usage::Peer, now))?)?;
        }
        Ok(PartFiles { ca: ca_paths.certificate.clone(), certificate: paths.certificate, key: paths.key, made: !good })
    };
    parts.iter().map(one).collect()
}

/// The names by which the parts of a Vizier reach each other in a namespace of Kubernetes. Reference: `src/utils/shared/certs`.
pub fn kubernetes_names(namespace: &str) -> Vec<String> {
    let of_namespace =
        ["*.{}.svc", "*.{}.svc.cluster.local", "*.{}.pod.cluster.local", "*.pl-etcd.{}.svc", "*.pl-etcd.{}.svc.cluster.local"];
    of_namespace.iter().map(|name| name.replace("{}", namespace)).chain(["pl-nats", "pl-etcd"].map(str::to_owned)).collect()
}

/// A name that is a plain file's, and not the authority's.
fn check_file_name(name: &str) -> Result<(), Error> {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if plain && name != "ca" { Ok(()) } else { Err(Error::PartName { name: name.to_owned() }) }
}
