//! What is made, and what stays.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::path::Path;
use std::process::Command;

use auth::ApiKeys;

fn provision(folder: &Path, words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_px-provision")).arg("--dir").arg(folder).args(words).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    said.replace(folder.to_str().unwrap(), "DIR").lines().filter(|line| !line.contains("INFO")).collect::<Vec<_>>().join("\n")
}

#[test]
fn it_makes_what_is_missing_and_keeps_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let parts = ["--part", "metadata=10.0.0.1,md.example", "--part", "pem-1"];
    let made = "made metadata DIR/metadata.crt\nmade pem-1 DIR/pem-1.crt\nmade signing-key DIR/jwt-signing-key\nmade api-keys DIR/api-keys";
    assert_eq!(provision(folder.path(), &parts), made);
    assert_eq!(provision(folder.path(), &parts), made.replace("made", "kept"));
    let other = made.replace("made", "kept").replace("kept pem-1", "made pem-1");
    assert_eq!(provision(folder.path(), &["--part", "metadata=10.0.0.1,md.example", "--part", "pem-1=node-1"]), other);
    let key = std::fs::read_to_string(folder.path().join("api-keys")).unwrap();
    assert!(ApiKeys::open(&folder.path().join("api-keys")).unwrap().admit(key.trim()));
    assert_eq!(std::fs::read_to_string(folder.path().join("jwt-signing-key")).unwrap().trim().len(), 128);
    let identity = |part: &str| {
        let file = |name: &str| folder.path().join(name);
        rpc::PeerIdentity::read(&file("ca.crt"), &file(&format!("{part}.crt")), &file(&format!("{part}.key")))
    };
    assert!(rpc::MutualTls::new(&identity("metadata").unwrap(), "h2").is_ok());
}

#[test]
fn a_wrong_name_is_said() {
    let folder = tempfile::tempdir().unwrap();
    assert!(provision(folder.path(), &["--part", "ca"]).contains("`ca` cannot be the name of a part"));
    assert!(provision(folder.path(), &["--part", "pem=no name"]).contains("`no name` cannot stand in a certificate"));
}
