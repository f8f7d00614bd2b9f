use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;

use ids::UnixNs;

use crate::{
    Container, ContainerId, Deployment, EndpointSlice, Held, Kind, Namespace, Node, Object, Owner, Pod, Record, ReplicaSet, Service,
    Snapshot, Tenure, Uid,
};

/// Which of those that had a name or an address one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The one that has it, else the last one that had it.
    Latest,
    /// The one that had it then.
    At(UnixNs),
}

/// An object, and what is known beside it.
#[derive(Debug)]
pub struct Found<'a, T> {
    /// As it was last.
    pub object: &'a T,
    /// When it went, what it held.
    pub record: &'a Record,
}

impl<T> Clone for Found<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Found<'_, T> {}

impl<T> Deref for Found<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.object
    }
}

macro_rules! lookups {
    ($($kind:ident, $by_uid:ident, $of_record:ident, $what:literal;)+) => {
        impl Snapshot {
            $(
                #[doc = concat!("The ", $what, " with this uid.")]
                pub fn $by_uid(&self, uid: &Uid) -> Option<Found<'_, $kind>> {
                    self.record(uid).and_then($of_record)
                }
            )+
        }

        $(
            fn $of_record(record: &Record) -> Option<Found<'_, $kind>> {
                if let Object::$kind(object) = &record.object { Some(Found { object, record }) } else { None }
            }
        )+
    };
}

lookups! {
    Pod, pod, as_pod, "pod";
    Service, service, as_service, "service";
    EndpointSlice, endpoint_slice, as_slice, "endpoint slice";
    Node, node, as_node, "node";
    Namespace, namespace, as_namespace, "namespace";
    ReplicaSet, replica_set, as_replica_set, "replica set";
    Deployment, deployment, as_deployment, "deployment";
}

/// Longest chain of owners: a pod's, a job's and a cron job's are three. Owners that own each other are nobody's mistake but theirs.
const OWNERS_MAX: usize = 8;

impl Snapshot {
    /// The pod that had this name.
    pub fn pod_named(&self, namespace: &str, name: &str, moment: Moment) -> Option<Found<'_, Pod>> {
        as_pod(self.one_named(Kind::Pod, namespace, name, moment)?)
    }

    /// The pods that are there and have all of these labels, by namespace and name; an empty namespace stands for all.
    pub fn pods_labelled(&self, namespace: &str, labels: &[(String, String)]) -> Vec<Found<'_, Pod>> {
        let pods = self.records().filter(|record| record.gone.is_none()).filter_map(as_pod);
        let mut pods: Vec<Found<'_, Pod>> = pods
            .filter(|pod| namespace.is_empty() || &*pod.meta.namespace == namespace)
            .filter(|pod| labels.iter().all(|(key, value)| pod.meta.labels.get(key.as_str()).is_some_and(|own| **own == **value)))
            .collect();
        pods.sort_by(|a, b| (&a.meta.namespace, &a.meta.name).cmp(&(&b.meta.namespace, &b.meta.name)));
        pods
    }

    /// The endpoint slices that a service has now. Looks at every object.
    pub fn slices_of<'a>(&'a self, namespace: &'a str, service: &'a str) -> impl Iterator<Item = Found<'a, EndpointSlice>> {
        let slices = self.records().filter(|record| record.gone.is_none()).filter_map(as_slice);
        slices.filter(move |slice| &*slice.service == service && &*slice.meta.namespace == namespace)
    }

    /// The service that had this name.
    pub fn service_named(&self, namespace: &str, name: &str, moment: Moment) -> Option<Found<'_, Service>> {
        as_service(self.one_named(Kind::Service, namespace, name, moment)?)
    }

    /// The replica set that had this name.
    pub fn replica_set_named(&self, namespace: &str, name: &str, moment: Moment) -> Option<Found<'_, ReplicaSet>> {
        as_replica_set(self.one_named(Kind::ReplicaSet, namespace, name, moment)?)
    }

    /// The deployment that had this name.
    pub fn deployment_named(&self, namespace: &str, name: &str, moment: Moment) -> Option<Found<'_, Deployment>> {
        as_deployment(self.one_named(Kind::Deployment, namespace, name, moment)?)
    }

    /// The node that had this name.
    pub fn node_named(&self, name: &str, moment: Moment) -> Option<Found<'_, Node>> {
        as_node(self.one_named(Kind::Node, "", name, moment)?)
    }

    /// The namespace that had this name.
    pub fn namespace_named(&self, name: &str, moment: Moment) -> Option<Found<'_, Namespace>> {
        as_namespace(self.one_named(Kind::Namespace, "", name, moment)?)
    }

    /// A container and its pod, also when another container has taken its place.
    pub fn container(&self, id: &ContainerId) -> Option<(&Container, Found<'_, Pod>)> {
        let pod = self.pod(self.container_pod(id)?)?;
        let container = pod.record.all_containers().find(|container| container.id == *id)?;
        Some((container, pod))
    }

    /// The pod that had this address. Pods in their node's network have none.
    pub fn pod_of_address(&self, address: IpAddr, moment: Moment) -> Option<Found<'_, Pod>> {
        as_pod(self.one_holding(Kind::Pod, address, moment)?)
    }

    /// The node that had this address.
    pub fn node_of_address(&self, address: IpAddr, moment: Moment) -> Option<Found<'_, Node>> {
        as_node(self.one_holding(Kind::Node, address, moment)?)
    }

    /// The services behind this address, by name: as an address of their own, as that of an endpoint that is no pod, or through the pod that has it.
    pub fn services_of_address(&self, address: IpAddr, moment: Moment) -> Vec<Found<'_, Service>> {
        let mut services: BTreeMap<_, _> = BTreeMap::new();
        let what = Held::Address(address);
        let own = self.one_holding(Kind::Service, address, moment).and_then(as_service);
        let of_slices = self.services_holding(&what, |tenure| match moment {
            Moment::Latest => tenure.until.is_none(),
            Moment::At(time) => tenure.covers(time),
        });
        let of_pod = self.pod_of_address(address, moment).map(|pod| self.services_of_pod(pod.record.uid(), moment));
        for service in own.into_iter().chain(self.resolve(of_slices, moment)).chain(of_pod.into_iter().flatten()) {
            services.insert((service.meta.namespace.clone(), service.meta.name.clone(), service.meta.uid.clone()), service);
        }
        services.into_values().collect()
    }

    /// The services that a pod was an endpoint of, by name. It counts from the pod's beginning, as a pod answers before its service knows it, until it
    /// is taken out while it lives.
    pub fn services_of_pod(&self, pod: &Uid, moment: Moment) -> Vec<Found<'_, Service>> {
        let what = Held::Pod(pod.clone());
        let slices = self.services_holding(&what, |tenure| match moment {
            Moment::Latest => tenure.until.is_none(),
            Moment::At(time) => tenure.until.is_none_or(|until| time < until),
        });
        self.resolve(slices, moment)
    }

    /// An object's controller, that one's controller, and so on: of a pod its replica set and its deployment. An owner that is not known ends it.
    pub fn owners(&self, uid: &Uid) -> Vec<&Owner> {
        let mut owners: Vec<&Owner> = Vec::new();
        let mut next = self.record(uid);
        while let Some(owner) = next.and_then(|record| record.object.meta().owners.first()).filter(|_| owners.len() < OWNERS_MAX) {
            owners.push(owner);
            next = self.record(&owner.uid);
        }
        owners
    }

    fn one_named(&self, kind: Kind, namespace: &str, name: &str, moment: Moment) -> Option<&Record> {
        let lived = |record: &&Record| match moment {
            Moment::Latest => true,
            Moment::At(time) => record.lived_at(time),
        };
        self.named(kind, namespace, name).filter(lived).max_by_key(|record| {
            let meta = record.object.meta();
            (record.gone.is_none(), meta.created, meta.version)
        })
    }

    fn one_holding(&self, kind: Kind, address: IpAddr, moment: Moment) -> Option<&Record> {
        let what = Held::Address(address);
        let tenures = self.holders(kind, &what).flat_map(|record| record.tenures_of(&what).map(move |tenure| (record, tenure)));
        let held = |(_, tenure): &(&Record, &Tenure)| match moment {
            Moment::Latest => true,
            Moment::At(time) => tenure.covers(time),
        };
        tenures.filter(held).max_by_key(|(_, tenure)| (tenure.until.is_none(), tenure.until, tenure.from)).map(|(record, _)| record)
    }

    fn services_holding<'a>(&'a self, what: &'a Held, holds: impl Fn(&Tenure) -> bool + 'a) -> Vec<Found<'a, EndpointSlice>> {
        let slices = self.holders(Kind::EndpointSlice, what).filter(|slice| slice.tenures_of(what).any(&holds));
        slices.filter_map(as_slice).collect()
    }

    /// The services of these slices, each once, by name.
    fn resolve<'a>(&'a self, slices: Vec<Found<'_, EndpointSlice>>, moment: Moment) -> Vec<Found<'a, Service>> {
        let mut services = BTreeMap::new();
        for slice in slices {
            let (namespace, name) = (&slice.meta.namespace, &slice.service);
            // A slice can be older than what we know of its service.
            let service = self.service_named(namespace, name, moment).or_else(|| self.service_named(namespace, name, Moment::Latest));
            if let Some(service) = service {
                services.insert((namespace.clone(), name.clone()), service);
            }
        }
        services.into_values().collect()
    }
}
