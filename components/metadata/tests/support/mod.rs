//! A real etcd for a test: started on free ports, ended with the test.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use metadata::store::{Etcd, EtcdSettings, EtcdTls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Starting takes a second; on a machine that is busy, more.
const START_MAX: Duration = Duration::from_mins(1);
/// Somebody may take a port between our look and etcd's.
const TRIES: usize = 5;

pub(crate) struct Server {
    child: Child,
    _folder: tempfile::TempDir,
    pub(crate) endpoint: String,
    pub(crate) tls: Option<EtcdTls>,
}

impl Server {
    /// None where etcd is not installed; with `CI` set that fails.
    pub(crate) fn start(with_tls: bool, more: &[&str]) -> Option<Server> {
        if Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            assert!(std::env::var_os("CI").is_none(), "etcd is missing: ci/setup installs it");
            eprintln!("skipped: etcd is missing, ci/setup installs it");
            return None;
        }
        let server = (0..TRIES).find_map(|_| Server::try_start(with_tls, more));
        Some(server.expect("etcd starts on a free port"))
    }

    fn try_start(with_tls: bool, more: &[&str]) -> Option<Server> {
        let folder = tempfile::tempdir().unwrap();
        let (client, peer) = (free_port(), free_port());
        let scheme = if with_tls { "https" } else { "http" };
        let (endpoint, peer) = (format!("{scheme}://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        // It ends with us also if we are killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "etcd"]);
        command.arg("--data-dir").arg(folder.path().join("data"));
        command.args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint, "--logger", "zap"]);
        command.args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
            "--initial-cluster",
            &format!("default={peer}"),
        ]);
        let tls = with_tls.then(|| certificates(folder.path()));
        if with_tls {
            let file = |name: &str| folder.path().join(name);
            command.arg("--cert-file").arg(file("server.crt")).arg("--key-file").arg(file("server.key"));
            command.arg("--trusted-ca-file").arg(file("ca.crt")).arg("--client-cert-auth");
        }
        let mut child = command.args(more).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let ready = await_ready(&mut child);
        let server = Server { child, _folder: folder, endpoint, tls };
        ready.then_some(server)
    }

    pub(crate) fn settings(&self, prefix: &str) -> EtcdSettings {
        EtcdSettings { endpoints: vec![self.endpoint.clone()], tls: self.tls.clone(), prefix: prefix.to_owned() }
    }

    pub(crate) async fn connect(&self, prefix: &str) -> Etcd {
        Etcd::connect(&self.settings(prefix)).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what it says until it serves; a thread reads on, so that it never waits for us.
fn await_ready(child: &mut Child) -> bool {
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (found, ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line.contains("serving client traffic") {
                let _ = found.send(true);
            }
        }
        let _ = found.send(false);
    });
    ready.recv_timeout(START_MAX).unwrap_or(false)
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// An authority, a server's certificate for 127.0.0.1 and a client's.
fn certificates(folder: &Path) -> EtcdTls {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let (server, server_key) = signed("127.0.0.1");
    let (certificate, key) = signed("client");
    for (name, text) in [("ca.crt", &ca), ("server.crt", &server), ("server.key", &server_key)] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    EtcdTls { ca, certificate, key }
}
