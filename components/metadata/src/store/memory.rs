use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Committed, Key, PAGE_ENTRIES_MAX, Page, Store, Transaction, Write};
use crate::Error;

/// A store for simulations: copies are the same store, so that it survives whoever uses it.
#[derive(Debug, Default, Clone)]
pub struct Memory {
    entries: Arc<Mutex<BTreeMap<Key, Vec<u8>>>>,
}

impl Memory {
    /// A store of its own that holds the same.
    #[must_use]
    pub fn fork(&self) -> Memory {
        Memory { entries: Arc::new(Mutex::new(self.entries.lock().clone())) }
    }
}

#[async_trait::async_trait]
impl Store for Memory {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.entries.lock().get(key).cloned())
    }

    async fn page(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Error> {
        let entries = self.entries.lock();
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let mut found = entries.range::<Key, _>((from, Bound::Unbounded)).take_while(|(key, _)| key.after(prefix).is_some());
        let page = found.by_ref().take(PAGE_ENTRIES_MAX).map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Page { entries: page, more: found.next().is_some() })
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, Error> {
        transaction.check()?;
        let mut entries = self.entries.lock();
        if transaction.conditions.iter().any(|condition| entries.get(&condition.key) != condition.value.as_ref()) {
            return Ok(Committed::Conflict);
        }
        for write in transaction.writes {
            match write {
                Write::Put(key, value) => entries.insert(key, value),
                Write::Delete(key) => entries.remove(&key),
            };
        }
        Ok(Committed::Done)
    }
}
