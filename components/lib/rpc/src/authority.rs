use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::Error;
use crate::certificates::{Facts, RENEW_BEFORE, Usage, facts, new_authority, new_server, signed_by};
use crate::files::{Pair, PairPaths, host_name, make_directory};

/// What clients are given to trust us.
pub const CA_CERTIFICATE_FILE: &str = "ca.crt";
const CA_KEY_FILE: &str = "ca.key";
const SERVER_CERTIFICATE_FILE: &str = "server.crt";
const SERVER_KEY_FILE: &str = "server.key";

/// Always in the certificate, so that clients on the machine itself need no name.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate authority of this installation alone, and the server certificate that it signed.
///
/// Lives in a state directory: `ca.crt` goes to clients, `ca.key` and `server.key` are readable by their owner only.
pub struct CertificateAuthority {
    ca_paths: PairPaths,
    ca: Pair,
    server: Pair,
}

/// How one part of a Vizier shows itself to another: all PEM.
pub struct PeerIdentity {
    /// Signed by the authority; good for both ends of a connection.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// The authority's certificate.
    pub ca: String,
}

impl PeerIdentity {
    /// From files, all PEM.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(ca: &Path, certificate: &Path, key: &Path) -> Result<Self, Error> {
        let read =
            |path: &Path| std::fs::read_to_string(path).map_err(|source| Error::File { action: "read", path: path.to_owned(), source });
        Ok(Self { certificate: read(certificate)?, key: read(key)?, ca: read(ca)? })
    }

    /// How a gRPC server shows itself, and whom it takes.
    pub fn server_tls(&self) -> ServerTlsConfig {
        ServerTlsConfig::new().identity(Identity::from_pem(&self.certificate, &self.key)).client_ca_root(Certificate::from_pem(&self.ca))
    }

    /// How a gRPC server shows itself to clients that need no certificate.
    pub fn shown_tls(&self) -> ServerTlsConfig {
        ServerTlsConfig::new().identity(Identity::from_pem(&self.certificate, &self.key))
    }

    /// How a gRPC client shows itself, and whom it takes.
    pub fn client_tls(&self) -> ClientTlsConfig {
        ClientTlsConfig::new().identity(Identity::from_pem(&self.certificate, &self.key)).ca_certificate(Certificate::from_pem(&self.ca))
    }
}

/// The key is not shown.
impl std::fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerIdentity").finish_non_exhaustive()
    }
}

impl CertificateAuthority {
    /// Opens the authority kept in `directory`, and makes what is missing there. The server's certificate carries `localhost`, the
    /// loopback addresses, the host's name and `names`; it is made anew when one of these is not in it, when it has less than 30 days
    /// left, or when another authority signed it. An authority that is about to expire is replaced as well: clients then need the new
    /// `ca.crt`.
    ///
    /// # Errors
    /// The directory or a file cannot be read or written, holds something else, or a name is neither a host name nor an address.
    pub fn open(directory: &Path, names: &[String], now: SystemTime) -> Result<CertificateAuthority, Error> {
        let (ca_paths, ca) = open_authority(directory, now)?;
        let server_paths = PairPaths::new(directory, SERVER_CERTIFICATE_FILE, SERVER_KEY_FILE);
        let wanted = wanted_names(names);
        let server = match server_paths.read()? {
            Some(pair) if still_good(&pair, &server_paths, &ca, &ca_paths, &wanted, now)? => pair,
            old => {
                tracing::info!(path = %server_paths.certificate.display(), renewed = old.is_some(), "made a server certificate");
                let pair = new_server(&ca, &ca_paths.certificate, &ca_paths.key, &wanted, (Usage::Server, now))?;
                server_paths.write(&pair)?;
                pair
            }
        };
        Ok(CertificateAuthority { ca_paths, ca, server })
    }

    /// The certificate to give to clients.
    pub fn ca_path(&self) -> &Path {
        &self.ca_paths.certificate
    }

    /// The same as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca.certificate
    }

    /// A new identity for one part of the Vizier, with `localhost`, the loopback addresses, the host's name and `names`.
    ///
    /// # Errors
    /// A name is neither a host name nor an address.
    pub fn issue_peer(&self, names: &[String], now: SystemTime) -> Result<PeerIdentity, Error> {
        let paths = &self.ca_paths;
        let pair = new_server(&self.ca, &paths.certificate, &paths.key, &wanted_names(names), (Usage::Peer, now))?;
        Ok(PeerIdentity { certificate: pair.certificate, key: pair.key, ca: self.ca.certificate.clone() })
    }

    /// How a server of ours shows itself.
    pub fn server_tls(&self) -> ServerTlsConfig {
        ServerTlsConfig::new().identity(Identity::from_pem(&self.server.certificate, &self.server.key))
    }
}

/// The key is not shown.
impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority").field("ca_path", &self.ca_path()).finish_non_exhaustive()
    }
}

/// The authority kept in `directory`; made where there is none, or none that lasts.
pub(crate) fn open_authority(directory: &Path, now: SystemTime) -> Result<(PairPaths, Pair), Error> {
    make_directory(directory)?;
    let paths = PairPaths::new(directory, CA_CERTIFICATE_FILE, CA_KEY_FILE);
    let pair = match paths.read()? {
        Some(pair) if !expires_soon(&facts(&pair.certificate, &paths.certificate)?, now) => pair,
        old => {
            tracing::info!(path = %paths.certificate.display(), renewed = old.is_some(), "made a certificate authority");
            let pair = new_authority(&host_name(), now)?;
            paths.write(&pair)?;
            pair
        }
    };
    Ok((paths, pair))
}

fn wanted_names(names: &[String]) -> BTreeSet<String> {
    with_local_names(std::iter::once(host_name()).chain(names.iter().cloned()))
}

/// With those by which every machine knows itself.
pub(crate) fn with_local_names(names: impl Iterator<Item = String>) -> BTreeSet<String> {
    let all = LOCAL_NAMES.iter().map(|n| (*n).to_owned()).chain(names);
    // Addresses in their usual text, so that they compare equal to what a certificate says.
    all.map(|name| name.parse::<IpAddr>().map_or(name, |address| address.to_string())).collect()
}

fn expires_soon(facts: &Facts, now: SystemTime) -> bool {
    facts.expires < now + RENEW_BEFORE
}

pub(crate) fn still_good(
    pair: &Pair,
    paths: &PairPaths,
    ca: &Pair,
    ca_paths: &PairPaths,
    wanted: &BTreeSet<String>,
    now: SystemTime,
) -> Result<bool, Error> {
    let facts = facts(&pair.certificate, &paths.certificate)?;
    let ours = signed_by(&pair.certificate, &paths.certificate, &ca.certificate, &ca_paths.certificate)?;
    Ok(ours && facts.names == *wanted && !expires_soon(&facts, now))
}
