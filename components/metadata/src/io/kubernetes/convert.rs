//! Objects of the API as they are kept. What an object does not say is left empty.

use std::net::IpAddr;

use ids::UnixNs;
use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_state::{
    Condition, Container, ContainerId, ContainerState, Deployment, Endpoint, EndpointSlice, Meta, Namespace, Node, Object, Owner, Phase,
    Pod, Qos, ReplicaCounts, ReplicaSet, ResourceVersion, Service, Text, Truth, Uid,
};

/// Whose slice it is.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Into one of the kinds that are kept.
pub(super) trait Convert {
    fn convert(self) -> Object;
}

fn text(text: Option<String>) -> Text {
    text.unwrap_or_default().into()
}

fn time(time: &Time) -> UnixNs {
    UnixNs(i64::try_from(time.0.as_nanosecond()).unwrap_or(i64::MAX))
}

fn addresses<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<IpAddr> {
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

fn meta(meta: ObjectMeta) -> Meta {
    let mut owners = meta.owner_references.unwrap_or_default();
    owners.sort_by_key(|owner| !owner.controller.unwrap_or(false));
    Meta {
        uid: Uid::new(meta.uid.unwrap_or_default()),
        namespace: text(meta.namespace),
        name: text(meta.name),
        version: ResourceVersion::parse(&meta.resource_version.unwrap_or_default()),
        created: meta.creation_timestamp.as_ref().map(time).unwrap_or_default(),
        labels: meta.labels.unwrap_or_default().into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        owners: owners
            .into_iter()
            .map(|owner| Owner { kind: owner.kind.into(), name: owner.name.into(), uid: Uid::new(owner.uid) })
            .collect(),
    }
}

fn condition(kind: String, status: &str) -> Condition {
    let status = match status {
        "True" => Truth::True,
        "False" => Truth::False,
        _ => Truth::Unknown,
    };
    Condition { kind: kind.into(), status }
}

impl Convert for core::Pod {
    fn convert(self) -> Object {
        let (spec, status) = (self.spec.unwrap_or_default(), self.status.unwrap_or_default());
        let leaving = self.metadata.deletion_timestamp.is_some();
        let listed = status.pod_ips.unwrap_or_default();
        let own: Vec<String> =
            if listed.is_empty() { status.pod_ip.into_iter().collect() } else { listed.into_iter().map(|ip| ip.ip).collect() };
        let all = [status.init_container_statuses, status.container_statuses, status.ephemeral_container_statuses];
        Object::Pod(Pod {
            meta: meta(self.metadata),
            node: text(spec.node_name),
            hostname: text(spec.hostname),
            addresses: addresses(own.iter().map(String::as_str)),
            host_address: status.host_ip.and_then(|address| address.parse().ok()),
            host_network: spec.host_network.unwrap_or(false),
            phase: match status.phase.as_deref() {
                Some("Pending") => Phase::Pending,
                Some("Running") => Phase::Running,
                Some("Succeeded") => Phase::Succeeded,
                Some("Failed") => Phase::Failed,
                Some(_) | None => Phase::Unknown,
            },
            qos: match status.qos_class.as_deref() {
                Some("Guaranteed") => Qos::Guaranteed,
                Some("Burstable") => Qos::Burstable,
                Some("BestEffort") => Qos::BestEffort,
                Some(_) | None => Qos::Unknown,
            },
            message: text(status.message),
            reason: text(status.reason),
            conditions: status.conditions.unwrap_or_default().into_iter().map(|c| condition(c.type_, &c.status)).collect(),
            leaving,
            containers: all.into_iter().flatten().flatten().filter_map(container).collect(),
        })
    }
}

/// `None` before it has been made.
fn container(status: core::ContainerStatus) -> Option<Container> {
    let (runtime, id) = ContainerId::parse(&status.container_id.unwrap_or_default())?;
    let state = status.state.unwrap_or_default();
    let (state, started, stopped, message, reason) = match (state.running, state.terminated, state.waiting) {
        (Some(running), _, _) => (ContainerState::Running, running.started_at, None, None, None),
        (None, Some(ended), _) => (ContainerState::Terminated, ended.started_at, ended.finished_at, ended.message, ended.reason),
        (None, None, Some(waiting)) => (ContainerState::Waiting, None, None, waiting.message, waiting.reason),
        (None, None, None) => (ContainerState::Unknown, None, None, None, None),
    };
    Some(Container {
        id,
        name: status.name.into(),
        runtime,
        state,
        started: started.as_ref().map(time),
        stopped: stopped.as_ref().map(time),
        message: text(message),
        reason: text(reason),
        restarts: u32::try_from(status.restart_count).unwrap_or(0),
    })
}

impl Convert for core::Service {
    fn convert(self) -> Object {
        let spec = self.spec.unwrap_or_default();
        let listed = spec.cluster_ips.unwrap_or_default();
        let own: Vec<String> = if listed.is_empty() { spec.cluster_ip.into_iter().collect() } else { listed };
        let balancer = self.status.and_then(|status| status.load_balancer).and_then(|balancer| balancer.ingress).unwrap_or_default();
        let external: Vec<String> =
            spec.external_ips.unwrap_or_default().into_iter().chain(balancer.into_iter().filter_map(|ingress| ingress.ip)).collect();
        Object::Service(Service {
            meta: meta(self.metadata),
            // `None` is the address of a headless service.
            cluster_addresses: addresses(own.iter().map(String::as_str)),
            external_addresses: addresses(external.iter().map(String::as_str)),
        })
    }
}

impl Convert for discovery::EndpointSlice {
    fn convert(self) -> Object {
        let meta = meta(self.metadata);
        let endpoint = |endpoint: discovery::Endpoint| Endpoint {
            addresses: addresses(endpoint.addresses.iter().map(String::as_str)),
            pod: endpoint.target_ref.filter(|target| target.kind.as_deref() == Some("Pod")).and_then(|target| target.uid).map(Uid::new),
        };
        let service = meta.labels.get(SERVICE_NAME).cloned().unwrap_or_default();
        Object::EndpointSlice(EndpointSlice { meta, service, endpoints: self.endpoints.into_iter().map(endpoint).collect() })
    }
}

impl Convert for core::Node {
    fn convert(self) -> Object {
        let (spec, status) = (self.spec.unwrap_or_default(), self.status.unwrap_or_default());
        let all = status.addresses.unwrap_or_default();
        let of = |kind: &str| all.iter().filter(|address| address.type_ == kind).map(|address| address.address.clone()).collect::<Vec<_>>();
        // The internal one is how its agent is known: it comes first.
        let own = [of("InternalIP"), of("ExternalIP")].concat();
        let ranges = spec.pod_cidrs.unwrap_or_default();
        let ranges = if ranges.is_empty() { spec.pod_cidr.into_iter().collect() } else { ranges };
        Object::Node(Node {
            meta: meta(self.metadata),
            addresses: addresses(own.iter().map(String::as_str)),
            hostname: text(of("Hostname").into_iter().next()),
            pod_ranges: ranges.into_iter().map(Text::from).collect(),
            conditions: status.conditions.unwrap_or_default().into_iter().map(|c| condition(c.type_, &c.status)).collect(),
        })
    }
}

impl Convert for core::Namespace {
    fn convert(self) -> Object {
        Object::Namespace(Namespace { meta: meta(self.metadata) })
    }
}

impl Convert for apps::ReplicaSet {
    fn convert(self) -> Object {
        let (spec, status) = (self.spec.unwrap_or_default(), self.status.unwrap_or_default());
        Object::ReplicaSet(ReplicaSet {
            meta: meta(self.metadata),
            replicas: ReplicaCounts {
                requested: spec.replicas.unwrap_or(0),
                present: status.replicas,
                ready: status.ready_replicas.unwrap_or(0),
                available: status.available_replicas.unwrap_or(0),
                fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
                observed_generation: status.observed_generation.unwrap_or(0),
                ..ReplicaCounts::default()
            },
            conditions: status.conditions.unwrap_or_default().into_iter().map(|c| condition(c.type_, &c.status)).collect(),
        })
    }
}

impl Convert for apps::Deployment {
    fn convert(self) -> Object {
        let (spec, status) = (self.spec.unwrap_or_default(), self.status.unwrap_or_default());
        Object::Deployment(Deployment {
            meta: meta(self.metadata),
            replicas: ReplicaCounts {
                requested: spec.replicas.unwrap_or(0),
                present: status.replicas.unwrap_or(0),
                ready: status.ready_replicas.unwrap_or(0),
                available: status.available_replicas.unwrap_or(0),
                updated: status.updated_replicas.unwrap_or(0),
                unavailable: status.unavailable_replicas.unwrap_or(0),
                observed_generation: status.observed_generation.unwrap_or(0),
                ..ReplicaCounts::default()
            },
            conditions: status.conditions.unwrap_or_default().into_iter().map(|c| condition(c.type_, &c.status)).collect(),
        })
    }
}
