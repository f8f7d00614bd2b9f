use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ids::{UnixNs, Upid};
use k8s_state::{Container, ContainerId, Deployment, Found, Meta, Moment, Object, Pod, ReplicaSet, Service, Snapshot, Uid};

use crate::environment::Kubernetes;

/// The cluster as it is known while one batch is computed.
pub(crate) struct Cluster {
    pub(crate) snapshot: Snapshot,
    kubernetes: Arc<dyn Kubernetes>,
    /// By name, the container that was made last. Made when it is first asked for.
    containers: OnceCell<BTreeMap<Arc<str>, ContainerId>>,
}

impl Cluster {
    pub(crate) fn new(kubernetes: Arc<dyn Kubernetes>) -> Self {
        Self { snapshot: kubernetes.snapshot(), kubernetes, containers: OnceCell::new() }
    }

    pub(crate) fn container_id(&self, upid: Upid) -> Option<ContainerId> {
        self.kubernetes.container(upid)
    }

    pub(crate) fn pod_of_process(&self, upid: Upid) -> Option<Found<'_, Pod>> {
        self.snapshot.container(&self.container_id(upid)?).map(|(_, pod)| pod)
    }

    pub(crate) fn pod_by_id(&self, id: &str) -> Option<Found<'_, Pod>> {
        self.snapshot.pod(&Uid::new(id))
    }

    pub(crate) fn pod_by_name(&self, name: &str) -> Option<Found<'_, Pod>> {
        let (namespace, name) = parts(name)?;
        self.snapshot.pod_named(namespace, name, Moment::Latest)
    }

    pub(crate) fn pod_of_address(&self, address: IpAddr, moment: Moment) -> Option<Found<'_, Pod>> {
        self.snapshot.pod_of_address(address, moment)
    }

    pub(crate) fn service_by_id(&self, id: &str) -> Option<Found<'_, Service>> {
        self.snapshot.service(&Uid::new(id))
    }

    pub(crate) fn service_by_name(&self, name: &str) -> Option<Found<'_, Service>> {
        let (namespace, name) = parts(name)?;
        self.snapshot.service_named(namespace, name, Moment::Latest)
    }

    pub(crate) fn set_by_id(&self, id: &str) -> Option<Found<'_, ReplicaSet>> {
        self.snapshot.replica_set(&Uid::new(id))
    }

    pub(crate) fn set_by_name(&self, name: &str) -> Option<Found<'_, ReplicaSet>> {
        let (namespace, name) = parts(name)?;
        self.snapshot.replica_set_named(namespace, name, Moment::Latest)
    }

    pub(crate) fn deployment_by_id(&self, id: &str) -> Option<Found<'_, Deployment>> {
        self.snapshot.deployment(&Uid::new(id))
    }

    pub(crate) fn deployment_by_name(&self, name: &str) -> Option<Found<'_, Deployment>> {
        let (namespace, name) = parts(name)?;
        self.snapshot.deployment_named(namespace, name, Moment::Latest)
    }

    pub(crate) fn namespace_id(&self, name: &str) -> String {
        self.snapshot.namespace_named(name, Moment::Latest).map_or_else(String::new, |found| found.meta.uid.to_string())
    }

    pub(crate) fn container_by_id(&self, id: &str) -> Option<&Container> {
        self.snapshot.container(&ContainerId::new(id)).map(|(container, _)| container)
    }

    /// Names of containers are not unique: it is the one that began last.
    pub(crate) fn container_by_name(&self, name: &str) -> Option<&Container> {
        let ids = self.containers.get_or_init(|| {
            let pods = self.snapshot.records().filter_map(|record| if let Object::Pod(pod) = &record.object { Some(pod) } else { None });
            let mut containers: Vec<&Container> = pods.flat_map(|pod| &pod.containers).collect();
            containers.sort_by_key(|container| (container.started, container.id.clone()));
            containers.into_iter().map(|container| (Arc::clone(&container.name), container.id.clone())).collect()
        });
        self.snapshot.container(ids.get(name)?).map(|(container, _)| container)
    }

    /// Services that are there now.
    pub(crate) fn services_of(&self, pod: Found<'_, Pod>) -> Vec<Found<'_, Service>> {
        let services = self.snapshot.services_of_pod(&pod.meta.uid, Moment::Latest);
        services.into_iter().filter(|service| service.record.gone.is_none()).collect()
    }

    pub(crate) fn service_ids_of_address(&self, address: IpAddr) -> Vec<String> {
        let services = self.snapshot.services_of_address(address, Moment::Latest);
        services.iter().filter(|service| service.record.gone.is_none()).map(|service| service.meta.uid.to_string()).collect()
    }

    /// The replica set that a pod belongs to.
    pub(crate) fn set_of(&self, pod: Found<'_, Pod>) -> Option<Found<'_, ReplicaSet>> {
        pod.meta.owners.iter().find_map(|owner| self.snapshot.replica_set(&owner.uid))
    }

    /// The deployment that a replica set belongs to.
    pub(crate) fn deployment_of(&self, set: Found<'_, ReplicaSet>) -> Option<Found<'_, Deployment>> {
        set.meta.owners.iter().find_map(|owner| self.snapshot.deployment(&owner.uid))
    }
}

/// `namespace/name`.
pub(crate) fn full_name(meta: &Meta) -> String {
    format!("{}/{}", meta.namespace, meta.name)
}

/// Namespace and name, if that is what it is.
pub(crate) fn parts(name: &str) -> Option<(&str, &str)> {
    name.split_once('/').filter(|(_, name)| !name.contains('/'))
}

/// IPv4 within IPv6 is IPv4.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    text.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

pub(crate) fn at(time: i64) -> Moment {
    Moment::At(UnixNs(time))
}

/// Nothing, the only one, or a JSON array.
pub(crate) fn one_or_list(mut texts: Vec<String>) -> String {
    match texts.len() {
        0 => String::new(),
        1 => texts.remove(0),
        _ => serde_json::json!(texts).to_string(),
    }
}

/// A JSON array of the ranges; with a range of IPv4 of pods comes the address of its bridge, which the range's pods speak through.
pub(crate) fn cidrs(services: &[String], pods: &[String]) -> String {
    let bridge = |range: &String| {
        let (network, _) = range.split_once('/')?;
        let [a, b, c, _] = network.parse::<Ipv4Addr>().ok()?.octets();
        Some(format!("{}/32", Ipv4Addr::new(a, b, c, 1)))
    };
    let all: BTreeSet<String> = services.iter().chain(pods).cloned().chain(pods.iter().filter_map(bridge)).collect();
    serde_json::json!(all).to_string()
}
