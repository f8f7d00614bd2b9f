use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// Paths of an authority's certificate and of a certificate that it signed, with its key.
#[derive(Debug, Clone)]
pub struct Files {
    /// The authority's.
    pub ca: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// An authority, a server and a client that trust it. The files go when it is dropped.
#[derive(Debug)]
pub struct Certificates {
    _folder: TempDir,
    /// For a server on loopback.
    pub server: Files,
    /// For a client.
    pub client: Files,
}

impl Certificates {
    /// Makes them.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn new() -> Result<Certificates> {
        let folder = tempfile::tempdir()?;
        let ca_key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "CA of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = folder.path().join("ca.crt");
        fs::write(&ca, params.self_signed(&ca_key)?.pem())?;
        let issuer = Issuer::new(params, ca_key);
        let server = signed(&issuer, &ca, folder.path(), "server", ExtendedKeyUsagePurpose::ServerAuth)?;
        let client = signed(&issuer, &ca, folder.path(), "client", ExtendedKeyUsagePurpose::ClientAuth)?;
        Ok(Certificates { _folder: folder, server, client })
    }
}

fn signed(issuer: &Issuer<'_, KeyPair>, ca: &Path, folder: &Path, name: &str, usage: ExtendedKeyUsagePurpose) -> Result<Files> {
    let key_pair = KeyPair::generate()?;
    let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![usage];
    let (certificate, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
    fs::write(&certificate, params.signed_by(&key_pair, issuer)?.pem())?;
    fs::write(&key, key_pair.serialize_pem())?;
    Ok(Files { ca: ca.to_owned(), certificate, key })
}
