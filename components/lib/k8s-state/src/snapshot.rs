use std::collections::BTreeSet;
use std::sync::Arc;

use ids::UnixNs;
use rpds::RedBlackTreeMapSync;

use crate::{Change, ContainerId, Held, Kind, Object, Record, ResourceVersion, Scope, Text, Uid};

/// Everything that was known at one moment. It never changes; a copy costs a few pointers and shares all records.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Snapshot {
    records: RedBlackTreeMapSync<Uid, Arc<Record>>,
    /// By kind, namespace and name: a name is used again.
    names: RedBlackTreeMapSync<(Kind, Text, Text), Arc<Vec<Uid>>>,
    /// Who has or had it.
    holders: RedBlackTreeMapSync<(Kind, Held), Arc<Vec<Uid>>>,
    /// The pod of each container, replaced ones included.
    containers: RedBlackTreeMapSync<ContainerId, Uid>,
}

impl Snapshot {
    /// All that is known of an object.
    pub fn record(&self, uid: &Uid) -> Option<&Record> {
        self.records.get(uid).map(Arc::as_ref)
    }

    /// Every record, by uid.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values().map(Arc::as_ref)
    }

    /// How many objects are known, gone ones included.
    pub fn len(&self) -> usize {
        self.records.size()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What happened, seen from here, if `objects` are all that there are in `scope` at `version`: deletions first, since what is gone frees its
    /// addresses. Objects of other kinds are left out; what is newer here than the list is left alone.
    pub fn differences(&self, scope: &Scope, version: ResourceVersion, objects: Vec<Object>, at: UnixNs) -> Vec<Change> {
        let objects: Vec<Object> = objects.into_iter().filter(|object| object.kind() == scope.kind).collect();
        let listed: BTreeSet<Uid> = objects.iter().map(|object| object.meta().uid.clone()).collect();
        let within = |record: &&Record| {
            let meta = record.object.meta();
            record.kind() == scope.kind && scope.namespace.as_ref().is_none_or(|namespace| *namespace == meta.namespace)
        };
        let missing = self.records().filter(within).filter(|record| {
            record.gone.is_none() && !listed.contains(record.uid()) && (version.0 == 0 || record.object.meta().version <= version)
        });
        let mut changes: Vec<Change> = missing.map(|record| Change::gone(record.uid().clone(), version, at)).collect();
        let news = objects.into_iter().filter(|object| self.record(&object.meta().uid).is_none_or(|known| known.is_outdated_by(object)));
        changes.extend(news.map(|object| Change::put(object, at)));
        changes
    }

    pub(crate) fn shared(&self, uid: &Uid) -> Option<Arc<Record>> {
        self.records.get(uid).cloned()
    }

    pub(crate) fn container_pod(&self, id: &ContainerId) -> Option<&Uid> {
        self.containers.get(id)
    }

    pub(crate) fn holders(&self, kind: Kind, what: &Held) -> impl Iterator<Item = &Record> {
        let uids = self.holders.get(&(kind, what.clone())).map_or(&[][..], |uids| uids.as_slice());
        uids.iter().filter_map(|uid| self.record(uid))
    }

    pub(crate) fn named(&self, kind: Kind, namespace: &str, name: &str) -> impl Iterator<Item = &Record> {
        let uids = self.names.get(&(kind, namespace.into(), name.into())).map_or(&[][..], |uids| uids.as_slice());
        uids.iter().filter_map(|uid| self.record(uid))
    }

    /// Puts a record in place of what was known of its object.
    pub(crate) fn insert(&mut self, record: Record) {
        let uid = record.uid().clone();
        let old = self.shared(&uid);
        let (was, is) = (old.as_deref().map(indexed).unwrap_or_default(), indexed(&record));
        self.remove_from_indexes(&uid, was.difference(&is));
        for entry in is.difference(&was) {
            match entry {
                Entry::Name(key) => add(&mut self.names, key, &uid),
                Entry::Holder(key) => add(&mut self.holders, key, &uid),
                Entry::Container(id) => self.containers.insert_mut(id.clone(), uid.clone()),
            }
        }
        self.records.insert_mut(uid, Arc::new(record));
    }

    /// Forgets an object.
    pub(crate) fn remove(&mut self, uid: &Uid) -> Option<Arc<Record>> {
        let record = self.shared(uid)?;
        self.remove_from_indexes(uid, indexed(&record).iter());
        self.records.remove_mut(uid);
        Some(record)
    }

    fn remove_from_indexes<'a>(&mut self, uid: &Uid, entries: impl Iterator<Item = &'a Entry>) {
        for entry in entries {
            match entry {
                Entry::Name(key) => take(&mut self.names, key, uid),
                Entry::Holder(key) => take(&mut self.holders, key, uid),
                Entry::Container(id) if self.containers.get(id) == Some(uid) => {
                    self.containers.remove_mut(id);
                }
                Entry::Container(_) => {}
            }
        }
    }
}

/// A place in an index.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Name((Kind, Text, Text)),
    Holder((Kind, Held)),
    Container(ContainerId),
}

fn indexed(record: &Record) -> BTreeSet<Entry> {
    let (kind, meta) = (record.kind(), record.object.meta());
    let name = Entry::Name((kind, meta.namespace.clone(), meta.name.clone()));
    let held = record.held.iter().map(|tenure| Entry::Holder((kind, tenure.what.clone())));
    let containers = record.all_containers().map(|container| Entry::Container(container.id.clone()));
    std::iter::once(name).chain(held).chain(containers).collect()
}

fn add<K: Ord + Clone>(index: &mut RedBlackTreeMapSync<K, Arc<Vec<Uid>>>, key: &K, uid: &Uid) {
    let mut uids = index.get(key).cloned().unwrap_or_default();
    if let Err(place) = uids.binary_search(uid) {
        Arc::make_mut(&mut uids).insert(place, uid.clone());
        index.insert_mut(key.clone(), uids);
    }
}

fn take<K: Ord + Clone>(index: &mut RedBlackTreeMapSync<K, Arc<Vec<Uid>>>, key: &K, uid: &Uid) {
    let Some(mut uids) = index.get(key).cloned() else { return };
    let Ok(place) = uids.binary_search(uid) else { return };
    if uids.len() == 1 {
        index.remove_mut(key);
    } else {
        Arc::make_mut(&mut uids).remove(place);
        index.insert_mut(key.clone(), uids);
    }
}
