//! Making certificates, and reading what we need to know of them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use crate::Error;
use crate::files::Pair;

/// How long an authority of ours is valid: people copy its certificate to clients by hand.
const CA_VALID: Duration = Duration::from_hours(10 * 365 * 24);
/// How long a server's certificate is valid. Apple's and the browsers' limit is 398 days.
const SERVER_VALID: Duration = Duration::from_hours(397 * 24);
/// Renewed when less than this is left at start.
pub(crate) const RENEW_BEFORE: Duration = Duration::from_hours(30 * 24);
/// Clocks of clients may be behind.
const BACKDATED: Duration = Duration::from_hours(24);

/// What a server's certificate says.
pub(crate) struct Facts {
    pub(crate) names: BTreeSet<String>,
    pub(crate) expires: SystemTime,
}

pub(crate) fn new_authority(host: &str, now: SystemTime) -> Result<Pair, Error> {
    let key = KeyPair::generate().map_err(Error::Generate)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("Vizier CA of {host}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + CA_VALID).into();
    let certificate = params.self_signed(&key).map_err(Error::Generate)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// What a certificate is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    /// Being a server.
    Server,
    /// Being either end of a connection between parts of one Vizier.
    Peer,
}

pub(crate) fn new_server(
    authority: &Pair,
    ca_path: &Path,
    ca_key_path: &Path,
    names: &BTreeSet<String>,
    (usage, now): (Usage, SystemTime),
) -> Result<Pair, Error> {
    let unusable = |path: &Path, what, error: rcgen::Error| Error::Content { path: path.to_owned(), what, reason: error.to_string() };
    let ca_key = KeyPair::from_pem(&authority.key).map_err(|e| unusable(ca_key_path, "private key", e))?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, ca_key).map_err(|e| unusable(ca_path, "certificate", e))?;
    let key = KeyPair::generate().map_err(Error::Generate)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = name("Vizier");
    params.subject_alt_names = names.iter().map(|n| subject(n)).collect::<Result<_, _>>()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match usage {
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Usage::Peer => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + SERVER_VALID).into();
    let certificate = params.signed_by(&key, &issuer).map_err(Error::Generate)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn subject(name: &str) -> Result<SanType, Error> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let wrong = || Error::Name { name: name.to_owned() };
    let plausible = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'*'));
    if !plausible {
        return Err(wrong());
    }
    name.try_into().map(SanType::DnsName).map_err(|_| wrong())
}

/// The names and the end of a certificate, if `authority` has signed it.
pub(crate) fn facts(certificate: &str, path: &Path) -> Result<Facts, Error> {
    with_certificate(certificate, path, |parsed| {
        let alternatives = parsed.subject_alternative_name().ok().flatten().map(|e| e.value.general_names.clone()).unwrap_or_default();
        let names = alternatives.iter().filter_map(text_of).collect();
        Facts { names, expires: time(parsed.validity().not_after.timestamp()) }
    })
}

/// True if `authority` has signed `certificate`.
pub(crate) fn signed_by(certificate: &str, path: &Path, authority: &str, authority_path: &Path) -> Result<bool, Error> {
    let authority_der = parse_x509_pem(authority.as_bytes()).map_err(|e| wrong(authority_path, &e))?.1;
    let authority = authority_der.parse_x509().map_err(|e| wrong(authority_path, &e))?;
    with_certificate(certificate, path, |parsed| {
        parsed.issuer() == authority.subject() && parsed.verify_signature(Some(authority.public_key())).is_ok()
    })
}

fn with_certificate<T>(pem: &str, path: &Path, read: impl FnOnce(&X509Certificate<'_>) -> T) -> Result<T, Error> {
    let (_, der) = parse_x509_pem(pem.as_bytes()).map_err(|e| wrong(path, &e))?;
    let parsed = der.parse_x509().map_err(|e| wrong(path, &e))?;
    Ok(read(&parsed))
}

fn wrong(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Content { path: path.to_owned(), what: "certificate", reason: error.to_string() }
}

fn text_of(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name {
        return Some((*name).to_owned());
    }
    let GeneralName::IPAddress(bytes) = name else { return None };
    if let Ok(four) = <[u8; 4]>::try_from(*bytes) {
        return Some(IpAddr::from(four).to_string());
    }
    <[u8; 16]>::try_from(*bytes).ok().map(|sixteen| IpAddr::from(sixteen).to_string())
}

fn time(unix_s: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(unix_s).unwrap_or(0))
}
