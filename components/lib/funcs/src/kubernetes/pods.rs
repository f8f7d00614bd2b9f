//! Pods, by id, by name, by process; and containers.

use k8s_state::{Found, Pod};
use tables::SemanticType as St;

use super::cluster::{Cluster, full_name, one_or_list};
use super::{Adder, status};

/// Adds functions of a pod: by id, by name, by process; `-` where there is none.
macro_rules! of_pods {
    ($add:ident, $($id:tt $name:tt $process:tt $semantic:ident $get:expr;)+) => {$({
        of_pods!(@text $add, $id, $semantic, |cluster, id| text(cluster, cluster.pod_by_id(id), $get));
        of_pods!(@text $add, $name, $semantic, |cluster, name| text(cluster, cluster.pod_by_name(name), $get));
        of_pods!(@process $add, $process, $semantic, |cluster, upid| text(cluster, cluster.pod_of_process(upid), $get));
    })+};
    (@text $add:ident, -, $semantic:ident, $f:expr) => {};
    (@text $add:ident, $name:literal, $semantic:ident, $f:expr) => { $add.text($name, St::$semantic, $f) };
    (@process $add:ident, -, $semantic:ident, $f:expr) => {};
    (@process $add:ident, $name:literal, $semantic:ident, $f:expr) => { $add.of_process($name, St::$semantic, $f) };
}

fn text<'c>(cluster: &'c Cluster, pod: Option<Found<'c, Pod>>, get: fn(&'c Cluster, Found<'c, Pod>) -> Option<String>) -> String {
    pod.and_then(|pod| get(cluster, pod)).unwrap_or_default()
}

pub(crate) fn add(add: &mut Adder<'_, '_>) {
    of_pods! { add,
        "pod_id_to_pod_name" - "upid_to_pod_name" PodName |_, pod| Some(full_name(&pod.meta));
        - "pod_name_to_pod_id" "upid_to_pod_id" None |_, pod| Some(pod.meta.uid.to_string());
        "pod_id_to_pod_labels" - - None |_, pod| Some(labels(&pod));
        "pod_id_to_namespace" - "upid_to_namespace" NamespaceName |_, pod| Some(pod.meta.namespace.to_string());
        "pod_id_to_node_name" - "upid_to_node_name" NodeName |_, pod| Some(pod.node.to_string());
        "pod_id_to_replicaset_name" "pod_name_to_replicaset_name" "upid_to_replicaset_name" None
            |cluster, pod| Some(full_name(&cluster.set_of(pod)?.meta));
        "pod_id_to_replicaset_id" "pod_name_to_replicaset_id" "upid_to_replicaset_id" None
            |cluster, pod| Some(cluster.set_of(pod)?.meta.uid.to_string());
        "pod_id_to_deployment_name" "pod_name_to_deployment_name" "upid_to_deployment_name" None
            |cluster, pod| Some(full_name(&cluster.deployment_of(cluster.set_of(pod)?)?.meta));
        "pod_id_to_deployment_id" "pod_name_to_deployment_id" "upid_to_deployment_id" None
            |cluster, pod| Some(cluster.deployment_of(cluster.set_of(pod)?)?.meta.uid.to_string());
        "pod_id_to_service_name" "pod_name_to_service_name" "upid_to_service_name" ServiceName
            |cluster, pod| Some(one_or_list(cluster.services_of(pod).iter().map(|service| full_name(&service.meta)).collect()));
        "pod_id_to_service_id" "pod_name_to_service_id" "upid_to_service_id" None
            |cluster, pod| Some(one_or_list(cluster.services_of(pod).iter().map(|service| service.meta.uid.to_string()).collect()));
        "pod_id_to_owner_references" "pod_name_to_owner_references" - None |_, pod| Some(status::owners(&pod.meta));
        - "pod_name_to_pod_ip" - None |_, pod| pod.addresses.first().map(ToString::to_string);
        - - "upid_to_pod_qos" None |_, pod| Some(status::qos(pod.qos).to_owned());
    }
    add.text("pod_name_to_status", St::PodStatus, |cluster, name| status::of_pod(cluster.pod_by_name(name)));
    add.of_process("upid_to_pod_status", St::PodStatus, |cluster, upid| status::of_pod(cluster.pod_of_process(upid)));
    add.time("pod_id_to_start_time", |cluster, id| cluster.pod_by_id(id).map_or(0, |pod| pod.meta.created.0));
    add.time("pod_id_to_stop_time", |cluster, id| super::gone(cluster.pod_by_id(id)));
    add.time("pod_name_to_start_time", |cluster, name| cluster.pod_by_name(name).map_or(0, |pod| pod.meta.created.0));
    add.time("pod_name_to_stop_time", |cluster, name| super::gone(cluster.pod_by_name(name)));

    add.text("container_id_to_status", St::ContainerStatus, |cluster, id| status::of_container(cluster.container_by_id(id)));
    add.time("container_id_to_start_time", |cluster, id| begins(cluster.container_by_id(id)));
    add.time("container_id_to_stop_time", |cluster, id| ends(cluster.container_by_id(id)));
    add.text("container_name_to_container_id", St::None, |cluster, name| {
        cluster.container_by_name(name).map_or_else(String::new, |container| container.id.to_string())
    });
    add.time("container_name_to_start_time", |cluster, name| begins(cluster.container_by_name(name)));
    add.time("container_name_to_stop_time", |cluster, name| ends(cluster.container_by_name(name)));
}

fn labels(pod: &Pod) -> String {
    let labels: serde_json::Map<_, _> =
        pod.meta.labels.iter().map(|(key, value)| (key.to_string(), serde_json::Value::from(&**value))).collect();
    serde_json::Value::from(labels).to_string()
}

fn begins(container: Option<&k8s_state::Container>) -> i64 {
    container.and_then(|container| container.started).map_or(0, |time| time.0)
}

fn ends(container: Option<&k8s_state::Container>) -> i64 {
    container.and_then(|container| container.stopped).map_or(0, |time| time.0)
}
