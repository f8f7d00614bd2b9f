//! Objects with what the metadata service reads of them.

use serde_json::{Value, json};

/// The list of pods.
pub const PODS: &str = "/api/v1/pods";
/// The list of services.
pub const SERVICES: &str = "/api/v1/services";
/// The list of nodes.
pub const NODES: &str = "/api/v1/nodes";
/// The list of namespaces.
pub const NAMESPACES: &str = "/api/v1/namespaces";
/// The list of endpoint slices.
pub const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
/// The list of replica sets.
pub const SETS: &str = "/apis/apps/v1/replicasets";
/// The list of deployments.
pub const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";
/// The list of leases of the namespace that a Vizier is in.
pub const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/pl/leases";

fn meta(name: &str, namespace: &str) -> Value {
    let uid = format!("{namespace}-{name}");
    json!({ "name": name, "namespace": namespace, "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z" })
}

/// A running pod `shop/NAME` of the replica set `cart-1`, with one container of that id, on the node that has the address `host`.
pub fn pod(name: &str, address: &str, host: &str, container: &str) -> Value {
    let mut meta = meta(name, "shop");
    meta["labels"] = json!({ "app": "cart" });
    meta["ownerReferences"] =
        json!([{ "kind": "ReplicaSet", "name": "cart-1", "uid": "shop-cart-1", "apiVersion": "apps/v1", "controller": true }]);
    let running = json!({ "running": { "startedAt": "2026-01-01T00:00:05Z" } });
    let containers = json!([{ "name": "cart", "containerID": format!("containerd://{container}"), "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": running }]);
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": { "nodeName": "node-1", "containers": [] },
        "status": {
            "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }], "hostIP": host, "qosClass": "Burstable",
            "conditions": [{ "type": "Ready", "status": "True" }], "containerStatuses": containers,
        },
    })
}

/// A node that is ready, whose pods have addresses of that range.
pub fn node(name: &str, address: &str, range: &str) -> Value {
    let meta = without_namespace(meta(name, ""));
    let addresses = json!([{ "type": "InternalIP", "address": address }, { "type": "Hostname", "address": name }]);
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": { "podCIDR": range, "podCIDRs": [range] },
        "status": { "addresses": addresses, "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

/// An object `shop/NAME` of that kind and version of the API: a namespace, a deployment, a replica set.
pub fn simple(api: &str, kind: &str, name: &str) -> Value {
    let meta = meta(name, "shop");
    let meta = if kind == "Namespace" { without_namespace(meta) } else { meta };
    json!({ "apiVersion": api, "kind": kind, "metadata": meta, "spec": { "replicas": 2, "selector": {}, "template": {} }, "status": { "replicas": 2 } })
}

/// A service `shop/NAME` with that address.
pub fn service(name: &str, address: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": meta(name, "shop"), "spec": { "clusterIP": address, "clusterIPs": [address] } })
}

/// The slice of a service, with these pods behind it.
pub fn slice(service: &str, pods: &[&str]) -> Value {
    let mut meta = meta(&format!("{service}-x1"), "shop");
    meta["labels"] = json!({ "kubernetes.io/service-name": service });
    let endpoint = |pod: &&str| json!({ "addresses": ["10.244.1.1"], "targetRef": { "kind": "Pod", "name": pod, "namespace": "shop", "uid": format!("shop-{pod}") } });
    json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4", "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>() })
}

fn without_namespace(mut meta: Value) -> Value {
    if let Some(meta) = meta.as_object_mut() {
        meta.remove("namespace");
    }
    meta
}
