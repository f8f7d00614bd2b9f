//! The certificate authority's files over time.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail where it stands")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rpc::{CertificateAuthority, Error};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

const DAY: Duration = Duration::from_hours(24);

fn open(directory: &Path, names: &[&str], now: SystemTime) -> Result<CertificateAuthority, Error> {
    CertificateAuthority::open(directory, &names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>(), now)
}

fn read(directory: &Path, file: &str) -> String {
    fs::read_to_string(directory.join(file)).unwrap()
}

fn names_in(certificate: &str) -> Vec<String> {
    let (_, der) = parse_x509_pem(certificate.as_bytes()).unwrap();
    let parsed = der.parse_x509().unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap().value.general_names.iter();
    names
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(bytes) => format!("{bytes:?}"),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn it_is_made_once_and_its_keys_are_its_owners_alone() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("new/tls");
    let now = SystemTime::now();
    let first = open(&directory, &[], now).unwrap();
    let files = ["ca.crt", "ca.key", "server.crt", "server.key"];
    let before = files.map(|file| read(&directory, file));
    for (file, mode) in [("ca.key", 0o600), ("server.key", 0o600), ("ca.crt", 0o644)] {
        assert_eq!(fs::metadata(directory.join(file)).unwrap().permissions().mode() & 0o777, mode, "{file}");
    }
    let second = open(&directory, &[], now + DAY).unwrap();
    assert_eq!(files.map(|file| read(&directory, file)), before);
    assert_eq!((first.ca_pem(), second.ca_path()), (second.ca_pem(), directory.join("ca.crt").as_path()));
    assert!(!format!("{first:?}").contains("PRIVATE"));
}

#[test]
fn the_server_has_local_names_and_those_given() {
    let state = tempfile::tempdir().unwrap();
    open(state.path(), &["vizier.example", "10.1.2.3"], SystemTime::now()).unwrap();
    let names = names_in(&read(state.path(), "server.crt"));
    let host = rpc::host_name();
    for name in
        ["localhost", "[127, 0, 0, 1]", "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]", "vizier.example", "[10, 1, 2, 3]", &host]
    {
        assert!(names.iter().any(|have| have == name), "{name} is not among {names:?}");
    }
}

#[test]
fn new_names_and_the_end_of_a_certificate_renew_the_server_and_keep_the_authority() {
    let state = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    open(state.path(), &[], now).unwrap();
    let (ca, server) = (read(state.path(), "ca.crt"), read(state.path(), "server.crt"));
    open(state.path(), &["vizier.example"], now).unwrap();
    let named = read(state.path(), "server.crt");
    assert_ne!(named, server);
    open(state.path(), &["vizier.example"], now + 366 * DAY).unwrap();
    assert_eq!(read(state.path(), "server.crt"), named, "more than 30 days are left");
    open(state.path(), &["vizier.example"], now + 368 * DAY).unwrap();
    assert_ne!(read(state.path(), "server.crt"), named);
    assert_eq!(read(state.path(), "ca.crt"), ca);
}

#[test]
fn an_authority_at_its_end_is_replaced_and_signs_a_new_server() {
    let state = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    open(state.path(), &[], now).unwrap();
    let (ca, server) = (read(state.path(), "ca.crt"), read(state.path(), "server.crt"));
    open(state.path(), &[], now + 3640 * DAY).unwrap();
    assert_ne!(read(state.path(), "ca.crt"), ca);
    assert_ne!(read(state.path(), "server.crt"), server);
}

#[test]
fn a_server_signed_by_another_authority_is_replaced() {
    let (state, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let now = SystemTime::now();
    open(state.path(), &[], now).unwrap();
    open(other.path(), &[], now).unwrap();
    for file in ["server.crt", "server.key"] {
        fs::copy(other.path().join(file), state.path().join(file)).unwrap();
    }
    open(state.path(), &[], now).unwrap();
    assert_ne!(read(state.path(), "server.crt"), read(other.path(), "server.crt"));
}

#[test]
fn what_is_wrong_with_the_files_is_said_with_their_path() {
    let state = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    open(state.path(), &[], now).unwrap();
    let path = |file: &str| state.path().join(file).display().to_string();

    let certificate = read(state.path(), "ca.crt");
    fs::write(path("ca.crt"), "nonsense").unwrap();
    let error = open(state.path(), &[], now).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{} holds no usable certificate", path("ca.crt"))), "{error}");
    fs::write(path("ca.crt"), certificate).unwrap();

    fs::remove_file(path("ca.key")).unwrap();
    let error = open(state.path(), &[], now).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{} is missing while {} exists: restore it, or remove both to have new ones made", path("ca.key"), path("ca.crt"))
    );

    let error = open(&state.path().join("server.crt"), &[], now).unwrap_err().to_string();
    assert_eq!(error, format!("cannot make the directory {}", path("server.crt")));

    let other = tempfile::tempdir().unwrap();
    let error = open(other.path(), &["no name"], now).unwrap_err().to_string();
    assert_eq!(error, "`no name` cannot stand in a certificate: it is neither a host name nor an IP address");
}
