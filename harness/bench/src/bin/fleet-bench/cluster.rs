//! A Kubernetes for the metadata service to watch: as many nodes as there are agents, each with pods.

use std::io::Write as _;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use fleet::Fleet;
use harness_kubernetes::{ApiServer, DEPLOYMENTS, NAMESPACES, NODES, PODS, SERVICES, SETS, SLICES, node, pod, service, simple, slice};
use k8s_state::Uid;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::crowd::host;

/// Pods of a node that stay.
const PODS_PER_NODE: u32 = 30;
/// Pods' addresses of the first node begin here.
const FIRST_RANGE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
/// Pods' addresses of each node, a /20.
const RANGE_ADDRESSES: u32 = 4096;
const RANGE_BITS: u32 = 20;

/// The API server and what it has.
pub(crate) struct Cluster {
    server: ApiServer,
    nodes: u32,
    _config: NamedTempFile,
}

/// A pod that comes and goes.
pub(crate) struct Pod {
    pub(crate) node: u32,
    name: String,
    pub(crate) address: Ipv4Addr,
    value: Value,
}

impl Pod {
    /// With the address of that place in its node's range.
    fn on(name: &str, node: u32, at: u32) -> Pod {
        let address = address(node, at);
        let mut value = pod(name, &address.to_string(), &host(node).to_string(), &format!("{:0>64}", name.replace('-', "0")));
        value["spec"]["nodeName"] = json!(node_name(node));
        Pod { node, name: name.to_owned(), address, value }
    }

    /// As `harness_kubernetes` makes them.
    pub(crate) fn uid(&self) -> Uid {
        Uid::new(format!("shop-{}", self.name))
    }
}

impl Cluster {
    /// Starts it, and the fleet's metadata service again so that it watches it.
    pub(crate) async fn start(fleet: &mut Fleet, nodes: u32) -> Result<Cluster> {
        let address = fleet.machine_address();
        let server = ApiServer::listen(format!("{address}:0").parse()?).await.with_context(|| format!("an API server at {address}"))?;
        let mut config = NamedTempFile::new()?;
        let cluster = json!({ "server": server.url });
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{ "name": "bench", "cluster": cluster }], "users": [{ "name": "bench", "user": {} }],
            "contexts": [{ "name": "bench", "context": { "cluster": "bench", "user": "bench" } }],
        });
        write!(config, "{text}")?;
        config.flush()?;
        fleet.watch_kubernetes(config.path())?;
        let cluster = Cluster { server, nodes, _config: config };
        cluster.fill();
        fleet.stop("metadata")?;
        fleet.start("metadata")?;
        Ok(cluster)
    }

    fn fill(&self) {
        self.server.put(NAMESPACES, simple("v1", "Namespace", "shop"));
        self.server.put(DEPLOYMENTS, simple("apps/v1", "Deployment", "carts"));
        self.server.put(SETS, simple("apps/v1", "ReplicaSet", "cart-1"));
        self.server.put(SERVICES, service("cart", "10.255.0.10"));
        for number in 0..self.nodes {
            let range = format!("{}/{RANGE_BITS}", address(number, 0));
            self.server.put(NODES, node(&node_name(number), &host(number).to_string(), &range));
            for at in 0..PODS_PER_NODE {
                let pod = Pod::on(&format!("stays-{number}-{at}"), number, at + 1);
                self.server.put(PODS, pod.value);
            }
        }
        self.server.put(SLICES, slice("cart", &["stays-0-0"]));
    }

    /// Pods that stay.
    pub(crate) fn pods(&self) -> u32 {
        self.nodes * PODS_PER_NODE
    }

    /// Whether the metadata service has listed its pods.
    pub(crate) fn is_watched(&self) -> bool {
        self.server.lists(PODS) > 0
    }

    /// The pod of that number, of those that come and go. Each node has them in turn.
    pub(crate) fn pod(&self, number: u32) -> Pod {
        let of_node = number / self.nodes % (RANGE_ADDRESSES - PODS_PER_NODE - 2);
        Pod::on(&format!("comes-{number}"), number % self.nodes, PODS_PER_NODE + 1 + of_node)
    }

    /// It is scheduled: it has a node, and no address yet.
    pub(crate) fn schedule(&self, pod: &Pod) {
        let mut value = pod.value.clone();
        let status = json!({ "phase": "Pending", "hostIP": value["status"]["hostIP"], "qosClass": "Burstable" });
        value["status"] = status;
        self.server.put(PODS, value);
    }

    /// It runs: it has an address and a container.
    pub(crate) fn run(&self, pod: &Pod) {
        self.server.put(PODS, pod.value.clone());
    }

    /// It is gone.
    pub(crate) fn end(&self, pod: &Pod) -> Result<()> {
        ensure!(self.server.delete(PODS, &pod.name), "the pod {} was not there", pod.name);
        Ok(())
    }
}

fn node_name(number: u32) -> String {
    format!("crowd-{number}")
}

fn address(node: u32, at: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST_RANGE.to_bits() + node * RANGE_ADDRESSES + at)
}
