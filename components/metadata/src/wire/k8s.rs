use std::collections::BTreeMap;
use std::net::IpAddr;

use api::shared::k8s::metadatapb as wire;
use api::shared::k8s::metadatapb::resource_update::Update;
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{K8sMetadataMessage, k8s_metadata_message};
use ids::UnixNs;
use k8s_state::{
    Condition, Container, ContainerState, Deployment, Meta, Namespace, Node, Phase, Pod, Qos, ReplicaSet, Runtime, Service, Truth,
};
use prost::Message as _;

use super::Malformed;
use crate::k8s::{Entry, Topic};

/// What an agent lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) topic: Topic,
    /// Inclusive.
    pub(crate) from: u64,
    /// Exclusive; 0: to the newest.
    pub(crate) to: u64,
}

pub(crate) fn decode_missing(msg: Option<Msg>) -> Result<Missing, Malformed> {
    let Some(Msg::K8sMetadataMessage(K8sMetadataMessage { msg })) = msg else { return Err(Malformed::Misdirected) };
    let Some(k8s_metadata_message::Msg::MissingK8sMetadataRequest(request)) = msg else { return Err(Malformed::Misdirected) };
    let topic = request.selector.parse().map_err(|_| Malformed::Field("its selector is neither `all` nor an address"))?;
    let place = |place: i64| u64::try_from(place).map_err(|_| Malformed::Field("it asks for a negative version"));
    Ok(Missing { topic, from: place(request.from_update_version)?, to: place(request.to_update_version)? })
}

fn message(msg: k8s_metadata_message::Msg) -> Msg {
    Msg::K8sMetadataMessage(K8sMetadataMessage { msg: Some(msg) })
}

/// An update on one topic.
pub(crate) fn encode_update(entry: &Entry, previous: u64) -> Msg {
    message(k8s_metadata_message::Msg::K8sMetadataUpdate(numbered(entry, previous)))
}

pub(crate) fn encode_missing(updates: &[(u64, &Entry)], (first, last): (u64, u64)) -> Msg {
    message(k8s_metadata_message::Msg::MissingK8sMetadataResponse(wire::MissingK8sMetadataResponse {
        updates: updates.iter().map(|(previous, entry)| numbered(entry, *previous)).collect(),
        first_update_available: number(first),
        last_update_available: number(last),
    }))
}

/// A body was encoded here.
fn numbered(entry: &Entry, previous: u64) -> wire::ResourceUpdate {
    let update = wire::ResourceUpdate::decode(&*entry.body).unwrap_or_default();
    wire::ResourceUpdate { update_version: number(entry.version), prev_update_version: number(previous), ..update }
}

fn number(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// The body of an update that says that its subject is gone.
pub(crate) fn stopped(body: &[u8], at: UnixNs) -> Vec<u8> {
    let mut update = wire::ResourceUpdate::decode(body).unwrap_or_default();
    let stop = match &mut update.update {
        Some(Update::PodUpdate(update)) => &mut update.stop_timestamp_ns,
        Some(Update::ContainerUpdate(update)) => &mut update.stop_timestamp_ns,
        Some(Update::ServiceUpdate(update)) => &mut update.stop_timestamp_ns,
        Some(Update::NamespaceUpdate(update)) => &mut update.stop_timestamp_ns,
        Some(Update::NodeUpdate(update)) => &mut update.stop_timestamp_ns,
        Some(Update::ReplicaSetUpdate(update)) => &mut update.stop_timestamp_ns,
        Some(Update::DeploymentUpdate(update)) => &mut update.stop_timestamp_ns,
        None => return Vec::new(),
    };
    if *stop == 0 {
        *stop = at.0;
    }
    update.encode_to_vec()
}

/// The namespace of what an update is about.
pub(crate) fn namespace_of(body: &[u8]) -> Option<String> {
    match wire::ResourceUpdate::decode(body).ok()?.update? {
        Update::PodUpdate(update) => Some(update.namespace),
        Update::ContainerUpdate(update) => Some(update.namespace),
        Update::ServiceUpdate(update) => Some(update.namespace),
        Update::ReplicaSetUpdate(update) => Some(update.namespace),
        Update::DeploymentUpdate(update) => Some(update.namespace),
        Update::NamespaceUpdate(_) | Update::NodeUpdate(_) => None,
    }
}

fn body(update: Update) -> Vec<u8> {
    wire::ResourceUpdate { update: Some(update), update_version: 0, prev_update_version: 0 }.encode_to_vec()
}

fn stop(gone: Option<UnixNs>) -> i64 {
    gone.map_or(0, |gone| gone.0)
}

fn full_name(meta: &Meta) -> (String, String, String, i64) {
    (meta.uid.to_string(), meta.name.to_string(), meta.namespace.to_string(), meta.created.0)
}

pub(crate) fn encode_pod(pod: &Pod, gone: Option<UnixNs>) -> Vec<u8> {
    let (uid, name, namespace, start_timestamp_ns) = full_name(&pod.meta);
    let labels: BTreeMap<&str, &str> = pod.meta.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
    let containers = &pod.containers;
    body(Update::PodUpdate(wire::PodUpdate {
        uid,
        name,
        namespace,
        start_timestamp_ns,
        stop_timestamp_ns: stop(gone),
        container_ids: containers.iter().map(|container| container.id.to_string()).collect(),
        container_names: containers.iter().map(|container| container.name.to_string()).collect(),
        qos_class: match pod.qos {
            Qos::Unknown => wire::PodQosClass::QosClassUnknown,
            Qos::Guaranteed => wire::PodQosClass::QosClassGuaranteed,
            Qos::Burstable => wire::PodQosClass::QosClassBurstable,
            Qos::BestEffort => wire::PodQosClass::QosClassBestEffort,
        }
        .into(),
        phase: match pod.phase {
            Phase::Unknown => wire::PodPhase::PhaseUnknown,
            Phase::Pending => wire::PodPhase::Pending,
            Phase::Running => wire::PodPhase::Running,
            Phase::Succeeded => wire::PodPhase::Succeeded,
            Phase::Failed => wire::PodPhase::Failed,
        }
        .into(),
        conditions: pod.conditions.iter().filter_map(pod_condition).collect(),
        node_name: pod.node.to_string(),
        hostname: pod.hostname.to_string(),
        pod_ip: first(&pod.addresses),
        host_ip: pod.host_address.map(|address| address.to_string()).unwrap_or_default(),
        message: pod.message.to_string(),
        reason: pod.reason.to_string(),
        // Texts alone: JSON can say them.
        labels: serde_json::to_string(&labels).unwrap_or_default(),
        owner_references: owners(&pod.meta),
    }))
}

fn first(addresses: &[IpAddr]) -> String {
    addresses.first().map(IpAddr::to_string).unwrap_or_default()
}

fn owners(meta: &Meta) -> Vec<wire::OwnerReference> {
    let owner = |owner: &k8s_state::Owner| wire::OwnerReference {
        kind: owner.kind.to_string(),
        name: owner.name.to_string(),
        uid: owner.uid.to_string(),
    };
    meta.owners.iter().map(owner).collect()
}

fn truth(status: Truth) -> i32 {
    match status {
        Truth::Unknown => wire::ConditionStatus::Unknown,
        Truth::True => wire::ConditionStatus::True,
        Truth::False => wire::ConditionStatus::False,
    }
    .into()
}

fn pod_condition(condition: &Condition) -> Option<wire::PodCondition> {
    let kind = match &*condition.kind {
        "PodScheduled" => wire::PodConditionType::PodScheduled,
        "Ready" => wire::PodConditionType::Ready,
        "Initialized" => wire::PodConditionType::Initialized,
        "Unschedulable" => wire::PodConditionType::Unschedulable,
        "ContainersReady" => wire::PodConditionType::ContainersReady,
        _ => return None,
    };
    Some(wire::PodCondition { r#type: kind.into(), status: truth(condition.status) })
}

/// `pod_gone`: when its pod went, which ends it too.
pub(crate) fn encode_container(pod: &Pod, container: &Container, pod_gone: Option<UnixNs>) -> Vec<u8> {
    body(Update::ContainerUpdate(wire::ContainerUpdate {
        cid: container.id.to_string(),
        name: container.name.to_string(),
        start_timestamp_ns: container.started.map_or(0, |started| started.0),
        stop_timestamp_ns: stop(container.stopped.or(pod_gone)),
        namespace: pod.meta.namespace.to_string(),
        pod_id: pod.meta.uid.to_string(),
        pod_name: pod.meta.name.to_string(),
        container_state: match container.state {
            ContainerState::Unknown => wire::ContainerState::Unknown,
            ContainerState::Running => wire::ContainerState::Running,
            ContainerState::Terminated => wire::ContainerState::Terminated,
            ContainerState::Waiting => wire::ContainerState::Waiting,
        }
        .into(),
        message: container.message.to_string(),
        reason: container.reason.to_string(),
        container_type: match container.runtime {
            Runtime::Unknown => wire::ContainerType::Unknown,
            Runtime::Docker => wire::ContainerType::Docker,
            Runtime::CriO => wire::ContainerType::Crio,
            Runtime::Containerd => wire::ContainerType::Containerd,
        }
        .into(),
    }))
}

/// The addresses of a service.
pub(crate) fn encode_service(service: &Service, gone: Option<UnixNs>) -> Vec<u8> {
    let (uid, name, namespace, start_timestamp_ns) = full_name(&service.meta);
    body(Update::ServiceUpdate(wire::ServiceUpdate {
        uid,
        name,
        namespace,
        start_timestamp_ns,
        stop_timestamp_ns: stop(gone),
        pod_ids: vec![],
        pod_names: vec![],
        external_ips: service.external_addresses.iter().map(IpAddr::to_string).collect(),
        cluster_ip: first(&service.cluster_addresses),
    }))
}

/// The pods of a service.
pub(crate) fn encode_endpoints(service: &Service, pods: &[&Pod], gone: Option<UnixNs>) -> Vec<u8> {
    let (uid, name, namespace, start_timestamp_ns) = full_name(&service.meta);
    body(Update::ServiceUpdate(wire::ServiceUpdate {
        uid,
        name,
        namespace,
        start_timestamp_ns,
        stop_timestamp_ns: stop(gone),
        pod_ids: pods.iter().map(|pod| pod.meta.uid.to_string()).collect(),
        pod_names: pods.iter().map(|pod| pod.meta.name.to_string()).collect(),
        external_ips: vec![],
        cluster_ip: String::new(),
    }))
}

pub(crate) fn encode_namespace(namespace: &Namespace, gone: Option<UnixNs>) -> Vec<u8> {
    let (uid, name, _, start_timestamp_ns) = full_name(&namespace.meta);
    body(Update::NamespaceUpdate(wire::NamespaceUpdate { uid, name, start_timestamp_ns, stop_timestamp_ns: stop(gone) }))
}

pub(crate) fn encode_node(node: &Node, gone: Option<UnixNs>) -> Vec<u8> {
    let (uid, name, _, start_timestamp_ns) = full_name(&node.meta);
    let condition = |condition: &Condition| {
        let kind = match &*condition.kind {
            "Ready" => wire::NodeConditionType::NodeConditionReady,
            "MemoryPressure" => wire::NodeConditionType::NodeConditionMemoryPressure,
            "DiskPressure" => wire::NodeConditionType::NodeConditionDiskPressure,
            "PIDPressure" => wire::NodeConditionType::NodeConditionPidPressure,
            "NetworkUnavailable" => wire::NodeConditionType::NodeConditionNetworkUnavailable,
            _ => return None,
        };
        Some(wire::NodeCondition { r#type: kind.into(), status: truth(condition.status) })
    };
    let phase = if gone.is_some() { wire::NodePhase::Terminated } else { wire::NodePhase::Running };
    body(Update::NodeUpdate(wire::NodeUpdate {
        uid,
        name,
        start_timestamp_ns,
        stop_timestamp_ns: stop(gone),
        phase: phase.into(),
        pod_cidr: node.pod_ranges.first().map(ToString::to_string).unwrap_or_default(),
        pod_cidrs: node.pod_ranges.iter().map(ToString::to_string).collect(),
        conditions: node.conditions.iter().filter_map(condition).collect(),
    }))
}

pub(crate) fn encode_replica_set(set: &ReplicaSet, gone: Option<UnixNs>) -> Vec<u8> {
    let (uid, name, namespace, start_timestamp_ns) = full_name(&set.meta);
    let condition =
        |condition: &Condition| wire::ReplicaSetCondition { r#type: condition.kind.to_string(), status: truth(condition.status) };
    let replicas = set.replicas;
    body(Update::ReplicaSetUpdate(wire::ReplicaSetUpdate {
        uid,
        name,
        start_timestamp_ns,
        stop_timestamp_ns: stop(gone),
        namespace,
        replicas: replicas.present,
        fully_labeled_replicas: replicas.fully_labeled,
        ready_replicas: replicas.ready,
        available_replicas: replicas.available,
        observed_generation: i32::try_from(replicas.observed_generation).unwrap_or(i32::MAX),
        requested_replicas: replicas.requested,
        conditions: set.conditions.iter().map(condition).collect(),
        owner_references: owners(&set.meta),
    }))
}

pub(crate) fn encode_deployment(deployment: &Deployment, gone: Option<UnixNs>) -> Vec<u8> {
    let (uid, name, namespace, start_timestamp_ns) = full_name(&deployment.meta);
    let condition = |condition: &Condition| {
        let kind = match &*condition.kind {
            "Available" => wire::DeploymentConditionType::DeploymentConditionAvailable,
            "Progressing" => wire::DeploymentConditionType::DeploymentConditionProgressing,
            "ReplicaFailure" => wire::DeploymentConditionType::DeploymentConditionReplicaFailure,
            _ => return None,
        };
        Some(wire::DeploymentCondition { r#type: kind.into(), status: truth(condition.status), ..wire::DeploymentCondition::default() })
    };
    let replicas = deployment.replicas;
    body(Update::DeploymentUpdate(wire::DeploymentUpdate {
        uid,
        name,
        start_timestamp_ns,
        stop_timestamp_ns: stop(gone),
        namespace,
        observed_generation: i32::try_from(replicas.observed_generation).unwrap_or(i32::MAX),
        replicas: replicas.present,
        updated_replicas: replicas.updated,
        ready_replicas: replicas.ready,
        available_replicas: replicas.available,
        unavailable_replicas: replicas.unavailable,
        requested_replicas: replicas.requested,
        conditions: deployment.conditions.iter().filter_map(condition).collect(),
    }))
}
