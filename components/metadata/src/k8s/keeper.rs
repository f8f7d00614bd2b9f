//! The log in the store.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::UnixNs;
use serde::{Deserialize, Serialize};

use super::log::{Entry, Topic, UnsavedEntries, UpdateLog};
use crate::Error;
use crate::store::{Fence, Key, Store, Transaction, decode, encode};

const UPDATES: &str = "/fullResourceUpdate/";
/// Updates in one transaction.
const COMMIT_ENTRIES_MAX: usize = 100;
/// Bytes of values in one transaction, so that it stays below the store's limit with its keys.
const COMMIT_BYTES_MAX: usize = 768 * 1024;
/// One update with more is not kept: nothing that Kubernetes stores is as large.
const ENTRY_BYTES_MAX: usize = 512 * 1024;

/// Writes what changed in a log, and reads it back.
#[derive(Debug)]
pub struct LogKeeper {
    fence: Fence,
}

impl LogKeeper {
    /// What was kept.
    ///
    /// # Errors
    /// The store cannot be read, or holds a record that cannot be read.
    pub async fn load(store: &dyn Store, fence: Fence) -> Result<(LogKeeper, UpdateLog), Error> {
        let mut entries = Vec::new();
        for (key, bytes) in store.scan(&Key::new(UPDATES)?).await? {
            entries.push(decode::<EntryRecord>(key.as_str(), &bytes)?.read(key.as_str())?);
        }
        Ok((LogKeeper { fence }, UpdateLog::load(entries)))
    }

    /// Writes what changed. When it fails the log still has it to write, and nobody must be told of it yet.
    ///
    /// # Errors
    /// The store refuses, or somebody else writes to it ([`Error::Conflict`]): then this process is no longer the leader.
    pub async fn save(&self, log: &mut UpdateLog, store: &dyn Store) -> Result<(), Error> {
        let unsaved = log.take_unsaved();
        let written = self.write(log, &unsaved, store).await;
        if written.is_err() {
            log.put_back(unsaved);
        }
        written
    }

    async fn write(&self, log: &UpdateLog, unsaved: &UnsavedEntries, store: &dyn Store) -> Result<(), Error> {
        let (mut transaction, mut entries, mut bytes) = (Transaction::new(), 0, 0);
        for version in unsaved.added.iter().chain(&unsaved.dropped) {
            let at = Key::new(format!("{UPDATES}{version:020}"))?;
            let record = log.entry(*version).map(|entry| encode(&EntryRecord::of(entry)));
            let record = record.filter(|record| record.len() <= ENTRY_BYTES_MAX);
            let size = record.as_ref().map_or(0, Vec::len);
            if entries == COMMIT_ENTRIES_MAX || bytes + size > COMMIT_BYTES_MAX {
                self.fence.commit(store, std::mem::take(&mut transaction), UPDATES).await?;
                (entries, bytes) = (0, 0);
            }
            transaction = match record {
                Some(record) => transaction.put(at, record),
                None => transaction.delete(at),
            };
            (entries, bytes) = (entries + 1, bytes + size);
        }
        if transaction.is_empty() { Ok(()) } else { self.fence.commit(store, transaction, UPDATES).await }
    }
}

/// An update as it is kept. Fields are added, never given another meaning.
#[derive(Debug, Serialize, Deserialize)]
struct EntryRecord {
    version: u64,
    at_ns: i64,
    subject: String,
    gone: bool,
    /// `all` or a host's address.
    topics: Vec<String>,
    /// Base64.
    body: String,
}

impl EntryRecord {
    fn of(entry: &Entry) -> EntryRecord {
        EntryRecord {
            version: entry.version,
            at_ns: entry.at.0,
            subject: entry.subject.to_string(),
            gone: entry.gone,
            topics: entry.topics.iter().map(Topic::to_string).collect(),
            body: STANDARD.encode(&entry.body),
        }
    }

    fn read(self, key: &str) -> Result<Entry, Error> {
        let broken = |reason: &str| Error::Record { key: key.to_owned(), reason: reason.to_owned() };
        let topics = self.topics.iter().map(|topic| topic.parse()).collect::<Result<_, _>>();
        let body = STANDARD.decode(self.body).map_err(|_| broken("its body is not base64"))?;
        Ok(Entry {
            version: self.version,
            at: UnixNs(self.at_ns),
            subject: self.subject.into(),
            gone: self.gone,
            topics: topics.map_err(|_| broken("a topic is neither `all` nor an address"))?,
            body: Arc::from(body),
        })
    }
}
