//! Which parts a fleet has, and how each is started. Pure.

use std::path::{Path, PathBuf};

use crate::network::Network;
use crate::pki::Pki;
use crate::record::Record;
use crate::settings::Store;

/// Ports on the services' address, which belongs to the fleet alone. All lie below those that the kernel gives to connections.
const NATS_PORT: u16 = 4222;
const NATS_HTTP_PORT: u16 = 8222;
const ETCD_PORT: u16 = 2379;
const ETCD_PEER_PORT: u16 = 2380;
const METADATA_PORT: u16 = 5040;
const BROKER_PORT: u16 = 5030;
const CLOUD_PORT: u16 = 5160;
const KELVIN_PORT_FIRST: u16 = 5930;
/// Added to the port of a part: where it tells how it does.
const HTTP_PORT_OFFSET: u16 = 10_000;
const CONNECTOR_HTTP_PORT: u16 = 15_080;
const PEM_HTTP_PORT: u16 = 15_600;

/// What the cluster is called in the control plane.
pub(crate) const CLUSTER_NAME: &str = "fleet";
/// Keys of clients, for the broker.
pub(crate) const API_KEYS_FILE: &str = "api-keys";
/// What the cluster registers with.
pub(crate) const DEPLOY_KEY_FILE: &str = "deploy-key";
/// A ring of the usual size for each of many nodes on one kernel would be much.
const RING_BYTES: &str = "8388608";
const TABLE_BYTES: &str = "67108864";

/// How to know that a part serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It has written its ready file.
    File(PathBuf),
    /// Its address takes connections.
    Port,
}

/// A part and how it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// Ours from the folder with the binaries, or a server's.
    pub(crate) program: Program,
    pub(crate) words: Vec<String>,
    /// Of its environment, beside ours.
    pub(crate) variables: Vec<(String, String)>,
    /// On which node; `None`: beside the services.
    pub(crate) node: Option<usize>,
    /// Where others reach it, or where it tells how it does.
    pub(crate) address: String,
    pub(crate) sign: Sign,
}

/// Whose program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Ours(&'static str),
    Server(&'static str),
}

/// Makes the parts of one fleet.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) dir: PathBuf,
    pub(crate) network: Network,
    pub(crate) pki: Pki,
    pub(crate) pems: usize,
    pub(crate) kelvins: usize,
    pub(crate) store: Store,
    pub(crate) cluster_id: Option<String>,
    pub(crate) kubeconfig: Option<PathBuf>,
}

macro_rules! words {
    ($($word:expr),* $(,)?) => { vec![$(String::from($word)),*] };
}

impl Parts {
    pub(crate) fn of(record: &Record, dir: &Path) -> Parts {
        Parts {
            dir: dir.to_owned(),
            network: Network { number: record.network },
            pki: Pki::of(dir),
            pems: record.pems,
            kelvins: record.kelvins,
            store: record.store,
            cluster_id: record.cluster_id.clone(),
            kubeconfig: record.kubeconfig.clone(),
        }
    }

    /// All of them, in the order in which they are started.
    pub(crate) fn all(&self) -> Vec<Part> {
        let mut parts = vec![self.nats()];
        if self.store == Store::Etcd {
            parts.push(self.etcd());
        }
        parts.extend([self.cloud(), self.metadata(), self.connector(), self.broker()]);
        parts.extend((1..=self.kelvins).map(|number| self.kelvin(number)));
        parts.extend((1..=self.pems).map(|node| self.pem(node)));
        parts
    }

    /// The names of those that need a certificate: beside the services, and on the nodes.
    pub(crate) fn certified(&self) -> (Vec<String>, Vec<String>) {
        let services = ["nats", "etcd", "cloud", "metadata", "cloud-connector", "query-broker"].map(str::to_owned);
        let kelvins = (1..=self.kelvins).map(|number| format!("kelvin-{number}"));
        (services.into_iter().chain(kelvins).collect(), (1..=self.pems).map(|node| format!("pem-{node}")).collect())
    }

    pub(crate) fn state_dir(&self, name: &str) -> PathBuf {
        self.dir.join("state").join(name)
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.dir.join("log").join(format!("{name}.log"))
    }

    /// The settings of the bus' server: TLS, certificates demanded of clients, and where it tells what it carried.
    pub(crate) fn nats_config(&self) -> String {
        let (certificate, key, ca) = (self.pki.text("nats.crt"), self.pki.text("nats.key"), self.pki.ca());
        format!(
            "listen: \"{}\"\nhttp: \"{}\"\ntls {{ cert_file: \"{certificate}\", key_file: \"{key}\", ca_file: \"{ca}\", verify: true }}\n",
            self.at(NATS_PORT),
            self.nats_http_address()
        )
    }

    pub(crate) fn nats_config_file(&self) -> PathBuf {
        self.state_dir("nats").join("nats.conf")
    }

    pub(crate) fn broker_address(&self) -> String {
        self.at(BROKER_PORT)
    }

    pub(crate) fn cloud_address(&self) -> String {
        self.at(CLOUD_PORT)
    }

    fn at(&self, port: u16) -> String {
        format!("{}:{port}", self.network.hub_address())
    }

    /// Where the bus' server tells what it carried, over plain HTTP.
    pub(crate) fn nats_http_address(&self) -> String {
        self.at(NATS_HTTP_PORT)
    }

    pub(crate) fn nats_url(&self) -> String {
        format!("nats://{}", self.at(NATS_PORT))
    }

    fn ready_file(&self, name: &str) -> PathBuf {
        self.state_dir(name).join("ready")
    }

    fn text(path: &Path) -> String {
        path.to_string_lossy().into_owned()
    }

    fn nats(&self) -> Part {
        Part {
            name: "nats".to_owned(),
            program: Program::Server("nats-server"),
            words: words!["-c", Self::text(&self.nats_config_file())],
            variables: Vec::new(),
            node: None,
            address: self.at(NATS_PORT),
            sign: Sign::Port,
        }
    }

    fn etcd(&self) -> Part {
        let (client, peer) = (format!("https://{}", self.at(ETCD_PORT)), format!("http://{}", self.at(ETCD_PEER_PORT)));
        let words = words![
            "--data-dir",
            Self::text(&self.state_dir("etcd")),
            "--listen-client-urls",
            client.clone(),
            "--advertise-client-urls",
            client,
            "--listen-peer-urls",
            peer.clone(),
            "--initial-advertise-peer-urls",
            peer.clone(),
            "--initial-cluster",
            format!("default={peer}"),
            "--cert-file",
            self.pki.text("etcd.crt"),
            "--key-file",
            self.pki.text("etcd.key"),
            "--trusted-ca-file",
            self.pki.ca(),
            "--client-cert-auth",
            "--logger",
            "zap",
        ];
        let (program, name) = (Program::Server("etcd"), "etcd".to_owned());
        Part { name, program, words, variables: Vec::new(), node: None, address: self.at(ETCD_PORT), sign: Sign::Port }
    }

    /// A part of ours beside the services, with what all of them take.
    fn service(&self, (name, program): (&str, &'static str), (address, http): (String, String), words: Vec<String>) -> Part {
        let ready = self.ready_file(name);
        let mut all = words;
        all.extend(words!["--ready-file", Self::text(&ready), "--http-listen", http, "--log", "info"]);
        Part {
            name: name.to_owned(),
            program: Program::Ours(program),
            words: all,
            variables: Vec::new(),
            node: None,
            address,
            sign: Sign::File(ready),
        }
    }

    fn tls(&self, name: &str) -> Vec<String> {
        let (certificate, key) = (self.pki.text(&format!("{name}.crt")), self.pki.text(&format!("{name}.key")));
        words!["--tls-ca-cert", self.pki.ca(), "--tls-cert", certificate, "--tls-key", key]
    }

    fn signing_key(&self) -> Vec<String> {
        words!["--jwt-signing-key-file", self.pki.text("jwt-signing-key")]
    }

    fn bus(&self) -> Vec<String> {
        words!["--nats-url", self.nats_url()]
    }

    fn cloud(&self) -> Part {
        let name = "cloud";
        let (certificate, key) = (self.pki.text("cloud.crt"), self.pki.text("cloud.key"));
        let (address, http) = (self.at(CLOUD_PORT), self.at(CLOUD_PORT + HTTP_PORT_OFFSET));
        let words = words![
            "serve",
            "--listen",
            address.clone(),
            "--state-dir",
            Self::text(&self.state_dir(name)),
            "--tls-cert",
            certificate,
            "--tls-key",
            key
        ];
        self.service((name, "cloud"), (address, http), words)
    }

    fn metadata(&self) -> Part {
        let name = "metadata";
        let (address, http) = (self.at(METADATA_PORT), self.at(METADATA_PORT + HTTP_PORT_OFFSET));
        let mut words = words!["--listen", address.clone(), "--replica", name];
        words.extend(match self.store {
            Store::Embedded => words!["--store", "embedded", "--store-path", Self::text(&self.state_dir(name).join("metadata.redb"))],
            Store::Etcd => words![
                "--store",
                "etcd",
                "--etcd-endpoints",
                format!("https://{}", self.at(ETCD_PORT)),
                "--etcd-tls-ca-cert",
                self.pki.ca(),
                "--etcd-tls-cert",
                self.pki.text("metadata.crt"),
                "--etcd-tls-key",
                self.pki.text("metadata.key"),
            ],
        });
        words.extend([self.tls(name), self.signing_key(), self.bus()].concat());
        let Some(kubeconfig) = &self.kubeconfig else { return self.service((name, "metadata"), (address, http), words) };
        words.extend(words!["--kubernetes", "on"]);
        let variables = vec![("KUBECONFIG".to_owned(), Self::text(kubeconfig))];
        Part { variables, ..self.service((name, "metadata"), (address, http), words) }
    }

    fn connector(&self) -> Part {
        let name = "cloud-connector";
        let http = self.at(CONNECTOR_HTTP_PORT);
        let mut words = words![
            "--cloud-addr",
            self.cloud_address(),
            "--cloud-ca-cert",
            self.pki.ca(),
            "--deploy-key-file",
            self.pki.text(DEPLOY_KEY_FILE),
            "--cluster-uid",
            format!("fleet-{}", self.network.number),
            "--cluster-name",
            CLUSTER_NAME,
            "--state-dir",
            Self::text(&self.state_dir(name)),
            "--query-broker-addr",
            self.broker_address(),
            "--metadata-addr",
            self.at(METADATA_PORT),
        ];
        words.extend([self.tls(name), self.signing_key(), self.bus()].concat());
        self.service((name, "cloud-connector"), (http.clone(), http), words)
    }

    fn broker(&self) -> Part {
        let name = "query-broker";
        let (address, http) = (self.broker_address(), self.at(BROKER_PORT + HTTP_PORT_OFFSET));
        let mut words = words![
            "--listen",
            address.clone(),
            "--metadata-address",
            self.at(METADATA_PORT),
            "--direct-keys-file",
            self.pki.text(API_KEYS_FILE),
            "--cluster-name",
            CLUSTER_NAME,
        ];
        if let Some(id) = &self.cluster_id {
            words.extend(words!["--cluster-id", id.clone()]);
        }
        words.extend([self.tls(name), self.signing_key(), self.bus()].concat());
        self.service((name, "query-broker"), (address, http), words)
    }

    fn kelvin(&self, number: usize) -> Part {
        let name = format!("kelvin-{number}");
        let port = KELVIN_PORT_FIRST + 2 * u16::try_from(number).unwrap_or_default();
        let (address, http) = (self.at(port), self.at(port + HTTP_PORT_OFFSET));
        let mut words = words!["--listen", address.clone(), "--agents-listen", self.at(port + 1), "--tls-server-name", "localhost"];
        words.extend(words!["--spill-dir", Self::text(&self.state_dir(&name).join("spill"))]);
        words.extend(words!["--hostname", name.clone(), "--host-ip", self.network.hub_address(), "--pod-name", format!("pl/{name}")]);
        words.extend([self.tls(&name), self.bus()].concat());
        self.service((&name, "kelvin"), (address, http), words)
    }

    fn pem(&self, node: usize) -> Part {
        let name = format!("pem-{node}");
        let host = self.network.node_address(node);
        let http = format!("{host}:{PEM_HTTP_PORT}");
        let mut words = words!["--hostname", name.clone(), "--host-ip", host, "--pod-name", format!("pl/{name}")];
        words.extend(words!["--ring-bytes", RING_BYTES, "--table-store-bytes-max", TABLE_BYTES]);
        words.extend([self.tls(&name), self.bus()].concat());
        Part { node: Some(node), ..self.service((&name, "vizier-pem"), (http.clone(), http), words) }
    }
}
