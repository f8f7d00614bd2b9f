use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ids::UnixNs;

use crate::record::Held;
use crate::{ContainerId, ResourceVersion, Runtime, Text, Uid};

/// What every object has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Unique for ever.
    pub uid: Uid,
    /// Empty for nodes and namespaces.
    pub namespace: Text,
    /// Used again after the object is gone.
    pub name: Text,
    /// Which version of the object this is.
    pub version: ResourceVersion,
    /// When it was made; whole seconds, cut off.
    pub created: UnixNs,
    /// Its labels.
    pub labels: BTreeMap<Text, Text>,
    /// Whose it is; the controller first.
    pub owners: Vec<Owner>,
}

/// One of an object's owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// `ReplicaSet`, `StatefulSet`, `DaemonSet`, `Job`, …
    pub kind: Text,
    /// In the same namespace.
    pub name: Text,
    /// Its uid, whether it is known here or not.
    pub uid: Uid,
}

/// The kinds of objects that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A pod.
    Pod,
    /// A service.
    Service,
    /// A part of a service's endpoints.
    EndpointSlice,
    /// A node.
    Node,
    /// A namespace.
    Namespace,
    /// A replica set.
    ReplicaSet,
    /// A deployment.
    Deployment,
}

/// An object of one of these kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A pod.
    Pod(Pod),
    /// A service.
    Service(Service),
    /// A part of a service's endpoints.
    EndpointSlice(EndpointSlice),
    /// A node.
    Node(Node),
    /// A namespace.
    Namespace(Namespace),
    /// A replica set.
    ReplicaSet(ReplicaSet),
    /// A deployment.
    Deployment(Deployment),
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Name, uid, owners.
    pub meta: Meta,
    /// Where it runs; empty before it is scheduled.
    pub node: Text,
    /// `spec.hostname`.
    pub hostname: Text,
    /// `status.podIPs`.
    pub addresses: Vec<IpAddr>,
    /// `status.hostIP`.
    pub host_address: Option<IpAddr>,
    /// It lives in the node's network: its addresses are the node's and say nothing about the pod.
    pub host_network: bool,
    /// How far it is.
    pub phase: Phase,
    /// Its class of service.
    pub qos: Qos,
    /// Why it is as it is, for people.
    pub message: Text,
    /// The same as one word.
    pub reason: Text,
    /// `PodScheduled`, `Ready`, …
    pub conditions: Vec<Condition>,
    /// Its deletion was asked for (`metadata.deletionTimestamp`), and it may still answer.
    pub leaving: bool,
    /// Init and other containers that have been made.
    pub containers: Vec<Container>,
}

/// A pod's phase. Reference: `PodPhase` of `metadatapb/metadata.proto`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its node does not say.
    #[default]
    Unknown,
    /// Not all containers have been made.
    Pending,
    /// On its node.
    Running,
    /// Ended well; its addresses may belong to others.
    Succeeded,
    /// Ended badly; its addresses may belong to others.
    Failed,
}

impl Phase {
    /// Whether it will never run again. The object may stay for days, its addresses do not.
    pub fn has_ended(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed)
    }
}

/// A pod's class of service.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Not said.
    #[default]
    Unknown,
    /// Requests are limits.
    Guaranteed,
    /// Some requests or limits.
    Burstable,
    /// None.
    BestEffort,
}

/// One condition of an object's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `Ready`, …
    pub kind: Text,
    /// Whether it holds.
    pub status: Truth,
}

/// Kubernetes' three-valued truth.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// Nobody can say.
    #[default]
    Unknown,
    /// It holds.
    True,
    /// It does not.
    False,
}

/// A container that has been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The runtime's id.
    pub id: ContainerId,
    /// Its name in the pod; the same after a restart, with another id.
    pub name: Text,
    /// Who runs it.
    pub runtime: Runtime,
    /// How far it is.
    pub state: ContainerState,
    /// When it began.
    pub started: Option<UnixNs>,
    /// When it ended.
    pub stopped: Option<UnixNs>,
    /// Why it is as it is, for people.
    pub message: Text,
    /// The same as one word.
    pub reason: Text,
    /// How often it has been started again.
    pub restarts: u32,
}

/// How far a container is. Reference: `ContainerState` of `metadatapb/metadata.proto`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Not said.
    #[default]
    Unknown,
    /// Runs.
    Running,
    /// Has ended.
    Terminated,
    /// Waits for its image, its turn or its next try.
    Waiting,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Name and uid.
    pub meta: Meta,
    /// `spec.clusterIPs`, without `None`.
    pub cluster_addresses: Vec<IpAddr>,
    /// `spec.externalIPs` and those of its load balancer.
    pub external_addresses: Vec<IpAddr>,
}

/// A part of a service's endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Name and uid.
    pub meta: Meta,
    /// The service's name (label `kubernetes.io/service-name`), in the same namespace.
    pub service: Text,
    /// Who answers.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint, ready or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it answers.
    pub addresses: Vec<IpAddr>,
    /// The pod behind it, if it is one.
    pub pod: Option<Uid>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name and uid.
    pub meta: Meta,
    /// Internal and external addresses.
    pub addresses: Vec<IpAddr>,
    /// Its address of type `Hostname`.
    pub hostname: Text,
    /// `spec.podCIDRs`.
    pub pod_ranges: Vec<Text>,
    /// `Ready`, …
    pub conditions: Vec<Condition>,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Name and uid.
    pub meta: Meta,
}

/// How many pods a set or a deployment has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaCounts {
    /// `spec.replicas`.
    pub requested: i32,
    /// `status.replicas`.
    pub present: i32,
    /// `status.readyReplicas`.
    pub ready: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// `status.updatedReplicas`; deployments alone.
    pub updated: i32,
    /// `status.unavailableReplicas`; deployments alone.
    pub unavailable: i32,
    /// `status.fullyLabeledReplicas`; replica sets alone.
    pub fully_labeled: i32,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
}

/// A replica set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSet {
    /// Name, uid, its deployment.
    pub meta: Meta,
    /// Its pods.
    pub replicas: ReplicaCounts,
    /// Its status.
    pub conditions: Vec<Condition>,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Name and uid.
    pub meta: Meta,
    /// Its pods.
    pub replicas: ReplicaCounts,
    /// Its status.
    pub conditions: Vec<Condition>,
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Object::Pod(_) => Kind::Pod,
            Object::Service(_) => Kind::Service,
            Object::EndpointSlice(_) => Kind::EndpointSlice,
            Object::Node(_) => Kind::Node,
            Object::Namespace(_) => Kind::Namespace,
            Object::ReplicaSet(_) => Kind::ReplicaSet,
            Object::Deployment(_) => Kind::Deployment,
        }
    }

    /// What every object has.
    pub fn meta(&self) -> &Meta {
        match self {
            Object::Pod(pod) => &pod.meta,
            Object::Service(service) => &service.meta,
            Object::EndpointSlice(slice) => &slice.meta,
            Object::Node(node) => &node.meta,
            Object::Namespace(namespace) => &namespace.meta,
            Object::ReplicaSet(set) => &set.meta,
            Object::Deployment(deployment) => &deployment.meta,
        }
    }

    /// What it holds as long as it is like this.
    pub(crate) fn holds(&self) -> BTreeSet<Held> {
        let addresses = |list: &[IpAddr]| list.iter().copied().map(Held::Address).collect::<BTreeSet<_>>();
        match self {
            Object::Pod(pod) if pod.host_network || pod.phase.has_ended() => BTreeSet::new(),
            Object::Pod(pod) => addresses(&pod.addresses),
            Object::Service(service) => &addresses(&service.cluster_addresses) | &addresses(&service.external_addresses),
            Object::EndpointSlice(slice) => slice.endpoints.iter().flat_map(Endpoint::holds).collect(),
            Object::Node(node) => addresses(&node.addresses),
            Object::Namespace(_) | Object::ReplicaSet(_) | Object::Deployment(_) => BTreeSet::new(),
        }
    }

    /// Its containers as they are now.
    pub(crate) fn containers(&self) -> &[Container] {
        if let Object::Pod(pod) = self { &pod.containers } else { &[] }
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let meta = self.meta();
        let labels: usize = meta.labels.iter().map(|(key, value)| key.len() + value.len() + PER_TEXT * 2).sum();
        let own = match self {
            Object::Pod(pod) => {
                let containers: usize = pod.containers.iter().map(Container::bytes).sum();
                pod.message.len() + pod.reason.len() + pod.conditions.len() * PER_TEXT * 2 + pod.addresses.len() * PER_TEXT + containers
            }
            Object::Service(service) => (service.cluster_addresses.len() + service.external_addresses.len()) * PER_TEXT,
            Object::EndpointSlice(slice) => slice.endpoints.iter().map(|e| e.addresses.len() * PER_TEXT + PER_TEXT * 4).sum(),
            Object::Node(node) => (node.addresses.len() + node.pod_ranges.len() + node.conditions.len() * 2) * PER_TEXT,
            Object::Namespace(_) => 0,
            Object::ReplicaSet(set) => set.conditions.len() * PER_TEXT * 2,
            Object::Deployment(deployment) => deployment.conditions.len() * PER_TEXT * 2,
        };
        PER_OBJECT + meta.name.len() + labels + meta.owners.len() * PER_TEXT * 4 + own
    }
}

/// The fixed part of an object with its places in the indexes, in bytes: a record of some 400, its texts, three entries of persistent maps.
const PER_OBJECT: usize = 1024;
/// A short text or an address in a list, in bytes.
const PER_TEXT: usize = 32;

impl Container {
    pub(crate) fn bytes(&self) -> usize {
        // Its record, its id of 64 digits, its place in the index.
        400 + self.name.len() + self.message.len() + self.reason.len()
    }
}

impl Endpoint {
    /// The pod, or else the addresses: those of a pod are the pod's.
    fn holds(&self) -> Vec<Held> {
        match &self.pod {
            Some(pod) => vec![Held::Pod(pod.clone())],
            None => self.addresses.iter().copied().map(Held::Address).collect(),
        }
    }
}
