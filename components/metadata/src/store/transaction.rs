use std::collections::BTreeSet;
use std::fmt;

use super::{KEY_BYTES_MAX, TRANSACTION_BYTES_MAX, TRANSACTION_OPERATIONS_MAX};
use crate::Error;

/// What a value is kept under: `/agent/…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// A key, or the beginning of keys.
    ///
    /// # Errors
    /// It is empty or longer than [`KEY_BYTES_MAX`].
    pub fn new(text: impl Into<String>) -> Result<Key, Error> {
        let text = text.into();
        if text.is_empty() || text.len() > KEY_BYTES_MAX {
            return Err(Error::Key { bytes: text.len(), max: KEY_BYTES_MAX });
        }
        Ok(Key(text))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows `prefix` in it.
    pub fn after(&self, prefix: &Key) -> Option<&str> {
        self.0.strip_prefix(prefix.as_str())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What must be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// This key
    pub key: Key,
    /// has this value; `None`: is not there.
    pub value: Option<Vec<u8>>,
}

/// What is done then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put(Key, Vec<u8>),
    /// Removes a key, if it is there.
    Delete(Key),
}

impl Write {
    /// Which key.
    pub fn key(&self) -> &Key {
        match self {
            Write::Put(key, _) | Write::Delete(key) => key,
        }
    }
}

/// All or nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub(super) conditions: Vec<Condition>,
    pub(super) writes: Vec<Write>,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Committed {
    /// It is done, and survives.
    Done,
    /// A condition does not hold; nothing was done.
    Conflict,
}

impl Transaction {
    /// Does nothing.
    pub fn new() -> Transaction {
        Transaction::default()
    }

    /// Only if `key` has this value, or none.
    #[must_use]
    pub fn expect(mut self, key: Key, value: Option<Vec<u8>>) -> Transaction {
        self.conditions.push(Condition { key, value });
        self
    }

    /// Sets a key.
    #[must_use]
    pub fn put(mut self, key: Key, value: Vec<u8>) -> Transaction {
        self.writes.push(Write::Put(key, value));
        self
    }

    /// Removes a key.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Transaction {
        self.writes.push(Write::Delete(key));
        self
    }

    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Holds it against the limits, which are the same for every store.
    pub(super) fn check(&self) -> Result<(), Error> {
        for (what, found) in [("conditions", self.conditions.len()), ("writes", self.writes.len())] {
            if found > TRANSACTION_OPERATIONS_MAX {
                return Err(Error::TooLarge { what, found, max: TRANSACTION_OPERATIONS_MAX });
            }
        }
        let conditions =
            self.conditions.iter().map(|condition| condition.key.as_str().len() + condition.value.as_ref().map_or(0, Vec::len));
        let writes = self.writes.iter().map(|write| match write {
            Write::Put(key, value) => key.as_str().len() + value.len(),
            Write::Delete(key) => key.as_str().len(),
        });
        let bytes = conditions.chain(writes).sum();
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(Error::TooLarge { what: "bytes", found: bytes, max: TRANSACTION_BYTES_MAX });
        }
        let mut seen = BTreeSet::new();
        match self.writes.iter().find(|write| !seen.insert(write.key())) {
            Some(write) => Err(Error::WrittenTwice { key: write.key().to_string() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn what_no_store_could_keep_is_refused() {
        assert!(matches!(Key::new(""), Err(Error::Key { bytes: 0, .. })));
        assert!(matches!(Key::new("x".repeat(KEY_BYTES_MAX + 1)), Err(Error::Key { bytes: 1025, .. })));
        let twice = Transaction::new().put(key("/a"), vec![]).delete(key("/a")).check().unwrap_err();
        assert_eq!(twice.to_string(), "a transaction writes `/a` twice");
        let large = Transaction::new().put(key("/a"), vec![0; TRANSACTION_BYTES_MAX]).check().unwrap_err();
        assert_eq!(large.to_string(), "a transaction of 1048578 bytes cannot be kept: 1048576 is the limit");
        let many = (0..=TRANSACTION_OPERATIONS_MAX).fold(Transaction::new(), |all, at| all.delete(key(&format!("/{at}"))));
        assert_eq!(many.check().unwrap_err().to_string(), "a transaction of 129 writes cannot be kept: 128 is the limit");
        assert!(Transaction::new().put(key("/a"), vec![0; TRANSACTION_BYTES_MAX - 2]).check().is_ok());
    }
}
