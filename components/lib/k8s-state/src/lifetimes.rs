//! Who holds what from when to when.

use std::collections::BTreeSet;
use std::time::Duration;

use ids::UnixNs;

use crate::limits::{ENDED_TENURES_MAX, REPLACED_CONTAINERS_MAX};
use crate::{Container, Held, Kind, Metrics, Object, Record, Snapshot, Tenure};

/// What a change of one object makes of it and of those whose address it took.
pub(crate) struct Renewed {
    pub(crate) record: Record,
    pub(crate) displaced: Vec<Record>,
}

/// The record of `object`, seen at `at`, after what `old` says of it.
pub(crate) fn renew(now: &Snapshot, old: Option<&Record>, object: Object, at: UnixNs) -> Renewed {
    let mut record = Record {
        object,
        gone: None,
        held: old.map(|old| old.held.clone()).unwrap_or_default(),
        replaced: old.map(|old| replaced(old, at)).unwrap_or_default(),
    };
    let current: BTreeSet<_> = record.object.containers().iter().map(|container| container.id.clone()).collect();
    record.replaced.retain(|container| !current.contains(&container.id));
    let wanted = record.object.holds();
    end_tenures(now, &mut record, &wanted, at);
    let created = record.object.meta().created;
    let first = if old.is_none() { created.min(at) } else { at };
    let mut displaced = Vec::new();
    for what in wanted {
        if record.tenures_of(&what).any(|tenure| tenure.until.is_none()) {
            continue;
        }
        let own = record.tenures_of(&what).filter_map(|tenure| tenure.until).max();
        let others = if record.kind() == Kind::Pod { take_over(now, &record, &what, at, &mut displaced) } else { None };
        let from = [Some(first), own, others].into_iter().flatten().max().unwrap_or(at);
        record.held.push(Tenure { what, from, until: None });
    }
    Renewed { record, displaced }
}

/// The record of an object that is gone.
pub(crate) fn end(now: &Snapshot, old: &Record, at: UnixNs) -> Record {
    let mut record = old.clone();
    record.gone = Some(at.max(record.object.meta().created));
    end_tenures(now, &mut record, &BTreeSet::new(), at);
    record
}

/// Ends those that the object no longer has. A pod that leaves or has left is taken out of its services first: it stays what it was to them, or
/// its last requests would be nobody's.
fn end_tenures(now: &Snapshot, record: &mut Record, wanted: &BTreeSet<Held>, at: UnixNs) {
    let leaves = |what: &Held| match what {
        Held::Pod(uid) => now.record(uid).is_some_and(|pod| pod.gone.is_some() || matches!(&pod.object, Object::Pod(pod) if pod.leaving)),
        Held::Address(_) => false,
    };
    for tenure in &mut record.held {
        if tenure.until.is_none() && !wanted.contains(&tenure.what) && !leaves(&tenure.what) {
            tenure.until = Some(at.max(tenure.from));
        }
    }
}

/// When the pods that had `what` before last did: an address has one holder. One that still has it loses it now, as its end was not seen.
fn take_over(now: &Snapshot, record: &Record, what: &Held, at: UnixNs, displaced: &mut Vec<Record>) -> Option<UnixNs> {
    let mut last = None;
    for other in now.holders(Kind::Pod, what).filter(|other| other.uid() != record.uid()) {
        for tenure in other.tenures_of(what) {
            last = last.max(Some(tenure.until.unwrap_or(at.max(tenure.from))));
        }
        if other.tenures_of(what).any(|tenure| tenure.until.is_none()) {
            let place = displaced.iter().position(|known| known.uid() == other.uid()).unwrap_or_else(|| {
                displaced.push(other.clone());
                displaced.len() - 1
            });
            for tenure in &mut displaced[place].held {
                if tenure.what == *what && tenure.until.is_none() {
                    tenure.until = Some(at.max(tenure.from));
                }
            }
        }
    }
    last
}

/// The containers that a newer state of their pod may have replaced, with an end.
fn replaced(old: &Record, at: UnixNs) -> Vec<Container> {
    let ended = old.object.containers().iter().map(|container| Container { stopped: container.stopped.or(Some(at)), ..container.clone() });
    old.replaced.iter().cloned().chain(ended).collect()
}

/// Forgets what ended before the retention, and what is too much.
pub(crate) fn trim(record: &mut Record, retention: Duration, at: UnixNs, metrics: &mut Metrics) {
    let oldest = before(at, retention);
    record.held.retain(|tenure| tenure.until.is_none_or(|until| until > oldest));
    let ended = record.held.iter().filter(|tenure| tenure.until.is_some()).count();
    let mut surplus = ended.saturating_sub(ENDED_TENURES_MAX);
    metrics.tenures_evicted += surplus as u64;
    record.held.retain(|tenure| {
        let goes = surplus > 0 && tenure.until.is_some();
        surplus -= usize::from(goes);
        !goes
    });
    record.replaced.retain(|container| container.stopped.is_none_or(|stopped| stopped > oldest));
    let surplus = record.replaced.len().saturating_sub(REPLACED_CONTAINERS_MAX);
    metrics.containers_evicted += surplus as u64;
    record.replaced.drain(..surplus);
}

/// `span` before `time`.
pub(crate) fn before(time: UnixNs, span: Duration) -> UnixNs {
    UnixNs(time.0.saturating_sub(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
}
