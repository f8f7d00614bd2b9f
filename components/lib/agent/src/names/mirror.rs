//! Messages about Kubernetes as changes of a state.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::shared::k8s::metadatapb as wire;
use api::shared::k8s::metadatapb::resource_update::Update;
use ids::UnixNs;
use k8s_state::{
    Change, Condition, Container, ContainerId, ContainerState, Deployment, Endpoint, EndpointSlice, Limits, Meta, Namespace, Node, Object,
    Outcome, Owner, Phase, Pod, Qos, ReplicaCounts, ReplicaSet, ResourceVersion, Runtime, Service, Snapshot, State, Text, Truth, Uid,
};

use super::feed::Sequenced;

/// Pods whose containers came and that did not come themselves: the metadata service sends containers first.
const PODS_AWAITED_MAX: usize = 4_096;
/// What tells an endpoint slice that was made of a service's update from the service.
const SLICE_SUFFIX: &str = "/endpoints";

/// What became of updates. Each only grows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MirrorCounts {
    /// Updates that said nothing, or nothing that is known here.
    pub malformed: u64,
    /// Changes that found no room, or contradict what is known.
    pub refused: u64,
    /// Containers whose pod never came.
    pub containers_dropped: u64,
    /// Objects, replaced containers and former addresses that were forgotten before the retention, for want of room.
    pub evicted: u64,
}

/// The cluster as the metadata service tells it. An update's version is the version of what it is about.
#[derive(Debug)]
pub struct Mirror {
    state: State,
    limits: Limits,
    awaited: BTreeMap<Uid, Vec<Container>>,
    counts: MirrorCounts,
}

impl Mirror {
    /// Knows nothing.
    pub fn new(limits: Limits) -> Mirror {
        Mirror { state: State::new(limits), limits, awaited: BTreeMap::new(), counts: MirrorCounts::default() }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Mirror { counts: self.counts(), ..Mirror::new(self.limits) };
    }

    /// What is known.
    pub fn snapshot(&self) -> Snapshot {
        self.state.snapshot()
    }

    /// What became of updates.
    pub fn counts(&self) -> MirrorCounts {
        let of_state = self.state.metrics();
        let evicted = of_state.evicted + of_state.containers_evicted + of_state.tenures_evicted;
        MirrorCounts { evicted: self.counts.evicted + evicted, ..self.counts }
    }

    /// Forgets what is gone for long.
    pub fn expire(&mut self, now: UnixNs) {
        self.state.expire(now);
    }

    /// Takes the next update. `now` is when it came: what says no time happened then.
    pub fn apply(&mut self, update: Sequenced<wire::ResourceUpdate>, now: UnixNs) {
        let version = ResourceVersion(update.version.unsigned_abs());
        let at = Place { version, now };
        match update.update.update {
            Some(Update::PodUpdate(update)) => self.pod(&update, at),
            Some(Update::ContainerUpdate(update)) => self.container(&update, at),
            Some(Update::ServiceUpdate(update)) => self.service(&update, at),
            Some(Update::NamespaceUpdate(update)) => {
                let meta = at.meta(&update.uid, "", &update.name, update.start_timestamp_ns);
                self.object(Object::Namespace(Namespace { meta }), update.stop_timestamp_ns, at);
            }
            Some(Update::NodeUpdate(update)) => self.object(Object::Node(node(&update, at)), update.stop_timestamp_ns, at),
            Some(Update::ReplicaSetUpdate(update)) => {
                self.object(Object::ReplicaSet(replica_set(&update, at)), update.stop_timestamp_ns, at);
            }
            Some(Update::DeploymentUpdate(update)) => {
                self.object(Object::Deployment(deployment(&update, at)), update.stop_timestamp_ns, at);
            }
            None => self.counts.malformed += 1,
        }
    }

    fn object(&mut self, object: Object, stopped_ns: i64, at: Place) {
        if object.meta().uid.as_str().is_empty() {
            self.counts.malformed += 1;
            return;
        }
        let uid = object.meta().uid.clone();
        self.change(&Change::put(object, at.now));
        if stopped_ns != 0 {
            self.change(&Change::gone(uid, at.version, UnixNs(stopped_ns)));
        }
    }

    fn change(&mut self, change: &Change) {
        match self.state.apply(change) {
            Outcome::Refused | Outcome::Contradiction => self.counts.refused += 1,
            Outcome::Applied | Outcome::Old | Outcome::Unknown => {}
        }
    }

    fn pod(&mut self, update: &wire::PodUpdate, at: Place) {
        let uid = Uid::new(update.uid.as_str());
        let mut containers = self.state.view().pod(&uid).map(|pod| pod.containers.clone()).unwrap_or_default();
        for container in self.awaited.remove(&uid).unwrap_or_default() {
            put_container(&mut containers, container);
        }
        // Those that it has no more are remembered by the state.
        if !update.container_ids.is_empty() {
            containers.retain(|container| update.container_ids.iter().any(|id| plain_id(id).as_str() == container.id.as_str()));
        }
        let stopped_ns = update.stop_timestamp_ns;
        self.object(Object::Pod(pod(update, containers, at)), stopped_ns, at);
    }

    fn container(&mut self, update: &wire::ContainerUpdate, at: Place) {
        let uid = Uid::new(update.pod_id.as_str());
        let container = container(update);
        if uid.as_str().is_empty() || container.id.as_str().is_empty() {
            self.counts.malformed += 1;
            return;
        }
        let known = self.state.view().pod(&uid).map(|pod| (pod.object.clone(), pod.record.gone.is_none()));
        if let Some((mut pod, true)) = known {
            put_container(&mut pod.containers, container);
            pod.meta.version = at.version;
            self.change(&Change::put(Object::Pod(pod), at.now));
            return;
        }
        put_container(self.awaited.entry(uid).or_default(), container);
        if self.awaited.len() > PODS_AWAITED_MAX
            && let Some((_, containers)) = self.awaited.pop_first()
        {
            self.counts.containers_dropped += containers.len() as u64;
        }
    }

    /// One message tells of a service's addresses, another one of its pods: what a message does not say is as before.
    fn service(&mut self, update: &wire::ServiceUpdate, at: Place) {
        let meta = at.meta(&update.uid, &update.namespace, &update.name, update.start_timestamp_ns);
        let known = self.state.view().service(&meta.uid).map(|service| service.object.clone());
        let (mut cluster, mut external) = known.map_or_else(Default::default, |known| (known.cluster_addresses, known.external_addresses));
        if let Ok(address) = update.cluster_ip.parse() {
            cluster = vec![address];
        }
        if !update.external_ips.is_empty() {
            external = update.external_ips.iter().filter_map(|text| text.parse().ok()).collect();
        }
        let slice_uid = Uid::new(format!("{}{SLICE_SUFFIX}", update.uid));
        let says_addresses = !update.cluster_ip.is_empty() || !update.external_ips.is_empty();
        let says_pods = !update.pod_ids.is_empty() || !says_addresses;
        let service = Service { meta: meta.clone(), cluster_addresses: cluster, external_addresses: external };
        self.object(Object::Service(service), update.stop_timestamp_ns, at);
        if says_pods && !meta.uid.as_str().is_empty() {
            let pod = |uid: &String| Endpoint { addresses: vec![], pod: Some(Uid::new(uid.as_str())) };
            let endpoints = update.pod_ids.iter().map(pod).collect();
            let service = meta.name.clone();
            let slice = EndpointSlice { meta: Meta { uid: slice_uid, ..meta }, service, endpoints };
            self.object(Object::EndpointSlice(slice), update.stop_timestamp_ns, at);
        } else if update.stop_timestamp_ns != 0 {
            self.change(&Change::gone(slice_uid, at.version, UnixNs(update.stop_timestamp_ns)));
        }
    }
}

/// Where an update stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    version: ResourceVersion,
    now: UnixNs,
}

impl Place {
    fn meta(self, uid: &str, namespace: &str, name: &str, started_ns: i64) -> Meta {
        let created = if started_ns == 0 { self.now } else { UnixNs(started_ns) };
        Meta {
            uid: Uid::new(uid),
            namespace: namespace.into(),
            name: name.into(),
            version: self.version,
            created,
            labels: BTreeMap::new(),
            owners: vec![],
        }
    }
}

fn put_container(containers: &mut Vec<Container>, container: Container) {
    match containers.iter_mut().find(|known| known.id == container.id) {
        Some(known) => *known = container,
        None => containers.push(container),
    }
}

/// Without the runtime's prefix.
fn plain_id(text: &str) -> ContainerId {
    ContainerId::parse(text).map_or_else(|| ContainerId::new(""), |(_, id)| id)
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn owners(owners: &[wire::OwnerReference]) -> Vec<Owner> {
    let owner = |owner: &wire::OwnerReference| Owner {
        kind: owner.kind.as_str().into(),
        name: owner.name.as_str().into(),
        uid: Uid::new(owner.uid.as_str()),
    };
    owners.iter().map(owner).collect()
}

fn labels(json: &str) -> BTreeMap<Text, Text> {
    let labels: BTreeMap<String, String> = serde_json::from_str(json).unwrap_or_default();
    labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn truth(status: wire::ConditionStatus) -> Truth {
    match status {
        wire::ConditionStatus::Unknown => Truth::Unknown,
        wire::ConditionStatus::True => Truth::True,
        wire::ConditionStatus::False => Truth::False,
    }
}

fn pod(update: &wire::PodUpdate, containers: Vec<Container>, at: Place) -> Pod {
    let meta = at.meta(&update.uid, &update.namespace, &update.name, update.start_timestamp_ns);
    let condition = |condition: &wire::PodCondition| {
        let kind = match condition.r#type() {
            wire::PodConditionType::TypeUnknown => return None,
            wire::PodConditionType::PodScheduled => "PodScheduled",
            wire::PodConditionType::Ready => "Ready",
            wire::PodConditionType::Initialized => "Initialized",
            wire::PodConditionType::Unschedulable => "Unschedulable",
            wire::PodConditionType::ContainersReady => "ContainersReady",
        };
        Some(Condition { kind: kind.into(), status: truth(condition.status()) })
    };
    Pod {
        meta: Meta { labels: labels(&update.labels), owners: owners(&update.owner_references), ..meta },
        node: update.node_name.as_str().into(),
        hostname: update.hostname.as_str().into(),
        addresses: addresses(&[&update.pod_ip]),
        host_address: update.host_ip.parse().ok(),
        // Its addresses are the node's then.
        host_network: !update.pod_ip.is_empty() && update.pod_ip == update.host_ip,
        phase: match update.phase() {
            wire::PodPhase::PhaseUnknown => Phase::Unknown,
            wire::PodPhase::Pending => Phase::Pending,
            wire::PodPhase::Running => Phase::Running,
            wire::PodPhase::Succeeded | wire::PodPhase::Terminated => Phase::Succeeded,
            wire::PodPhase::Failed => Phase::Failed,
        },
        qos: match update.qos_class() {
            wire::PodQosClass::QosClassUnknown => Qos::Unknown,
            wire::PodQosClass::QosClassGuaranteed => Qos::Guaranteed,
            wire::PodQosClass::QosClassBurstable => Qos::Burstable,
            wire::PodQosClass::QosClassBestEffort => Qos::BestEffort,
        },
        message: update.message.as_str().into(),
        reason: update.reason.as_str().into(),
        conditions: update.conditions.iter().filter_map(condition).collect(),
        leaving: false,
        containers,
    }
}

fn container(update: &wire::ContainerUpdate) -> Container {
    let some = |ns: i64| (ns != 0).then_some(UnixNs(ns));
    Container {
        id: plain_id(&update.cid),
        name: update.name.as_str().into(),
        runtime: match update.container_type() {
            wire::ContainerType::Unknown => Runtime::Unknown,
            wire::ContainerType::Docker => Runtime::Docker,
            wire::ContainerType::Crio => Runtime::CriO,
            wire::ContainerType::Containerd => Runtime::Containerd,
        },
        state: match update.container_state() {
            wire::ContainerState::Unknown => ContainerState::Unknown,
            wire::ContainerState::Running => ContainerState::Running,
            wire::ContainerState::Terminated => ContainerState::Terminated,
            wire::ContainerState::Waiting => ContainerState::Waiting,
        },
        started: some(update.start_timestamp_ns),
        stopped: some(update.stop_timestamp_ns),
        message: update.message.as_str().into(),
        reason: update.reason.as_str().into(),
        restarts: 0,
    }
}

fn node(update: &wire::NodeUpdate, at: Place) -> Node {
    let condition = |condition: &wire::NodeCondition| {
        let kind = match condition.r#type() {
            wire::NodeConditionType::NodeConditionUnknown => return None,
            wire::NodeConditionType::NodeConditionReady => "Ready",
            wire::NodeConditionType::NodeConditionMemoryPressure => "MemoryPressure",
            wire::NodeConditionType::NodeConditionDiskPressure => "DiskPressure",
            wire::NodeConditionType::NodeConditionPidPressure => "PIDPressure",
            wire::NodeConditionType::NodeConditionNetworkUnavailable => "NetworkUnavailable",
        };
        Some(Condition { kind: kind.into(), status: truth(condition.status()) })
    };
    let mut pod_ranges: Vec<Text> = update.pod_cidrs.iter().map(|range| range.as_str().into()).collect();
    if pod_ranges.is_empty() && !update.pod_cidr.is_empty() {
        pod_ranges.push(update.pod_cidr.as_str().into());
    }
    Node {
        meta: at.meta(&update.uid, "", &update.name, update.start_timestamp_ns),
        addresses: vec![],
        hostname: update.name.as_str().into(),
        pod_ranges,
        conditions: update.conditions.iter().filter_map(condition).collect(),
    }
}

fn replica_set(update: &wire::ReplicaSetUpdate, at: Place) -> ReplicaSet {
    let meta = at.meta(&update.uid, &update.namespace, &update.name, update.start_timestamp_ns);
    let condition =
        |condition: &wire::ReplicaSetCondition| Condition { kind: condition.r#type.as_str().into(), status: truth(condition.status()) };
    ReplicaSet {
        meta: Meta { owners: owners(&update.owner_references), ..meta },
        replicas: ReplicaCounts {
            requested: update.requested_replicas,
            present: update.replicas,
            ready: update.ready_replicas,
            available: update.available_replicas,
            fully_labeled: update.fully_labeled_replicas,
            observed_generation: update.observed_generation.into(),
            ..ReplicaCounts::default()
        },
        conditions: update.conditions.iter().map(condition).collect(),
    }
}

fn deployment(update: &wire::DeploymentUpdate, at: Place) -> Deployment {
    let condition = |condition: &wire::DeploymentCondition| {
        let kind = match condition.r#type() {
            wire::DeploymentConditionType::Unknown => return None,
            wire::DeploymentConditionType::DeploymentConditionAvailable => "Available",
            wire::DeploymentConditionType::DeploymentConditionProgressing => "Progressing",
            wire::DeploymentConditionType::DeploymentConditionReplicaFailure => "ReplicaFailure",
        };
        Some(Condition { kind: kind.into(), status: truth(condition.status()) })
    };
    Deployment {
        meta: at.meta(&update.uid, &update.namespace, &update.name, update.start_timestamp_ns),
        replicas: ReplicaCounts {
            requested: update.requested_replicas,
            present: update.replicas,
            ready: update.ready_replicas,
            available: update.available_replicas,
            updated: update.updated_replicas,
            unavailable: update.unavailable_replicas,
            observed_generation: update.observed_generation.into(),
            ..ReplicaCounts::default()
        },
        conditions: update.conditions.iter().filter_map(condition).collect(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_state::Moment;

    use super::*;

    fn apply(mirror: &mut Mirror, version: i64, update: Update) {
        let message = wire::ResourceUpdate { update: Some(update), update_version: version, prev_update_version: version - 1 };
        mirror.apply(Sequenced { version, previous: version - 1, update: message }, UnixNs(version * 1_000));
    }

    fn pod_update(stopped_ns: i64) -> Update {
        Update::PodUpdate(wire::PodUpdate {
            uid: "p".to_owned(),
            name: "web-0".to_owned(),
            namespace: "shop".to_owned(),
            start_timestamp_ns: 500,
            stop_timestamp_ns: stopped_ns,
            container_ids: vec!["c1".to_owned()],
            phase: wire::PodPhase::Running.into(),
            pod_ip: "10.1.0.5".to_owned(),
            host_ip: "10.0.0.1".to_owned(),
            labels: r#"{"app":"web"}"#.to_owned(),
            ..Default::default()
        })
    }

    #[test]
    fn a_pod_with_its_container_and_services_is_found_by_each_of_its_names() {
        let mut mirror = Mirror::new(Limits::default());
        let container =
            wire::ContainerUpdate { cid: "c1".to_owned(), name: "web".to_owned(), pod_id: "p".to_owned(), ..Default::default() };
        apply(&mut mirror, 1, Update::ContainerUpdate(container));
        apply(&mut mirror, 2, pod_update(0));
        let service =
            wire::ServiceUpdate { uid: "s".to_owned(), name: "web".to_owned(), namespace: "shop".to_owned(), ..Default::default() };
        let addresses = wire::ServiceUpdate { cluster_ip: "10.96.0.9".to_owned(), ..service.clone() };
        apply(&mut mirror, 3, Update::ServiceUpdate(addresses));
        apply(&mut mirror, 4, Update::ServiceUpdate(wire::ServiceUpdate { pod_ids: vec!["p".to_owned()], ..service }));

        let snapshot = mirror.snapshot();
        let (container, pod) = snapshot.container(&ContainerId::new("c1")).unwrap();
        assert_eq!((&*container.name, &*pod.meta.name, pod.meta.labels.len()), ("web", "web-0", 1));
        assert!(snapshot.pod_of_address("10.1.0.5".parse().unwrap(), Moment::Latest).is_some());
        let services = snapshot.services_of_pod(&Uid::new("p"), Moment::Latest);
        assert_eq!(services.len(), 1);
        assert_eq!(services[0].cluster_addresses, ["10.96.0.9".parse::<IpAddr>().unwrap()], "what the second message does not say stays");
    }

    #[test]
    fn what_has_stopped_is_gone_and_remembered() {
        let mut mirror = Mirror::new(Limits::default());
        apply(&mut mirror, 1, pod_update(0));
        apply(&mut mirror, 2, pod_update(9_000));
        let snapshot = mirror.snapshot();
        assert_eq!(snapshot.pod(&Uid::new("p")).unwrap().record.gone, Some(UnixNs(9_000)));
        assert!(snapshot.pod_named("shop", "web-0", Moment::At(UnixNs(8_000))).is_some());
        mirror.reset();
        assert!(mirror.snapshot().pod(&Uid::new("p")).is_none());
    }

    #[test]
    fn what_says_nothing_is_counted() {
        let mut mirror = Mirror::new(Limits::default());
        apply(&mut mirror, 1, Update::PodUpdate(wire::PodUpdate::default()));
        apply(&mut mirror, 2, Update::ContainerUpdate(wire::ContainerUpdate::default()));
        mirror.apply(Sequenced { version: 3, previous: 2, update: wire::ResourceUpdate::default() }, UnixNs(0));
        assert_eq!(mirror.counts().malformed, 3);
    }
}
