//! A small cluster.

use std::sync::Arc;

use funcs::{AddressNames, Environment, Kubernetes, ProcessNames};
use ids::{Asid, UnixNs, Upid};
use k8s_state::{
    Change, Condition, Container, ContainerId, ContainerState, Deployment, Endpoint, EndpointSlice, Limits, Meta, Namespace, Node, Object,
    Owner, Phase, Pod, Qos, ReplicaCounts, ReplicaSet, ResourceVersion, Runtime, Service, Snapshot, State, Truth, Uid,
};

/// A second.
const S: i64 = 1_000_000_000;

fn meta(uid: &str, namespace: &str, name: &str, created: i64, owners: &[(&str, &str, &str)]) -> Meta {
    let owner = |(kind, name, uid): &(&str, &str, &str)| Owner { kind: (*kind).into(), name: (*name).into(), uid: Uid::new(*uid) };
    Meta {
        uid: Uid::new(uid),
        namespace: namespace.into(),
        name: name.into(),
        version: ResourceVersion(1),
        created: UnixNs(created * S),
        labels: [("app".into(), name.split('-').next().unwrap_or_default().into())].into(),
        owners: owners.iter().map(owner).collect(),
    }
}

fn condition(kind: &str, status: Truth) -> Condition {
    Condition { kind: kind.into(), status }
}

fn pod(meta: Meta, address: &str, container: &str) -> Object {
    let container = Container {
        id: ContainerId::new(container),
        name: "main".into(),
        runtime: Runtime::Containerd,
        state: ContainerState::Running,
        started: Some(UnixNs(meta.created.0 + S)),
        stopped: None,
        message: "".into(),
        reason: "".into(),
        restarts: 0,
    };
    Object::Pod(Pod {
        meta,
        node: "node-1".into(),
        hostname: "".into(),
        addresses: vec![address.parse().unwrap()],
        host_address: None,
        host_network: false,
        phase: Phase::Running,
        qos: Qos::Burstable,
        message: "all is \"well\"".into(),
        reason: "".into(),
        conditions: vec![condition("Ready", Truth::True)],
        leaving: false,
        containers: vec![container],
    })
}

fn service(meta: Meta, address: &str, external: &[&str]) -> Object {
    let external_addresses = external.iter().map(|address| address.parse().unwrap()).collect();
    Object::Service(Service { meta, cluster_addresses: vec![address.parse().unwrap()], external_addresses })
}

fn slice(uid: &str, service: &str, pods: &[&str]) -> Object {
    let endpoint = |pod: &&str| Endpoint { addresses: vec![], pod: Some(Uid::new(*pod)) };
    let endpoints = pods.iter().map(endpoint).collect();
    Object::EndpointSlice(EndpointSlice { meta: meta(uid, "shop", uid, 2, &[]), service: service.into(), endpoints })
}

/// Deployment `web` with a set of two pods, of which the second is gone, its address with a pod that nobody owns; two services.
fn snapshot() -> Snapshot {
    let replicas = ReplicaCounts { requested: 2, present: 2, ready: 1, available: 1, updated: 2, unavailable: 1, ..Default::default() };
    let set_owner = [("Deployment", "web", "deploy-web")];
    let pod_owner = [("ReplicaSet", "web-5d", "set-web")];
    let objects = [
        Object::Namespace(Namespace { meta: meta("ns-shop", "", "shop", 1, &[]) }),
        Object::Node(Node {
            meta: meta("node-1", "", "node-1", 1, &[]),
            addresses: vec!["192.168.0.1".parse().unwrap()],
            hostname: "node-1".into(),
            pod_ranges: vec!["10.1.0.0/24".into()],
            conditions: vec![],
        }),
        Object::Deployment(Deployment {
            meta: meta("deploy-web", "shop", "web", 10, &[]),
            replicas,
            conditions: vec![condition("Available", Truth::True), condition("Progressing", Truth::Unknown)],
        }),
        Object::ReplicaSet(ReplicaSet { meta: meta("set-web", "shop", "web-5d", 11, &set_owner), replicas, conditions: vec![] }),
        service(meta("svc-web", "shop", "web", 5, &[]), "10.96.0.7", &["203.0.113.9"]),
        service(meta("svc-all", "shop", "all", 5, &[]), "10.96.0.8", &[]),
        slice("slice-web", "web", &["pod-1", "pod-2"]),
        slice("slice-all", "all", &["pod-1"]),
        pod(meta("pod-1", "shop", "web-1", 20, &pod_owner), "10.1.0.1", "c-1"),
        pod(meta("pod-2", "shop", "web-2", 20, &pod_owner), "10.1.0.2", "c-2"),
    ];
    let mut state = State::new(Limits::default());
    for object in objects {
        state.apply(&Change::put(object, UnixNs(30 * S)));
    }
    state.apply(&Change::gone(Uid::new("pod-2"), ResourceVersion(2), UnixNs(100 * S)));
    state.apply(&Change::put(pod(meta("pod-3", "shop", "job-3", 110, &[]), "10.1.0.2", "c-3"), UnixNs(110 * S)));
    state.snapshot()
}

/// The process that runs in the container of `pod-<n>`.
pub(crate) fn upid(n: u32) -> Upid {
    Upid::new(Asid(1), n, 7)
}

#[derive(Debug)]
struct Small(Snapshot);

impl Kubernetes for Small {
    fn snapshot(&self) -> Snapshot {
        self.0.clone()
    }

    fn container(&self, process: Upid) -> Option<ContainerId> {
        (1..=4).find(|n| upid(*n) == process).map(|n| ContainerId::new(format!("c-{n}")))
    }

    fn service_ranges(&self) -> Vec<String> {
        vec!["10.96.0.0/12".to_owned()]
    }

    fn pod_ranges(&self) -> Vec<String> {
        vec!["10.1.0.0/24".to_owned(), "fd00::/64".to_owned()]
    }
}

#[derive(Debug)]
struct Dns;

impl AddressNames for Dns {
    fn name_of(&self, address: std::net::IpAddr) -> Option<String> {
        (address.to_string() == "198.51.100.1").then(|| "example.com".to_owned())
    }
}

#[derive(Debug)]
struct Processes;

impl ProcessNames for Processes {
    fn cmdline(&self, process: Upid) -> Option<String> {
        (process == upid(1)).then(|| "nginx -g".to_owned())
    }

    fn shared_libraries(&self, process: Upid) -> Option<Vec<String>> {
        (process == upid(1)).then(|| vec!["/lib/libc.so.6".to_owned(), "/lib/libssl.so".to_owned()])
    }
}

/// An agent in that cluster.
pub(crate) fn environment() -> Environment {
    Environment {
        asid: Asid(1),
        hostname: "node-1".to_owned(),
        processes: Arc::new(Processes),
        kubernetes: Arc::new(Small(snapshot())),
        addresses: Arc::new(Dns),
        ..Environment::default()
    }
}
