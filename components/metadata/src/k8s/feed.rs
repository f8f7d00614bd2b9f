use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ids::UnixNs;
use k8s_state::{Change, Kind, Limits, Moment, Object, Outcome, Pod, Record, Scope, Service, Snapshot, State, Uid};

use super::log::{Published, Topic, UpdateLog};
use super::ranges::Ranges;
use crate::wire::k8s;

/// Folds changes into a state, and says what agents have to hear.
#[derive(Debug)]
pub struct ClusterFeed {
    state: State,
    log: UpdateLog,
    /// Addresses of the nodes, each the topic of its agent.
    hosts: BTreeSet<IpAddr>,
    /// What was listed at least once: before, what is missing says nothing.
    listed: BTreeSet<Kind>,
}

/// What the pods of a service are found from.
const ENDPOINTS_NEED: [Kind; 3] = [Kind::Pod, Kind::Service, Kind::EndpointSlice];

impl ClusterFeed {
    /// Knows no object yet, and what agents were told before.
    pub fn new(limits: Limits, log: UpdateLog) -> ClusterFeed {
        ClusterFeed { state: State::new(limits), log, hosts: BTreeSet::new(), listed: BTreeSet::new() }
    }

    /// What agents may have missed.
    pub fn log(&self) -> &UpdateLog {
        &self.log
    }

    /// The same, to have it kept.
    pub fn log_mut(&mut self) -> &mut UpdateLog {
        &mut self.log
    }

    /// What happened to objects, what was forgotten for want of room included.
    pub fn metrics(&self) -> k8s_state::Metrics {
        self.state.metrics()
    }

    /// What is known.
    pub fn snapshot(&self) -> Snapshot {
        self.state.snapshot()
    }

    /// The cluster's addresses.
    pub fn ranges(&self) -> Ranges {
        Ranges::of(self.state.view())
    }

    /// One object is like this.
    pub fn put(&mut self, object: Object, at: UnixNs) -> Vec<Published> {
        self.apply(&Change::put(object, at), at)
    }

    /// One object is gone.
    pub fn gone(&mut self, object: &Object, at: UnixNs) -> Vec<Published> {
        let meta = object.meta();
        self.apply(&Change::gone(meta.uid.clone(), meta.version, at), at)
    }

    /// These are all objects that there are in `scope`. What agents were told of others, also before a restart, is taken back.
    pub fn listed(&mut self, scope: &Scope, objects: Vec<Object>, at: UnixNs) -> Vec<Published> {
        let mut published = Vec::new();
        for change in self.state.view().differences(scope, k8s_state::ResourceVersion(0), objects, at) {
            published.extend(self.apply(&change, at));
        }
        self.take_back(scope, at, &mut published);
        if self.listed.insert(scope.kind) && ENDPOINTS_NEED.contains(&scope.kind) && self.knows_endpoints() {
            let view = self.state.snapshot();
            for record in view.records().filter(|record| record.gone.is_none()) {
                if let Object::Service(service) = &record.object {
                    self.tell_service(&view, service, record, at, &mut published);
                }
            }
        }
        published
    }

    /// Forgets what is gone for long.
    pub fn expire(&mut self, now: UnixNs) {
        self.state.expire(now);
        self.log.expire(now);
    }

    fn knows_endpoints(&self) -> bool {
        ENDPOINTS_NEED.iter().all(|kind| self.listed.contains(kind))
    }

    /// Objects that agents were told of by a run of this process that saw them, and that this one did not find.
    fn take_back(&mut self, scope: &Scope, at: UnixNs, published: &mut Vec<Published>) {
        let view = self.state.view();
        let mut lost = Vec::new();
        for prefix in prefixes(scope.kind) {
            for entry in self.log.newest_below(prefix).filter(|entry| !entry.gone) {
                let uid = entry.subject[prefix.len()..].split(['@', '/']).next().unwrap_or_default();
                let inside =
                    || scope.namespace.as_ref().is_none_or(|namespace| k8s::namespace_of(&entry.body).as_deref() == Some(&**namespace));
                if view.record(&Uid::new(uid)).is_none() && inside() {
                    lost.push((entry.subject.clone(), entry.topics.clone(), k8s::stopped(&entry.body, at)));
                }
            }
        }
        for (subject, topics, body) in lost {
            published.extend(self.log.publish(&subject, true, topics, body, at));
        }
    }

    fn apply(&mut self, change: &Change, at: UnixNs) -> Vec<Published> {
        let before = self.state.view().record(change.uid()).cloned();
        match self.state.apply(change) {
            Outcome::Applied => {}
            Outcome::Old | Outcome::Unknown | Outcome::Contradiction | Outcome::Refused => return Vec::new(),
        }
        let view = self.state.snapshot();
        let Some(record) = view.record(change.uid()) else { return Vec::new() };
        let mut published = Vec::new();
        match &record.object {
            Object::Pod(pod) => {
                self.tell_pod(pod, record, at, &mut published);
                // Its services may have been told before its node was known.
                if before.is_none() {
                    for service in view.services_of_pod(record.uid(), Moment::Latest) {
                        self.tell_service(&view, service.object, service.record, at, &mut published);
                    }
                }
            }
            Object::Service(service) => self.tell_service(&view, service, record, at, &mut published),
            Object::EndpointSlice(slice) => {
                if let Some(service) = view.service_named(&slice.meta.namespace, &slice.service, Moment::Latest) {
                    self.tell_service(&view, service.object, service.record, at, &mut published);
                }
            }
            Object::Node(node) => {
                let own = node.addresses.first().copied();
                let is_new = record.gone.is_none() && own.is_some_and(|host| self.hosts.insert(host));
                let topics = std::iter::once(Topic::All).chain(own.map(Topic::Host)).collect();
                self.tell(&format!("node/{}", record.uid()), record, topics, k8s::encode_node(node, record.gone), at, &mut published);
                if let Some(host) = own.filter(|_| is_new) {
                    self.tell_new_host(&view, host, at, &mut published);
                }
                if record.gone.is_some()
                    && let Some(host) = own
                {
                    self.hosts.remove(&host);
                }
            }
            Object::Namespace(_) | Object::ReplicaSet(_) | Object::Deployment(_) => self.tell_everybody(record, at, &mut published),
        }
        published
    }

    fn tell(&mut self, subject: &str, record: &Record, topics: Vec<Topic>, body: Vec<u8>, at: UnixNs, published: &mut Vec<Published>) {
        published.extend(self.log.publish(subject, record.gone.is_some(), topics, body, at));
    }

    /// Containers come before their pod.
    fn tell_pod(&mut self, pod: &Pod, record: &Record, at: UnixNs, published: &mut Vec<Published>) {
        let topics: Vec<Topic> = std::iter::once(Topic::All).chain(pod.host_address.map(Topic::Host)).collect();
        for container in record.replaced.iter().chain(&pod.containers) {
            let body = k8s::encode_container(pod, container, record.gone);
            let subject = format!("container/{}/{}", record.uid(), container.id);
            let gone = record.gone.is_some() || container.stopped.is_some();
            published.extend(self.log.publish(&subject, gone, topics.clone(), body, at));
        }
        self.tell(&format!("pod/{}", record.uid()), record, topics, k8s::encode_pod(pod, record.gone), at, published);
    }

    /// Its addresses are told to those who merge; its pods to them too, and to each node its own. Reference: a message tells of the one or the other.
    fn tell_service(&mut self, view: &Snapshot, service: &Service, record: &Record, at: UnixNs, published: &mut Vec<Published>) {
        // A message without addresses tells of pods.
        if !service.cluster_addresses.is_empty() || !service.external_addresses.is_empty() {
            let body = k8s::encode_service(service, record.gone);
            self.tell(&format!("service/{}", record.uid()), record, vec![Topic::All], body, at, published);
        }
        if !self.knows_endpoints() && record.gone.is_none() {
            return;
        }
        let subject = format!("endpoints/{}", record.uid());
        let pods = pods_of(view, service);
        let mut by_host: BTreeMap<IpAddr, Vec<&Pod>> = BTreeMap::new();
        for pod in &pods {
            if let Some(host) = pod.host_address {
                by_host.entry(host).or_default().push(pod);
            }
        }
        // Nodes that had some of its pods.
        let prefix = format!("{subject}@");
        let told: Vec<IpAddr> = self.log.newest_below(&prefix).filter_map(|entry| entry.subject[prefix.len()..].parse().ok()).collect();
        for host in told {
            by_host.entry(host).or_default();
        }
        self.tell(&subject, record, vec![Topic::All], k8s::encode_endpoints(service, &pods, record.gone), at, published);
        for (host, pods) in by_host {
            let body = k8s::encode_endpoints(service, &pods, record.gone);
            self.tell(&format!("{subject}@{host}"), record, vec![Topic::Host(host)], body, at, published);
        }
    }

    fn tell_everybody(&mut self, record: &Record, at: UnixNs, published: &mut Vec<Published>) {
        let Some((subject, body)) = everybodys(record) else { return };
        let topics = std::iter::once(Topic::All).chain(self.hosts.iter().copied().map(Topic::Host)).collect();
        self.tell(&subject, record, topics, body.clone(), at, published);
        if record.gone.is_some() {
            // Nodes that came later were told alone.
            let alone: Vec<_> =
                self.log.newest_below(&format!("{subject}@")).map(|entry| (entry.subject.clone(), entry.topics.clone())).collect();
            for (subject, topics) in alone {
                self.tell(&subject, record, topics, body.clone(), at, published);
            }
        }
    }

    /// A new node hears of what everybody knows.
    fn tell_new_host(&mut self, view: &Snapshot, host: IpAddr, at: UnixNs, published: &mut Vec<Published>) {
        for record in view.records().filter(|record| record.gone.is_none()) {
            let Some((subject, body)) = everybodys(record) else { continue };
            // It may have been told before a restart of this process.
            if self.log.newest(&subject).is_some_and(|entry| entry.topics.contains(&Topic::Host(host)) && *entry.body == *body) {
                continue;
            }
            self.tell(&format!("{subject}@{host}"), record, vec![Topic::Host(host)], body, at, published);
        }
    }
}

/// What nodes hear of although it is not on them.
fn everybodys(record: &Record) -> Option<(String, Vec<u8>)> {
    let uid = record.uid();
    match &record.object {
        Object::Namespace(namespace) => Some((format!("namespace/{uid}"), k8s::encode_namespace(namespace, record.gone))),
        Object::ReplicaSet(set) => Some((format!("replicaset/{uid}"), k8s::encode_replica_set(set, record.gone))),
        Object::Deployment(deployment) => Some((format!("deployment/{uid}"), k8s::encode_deployment(deployment, record.gone))),
        Object::Pod(_) | Object::Service(_) | Object::EndpointSlice(_) | Object::Node(_) => None,
    }
}

/// What the subjects of a kind begin with.
fn prefixes(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Pod => &["container/", "pod/"],
        Kind::Service => &["service/", "endpoints/"],
        Kind::EndpointSlice => &[],
        Kind::Node => &["node/"],
        Kind::Namespace => &["namespace/"],
        Kind::ReplicaSet => &["replicaset/"],
        Kind::Deployment => &["deployment/"],
    }
}

/// The pods behind a service, by name; those that are not known yet are told when they are.
fn pods_of<'a>(view: &'a Snapshot, service: &Service) -> Vec<&'a Pod> {
    let slices = view.slices_of(&service.meta.namespace, &service.meta.name);
    let uids: BTreeSet<&Uid> =
        slices.flat_map(|slice| slice.object.endpoints.iter().filter_map(|endpoint| endpoint.pod.as_ref())).collect();
    let mut pods: Vec<&Pod> = uids.into_iter().filter_map(|uid| view.pod(uid)).map(|found| found.object).collect();
    pods.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
    pods
}
