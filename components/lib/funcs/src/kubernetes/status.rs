//! Statuses as JSON. Reference: `src/carnot/funcs/metadata/metadata_ops.h`.

use k8s_state::{Condition, Container, ContainerState, Deployment, Found, Meta, Phase, Pod, Qos, ReplicaSet, Truth};
use serde_json::json;

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Unknown => "Unknown",
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
    }
}

fn truth(truth: Truth) -> &'static str {
    match truth {
        Truth::Unknown => "Unknown",
        Truth::True => "True",
        Truth::False => "False",
    }
}

/// Of a pod that is not known it says so.
pub(crate) fn of_pod(pod: Option<Found<'_, Pod>>) -> String {
    let ready = |pod: &Pod| pod.conditions.iter().any(|condition| &*condition.kind == "Ready" && condition.status == Truth::True);
    match pod {
        Some(pod) => {
            // What is gone does not run, whatever was heard of it last.
            let gone = pod.record.gone.is_some();
            let phase = if gone { "Terminated" } else { phase(pod.phase) };
            json!({"phase": phase, "message": &*pod.message, "reason": &*pod.reason, "ready": !gone && ready(&pod)}).to_string()
        }
        None => json!({"phase": phase(Phase::Unknown), "message": "", "reason": "", "ready": false}).to_string(),
    }
}

/// Of a container that is not known it says so.
pub(crate) fn of_container(container: Option<&Container>) -> String {
    let state = match container.map(|container| container.state) {
        None | Some(ContainerState::Unknown) => "Unknown",
        Some(ContainerState::Running) => "Running",
        Some(ContainerState::Terminated) => "Terminated",
        Some(ContainerState::Waiting) => "Waiting",
    };
    let (message, reason) = container.map_or(("", ""), |container| (&*container.message, &*container.reason));
    json!({"state": state, "message": message, "reason": reason}).to_string()
}

pub(crate) fn qos(qos: Qos) -> &'static str {
    match qos {
        Qos::Unknown => "",
        Qos::Guaranteed => "Guaranteed",
        Qos::Burstable => "Burstable",
        Qos::BestEffort => "BestEffort",
    }
}

/// `"Ready": "True", ` of each.
fn conditions(conditions: &[Condition]) -> String {
    let mut text = String::new();
    for condition in conditions {
        text.extend(["\"", &*condition.kind, "\": \"", truth(condition.status), "\", "]);
    }
    text
}

pub(crate) fn of_set(set: Found<'_, ReplicaSet>) -> String {
    let counts = &set.replicas;
    json!({
        "replicas": counts.present,
        "fully_labeled_replicas": counts.fully_labeled,
        "ready_replicas": counts.ready,
        "available_replicas": counts.available,
        "requested_replicas": counts.requested,
        "observed_generation": counts.observed_generation,
        "conditions": conditions(&set.conditions),
    })
    .to_string()
}

pub(crate) fn of_deployment(deployment: Found<'_, Deployment>) -> String {
    let counts = &deployment.replicas;
    json!({
        "replicas": counts.present,
        "updated_replicas": counts.updated,
        "ready_replicas": counts.ready,
        "available_replicas": counts.available,
        "unavailable_replicas": counts.unavailable,
        "requested_replicas": counts.requested,
        "observed_generation": counts.observed_generation,
        "conditions": conditions(&deployment.conditions),
    })
    .to_string()
}

/// A JSON array of texts, each the JSON of an owner.
pub(crate) fn owners(meta: &Meta) -> String {
    let owner = |owner: &k8s_state::Owner| json!({"uid": owner.uid.as_str(), "kind": &*owner.kind, "name": &*owner.name}).to_string();
    json!(meta.owners.iter().map(owner).collect::<Vec<_>>()).to_string()
}
