use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{AddrParseError, IpAddr};
use std::ops::Bound;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ids::UnixNs;

/// What happened is told for as long. Reference: 24 h.
pub const RETENTION: Duration = Duration::from_hours(24);
/// Updates that are kept. With a churn of 100 pods a second those of some minutes that others have replaced, and all that live.
pub const LOG_ENTRIES_MAX: usize = 200_000;
/// The same in bytes of what they say.
pub const LOG_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How much is kept of what was replaced or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Updates, those of what lives included.
    pub entries_max: usize,
    /// Bytes of what they say.
    pub bytes_max: usize,
}

impl Default for LogLimits {
    fn default() -> LogLimits {
        LogLimits { entries_max: LOG_ENTRIES_MAX, bytes_max: LOG_BYTES_MAX }
    }
}

/// Who hears of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Kelvins: everything.
    All,
    /// The agent on the node with this address: what touches the node.
    Host(IpAddr),
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::All => f.write_str("all"),
            Topic::Host(address) => address.fmt(f),
        }
    }
}

impl FromStr for Topic {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Topic, AddrParseError> {
        if text == "all" { Ok(Topic::All) } else { text.parse().map(Topic::Host) }
    }
}

/// An update as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place among all updates.
    pub version: u64,
    /// When it was seen.
    pub at: UnixNs,
    /// What it is about: the next update of the same subject replaces it.
    pub subject: Arc<str>,
    /// It says that its subject is gone.
    pub gone: bool,
    /// Who hears of it.
    pub topics: Vec<Topic>,
    /// What it says, encoded.
    pub body: Arc<[u8]>,
}

/// An update on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The update.
    pub entry: Entry,
    /// For each topic the update before it there; 0: it is the first.
    pub previous: Vec<(Topic, u64)>,
}

/// What changed since it was written last.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct UnsavedEntries {
    /// New ones.
    pub added: BTreeSet<u64>,
    /// Ones that are there no more.
    pub dropped: BTreeSet<u64>,
}

/// What was forgotten. Each only grows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// After the retention.
    pub expired: u64,
    /// Before it, for want of room.
    pub evicted: u64,
}

/// Every update that an agent may have missed, with the newest one of everything that lives.
#[derive(Debug, Default, Clone)]
pub struct UpdateLog {
    entries: BTreeMap<u64, Entry>,
    newest: BTreeMap<Arc<str>, u64>,
    /// The updates of each topic that are kept. The last one is for the retention, as the next one names it.
    topics: BTreeMap<Topic, BTreeSet<u64>>,
    last: u64,
    bytes: usize,
    unsaved: UnsavedEntries,
    limits: LogLimits,
    forgotten: Forgotten,
}

impl UpdateLog {
    /// Knows what was kept.
    pub fn load(entries: impl IntoIterator<Item = Entry>) -> UpdateLog {
        let mut log = UpdateLog::default();
        for entry in entries {
            log.insert(entry);
        }
        log
    }

    /// Knows nothing, and keeps less or more than by default.
    pub fn with_limits(limits: LogLimits) -> UpdateLog {
        UpdateLog { limits, ..UpdateLog::default() }
    }

    /// What was forgotten so far.
    pub fn forgotten(&self) -> Forgotten {
        self.forgotten
    }

    /// The newest version of all.
    pub fn version(&self) -> u64 {
        self.last
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives an update its place. `None`: it says what is known.
    pub fn publish(&mut self, subject: &str, gone: bool, topics: Vec<Topic>, body: Vec<u8>, at: UnixNs) -> Option<Published> {
        match self.newest(subject) {
            Some(known) if *known.body == *body && topics.iter().all(|topic| known.topics.contains(topic)) => return None,
            None if gone => return None,
            Some(_) | None => {}
        }
        let previous = topics.iter().map(|topic| (*topic, self.last_of(*topic))).collect();
        let entry = Entry { version: self.last + 1, at, subject: subject.into(), gone, topics, body: body.into() };
        self.unsaved.added.insert(entry.version);
        self.insert(entry.clone());
        Some(Published { entry, previous })
    }

    /// The newest update about something.
    pub fn newest(&self, subject: &str) -> Option<&Entry> {
        self.newest.get(subject).and_then(|version| self.entries.get(version))
    }

    /// The newest updates about everything whose subject begins with `prefix`.
    pub fn newest_below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Entry> {
        let from = self
            .newest
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(subject, _)| subject.starts_with(prefix));
        from.filter_map(|(_, version)| self.entries.get(version))
    }

    /// What is kept of a topic from `from` (inclusive) to `to` (exclusive; 0: to the newest), each with the one that is kept before it.
    pub fn between(&self, topic: Topic, from: u64, to: u64) -> Vec<(u64, &Entry)> {
        let Some(versions) = self.topics.get(&topic) else { return Vec::new() };
        let to = if to == 0 { u64::MAX } else { to };
        if from >= to {
            return Vec::new();
        }
        let mut previous = versions.range(..from).next_back().copied().unwrap_or(0);
        let mut found = Vec::new();
        for version in versions.range(from..to) {
            if let Some(entry) = self.entries.get(version) {
                found.push((previous, entry));
                previous = *version;
            }
        }
        found
    }

    /// The first and the last one of a topic that are kept; zeros if none is.
    pub fn available(&self, topic: Topic) -> (u64, u64) {
        let versions = self.topics.get(&topic);
        let first = versions.and_then(BTreeSet::first).copied().unwrap_or(0);
        (first, self.last_of(topic))
    }

    /// Forgets what was replaced or is gone, and is older than the retention; and what was replaced where there is too much.
    pub fn expire(&mut self, now: UnixNs) {
        let oldest = now.0.saturating_sub(i64::try_from(RETENTION.as_nanos()).unwrap_or(i64::MAX));
        let old: Vec<u64> = self.entries.values().take_while(|entry| entry.at.0 <= oldest).map(|entry| entry.version).collect();
        for version in old {
            // Also the last word on a node that is gone for as long: nodes come and go.
            if self.is_needless(version, true) {
                self.remove(version);
                self.forgotten.expired += 1;
            }
        }
        if self.has_room() {
            return;
        }
        let all: Vec<u64> = self.entries.keys().copied().collect();
        for gone_too in [false, true] {
            for version in &all {
                if self.has_room() {
                    return;
                }
                if self.is_needless(*version, gone_too) && !self.is_last_of_a_topic(*version) {
                    self.remove(*version);
                    self.forgotten.evicted += 1;
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.entries.len() <= self.limits.entries_max && self.bytes <= self.limits.bytes_max
    }

    /// What changed since the last call. Give it back with [`Self::put_back`] if it could not be written.
    pub fn take_unsaved(&mut self) -> UnsavedEntries {
        std::mem::take(&mut self.unsaved)
    }

    /// What could not be written is written with what comes next.
    pub fn put_back(&mut self, unsaved: UnsavedEntries) {
        self.unsaved.added.extend(unsaved.added);
        self.unsaved.dropped.extend(unsaved.dropped);
    }

    /// One that is kept.
    pub fn entry(&self, version: u64) -> Option<&Entry> {
        self.entries.get(&version)
    }

    fn last_of(&self, topic: Topic) -> u64 {
        self.topics.get(&topic).and_then(BTreeSet::last).copied().unwrap_or(0)
    }

    /// Whether somebody who begins now would know the same without it.
    fn is_needless(&self, version: u64, gone_too: bool) -> bool {
        let Some(entry) = self.entries.get(&version) else { return false };
        let replaced = self.newest.get(&entry.subject) != Some(&version);
        // The newest of all is kept: versions are counted on from it after a restart.
        (replaced || (gone_too && entry.gone)) && version != self.last
    }

    fn is_last_of_a_topic(&self, version: u64) -> bool {
        self.entries.get(&version).is_some_and(|entry| entry.topics.iter().any(|topic| self.last_of(*topic) == version))
    }

    fn insert(&mut self, entry: Entry) {
        self.last = self.last.max(entry.version);
        self.bytes += entry.body.len();
        for topic in &entry.topics {
            self.topics.entry(*topic).or_default().insert(entry.version);
        }
        let newest = self.newest.entry(Arc::clone(&entry.subject)).or_default();
        *newest = entry.version.max(*newest);
        self.entries.insert(entry.version, entry);
    }

    fn remove(&mut self, version: u64) {
        let Some(entry) = self.entries.remove(&version) else { return };
        self.bytes -= entry.body.len();
        for topic in &entry.topics {
            if let Some(versions) = self.topics.get_mut(topic) {
                versions.remove(&version);
                if versions.is_empty() {
                    self.topics.remove(topic);
                }
            }
        }
        if self.newest.get(&entry.subject) == Some(&version) {
            self.newest.remove(&entry.subject);
        }
        if !self.unsaved.added.remove(&version) {
            self.unsaved.dropped.insert(version);
        }
    }
}
