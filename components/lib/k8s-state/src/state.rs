use std::collections::BTreeSet;

use ids::UnixNs;

use crate::lifetimes::{Renewed, before, end, renew, trim};
use crate::{Change, Held, Kind, Limits, Metrics, Object, Outcome, Record, ResourceVersion, Snapshot, Uid};

/// Folds changes, in the order in which they happened to each object, into snapshots.
#[derive(Debug, Default)]
pub struct State {
    now: Snapshot,
    limits: Limits,
    metrics: Metrics,
    bytes: usize,
    /// What is gone, by when it went.
    gone: BTreeSet<(UnixNs, Uid)>,
}

impl State {
    /// Knows nothing.
    pub fn new(limits: Limits) -> State {
        State { limits, ..State::default() }
    }

    /// Knows what these records say: those of a snapshot give the same snapshot. What does not fit is counted.
    pub fn restore(limits: Limits, records: impl IntoIterator<Item = Record>) -> State {
        let mut state = State::new(limits);
        for record in records {
            if state.make_room(record.bytes(), record.uid()) { state.set(record) } else { state.metrics.refused += 1 }
        }
        state
    }

    /// What is known now.
    pub fn snapshot(&self) -> Snapshot {
        self.now.clone()
    }

    /// The same, to look at.
    pub fn view(&self) -> &Snapshot {
        &self.now
    }

    /// What happened to changes and objects.
    pub fn metrics(&self) -> Metrics {
        self.metrics
    }

    /// About how much memory is taken, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes one change. What is known already, or contradicts it, changes nothing and is counted.
    pub fn apply(&mut self, change: &Change) -> Outcome {
        let outcome = match change {
            Change::Put { object, at } => self.put(object, *at),
            Change::Gone { uid, version, at } => self.end(uid, *version, *at),
        };
        let counter = match outcome {
            Outcome::Applied => &mut self.metrics.applied,
            Outcome::Old => &mut self.metrics.old,
            Outcome::Unknown => &mut self.metrics.unknown,
            Outcome::Contradiction => &mut self.metrics.contradictions,
            Outcome::Refused => &mut self.metrics.refused,
        };
        *counter += 1;
        outcome
    }

    /// Forgets what went longer ago than the retention.
    pub fn expire(&mut self, now: UnixNs) {
        let oldest = before(now, self.limits.retention);
        while let Some((_, uid)) = self.gone.first().filter(|(gone, _)| *gone <= oldest).cloned() {
            self.forget(&uid);
            self.metrics.expired += 1;
        }
    }

    fn put(&mut self, object: &Object, at: UnixNs) -> Outcome {
        let old = self.now.shared(&object.meta().uid);
        if let Some(old) = &old {
            if old.kind() != object.kind() {
                return Outcome::Contradiction;
            }
            if !old.is_outdated_by(object) {
                return Outcome::Old;
            }
        }
        let Some(Renewed { record, displaced }) = self.renew_within_budget(old.as_deref(), object, at) else { return Outcome::Refused };
        for other in displaced {
            self.set(other);
        }
        self.set(record);
        Outcome::Applied
    }

    /// What the object becomes, once there is room for it.
    fn renew_within_budget(&mut self, old: Option<&Record>, object: &Object, at: UnixNs) -> Option<Renewed> {
        loop {
            let (mut metrics, evicted) = (Metrics::default(), self.metrics.evicted);
            let mut renewed = renew(&self.now, old, object.clone(), at);
            trim(&mut renewed.record, self.limits.retention, at, &mut metrics);
            if !self.make_room(renewed.record.bytes(), renewed.record.uid()) {
                return None;
            }
            // What was evicted may have been a part of what it becomes.
            if self.metrics.evicted == evicted {
                self.metrics.containers_evicted += metrics.containers_evicted;
                self.metrics.tenures_evicted += metrics.tenures_evicted;
                return Some(renewed);
            }
        }
    }

    fn end(&mut self, uid: &Uid, version: ResourceVersion, at: UnixNs) -> Outcome {
        let Some(old) = self.now.shared(uid) else { return Outcome::Unknown };
        let known = old.object.meta().version;
        if old.gone.is_some() || (version.0 != 0 && version < known) {
            return Outcome::Old;
        }
        let mut record = end(&self.now, &old, at);
        record.set_version(version.max(known));
        self.set(record);
        Outcome::Applied
    }

    /// Whether `bytes` fit for this object, once enough of what is gone is forgotten, oldest first.
    fn make_room(&mut self, bytes: usize, uid: &Uid) -> bool {
        loop {
            let own = self.now.record(uid).map_or(0, Record::bytes);
            if self.bytes - own + bytes <= self.limits.bytes_max {
                return true;
            }
            let Some((_, oldest)) = self.gone.iter().find(|(_, gone)| gone != uid).cloned() else { return false };
            self.forget(&oldest);
            self.metrics.evicted += 1;
        }
    }

    fn set(&mut self, record: Record) {
        let uid = record.uid().clone();
        if let Some(old) = self.now.record(&uid) {
            self.bytes -= old.bytes();
            if let Some(gone) = old.gone {
                self.gone.remove(&(gone, uid.clone()));
            }
        }
        self.bytes += record.bytes();
        if let Some(gone) = record.gone {
            self.gone.insert((gone, uid));
        }
        self.now.insert(record);
    }

    fn forget(&mut self, uid: &Uid) {
        let Some(record) = self.now.remove(uid) else { return };
        self.bytes -= record.bytes();
        if let Some(gone) = record.gone {
            self.gone.remove(&(gone, uid.clone()));
        }
        if record.kind() != Kind::Pod {
            return;
        }
        // The services that it was part of do not remember it any longer.
        let what = Held::Pod(uid.clone());
        let slices: Vec<Record> = self.now.holders(Kind::EndpointSlice, &what).cloned().collect();
        for mut slice in slices {
            if slice.gone.is_some() || !slice.object.holds().contains(&what) {
                slice.held.retain(|tenure| tenure.what != what);
                self.set(slice);
            }
        }
    }
}

impl Record {
    /// Whether `object` says something newer. A uid does not come back, but for a deletion that was concluded from an older list.
    pub(crate) fn is_outdated_by(&self, object: &Object) -> bool {
        let version = object.meta().version;
        let known = self.object.meta().version;
        if version.0 == 0 { self.gone.is_none() && self.object != *object } else { version.follows(known) }
    }

    fn set_version(&mut self, version: ResourceVersion) {
        match &mut self.object {
            Object::Pod(pod) => pod.meta.version = version,
            Object::Service(service) => service.meta.version = version,
            Object::EndpointSlice(slice) => slice.meta.version = version,
            Object::Node(node) => node.meta.version = version,
            Object::Namespace(namespace) => namespace.meta.version = version,
            Object::ReplicaSet(set) => set.meta.version = version,
            Object::Deployment(deployment) => deployment.meta.version = version,
        }
    }
}
