//! Where state rests: keys, values, transactions. A file on a volume, etcd, or nothing but memory; `tests/store.rs` holds all three to the same contract.
//!
//! ```text
//! Store ── get · page · commit(conditions, writes) ──┬─▶ Embedded   one file (redb), one process, every commit on disk
//!                                                   ├─▶ Etcd       v3, TLS, several endpoints
//!                                                   └─▶ Memory     simulation
//! ```

mod embedded;
mod etcd;
mod fence;
mod memory;
mod record;
mod transaction;
mod wire;

pub use embedded::Embedded;
pub use etcd::{Etcd, EtcdSettings, EtcdTls, Maintained};
pub use fence::Fence;
pub use memory::Memory;
pub(crate) use record::{decode, encode};
pub use transaction::{Committed, Condition, Key, Transaction, Write};

use crate::Error;

/// A name is short; etcd and redb would take more. Room for two UUIDs and a pod's name.
pub const KEY_BYTES_MAX: usize = 1024;
/// All keys and values of one transaction. etcd refuses requests above 1.5 MiB.
pub const TRANSACTION_BYTES_MAX: usize = 1024 * 1024;
/// Conditions, and writes, of one transaction. etcd's default `--max-txn-ops`.
pub const TRANSACTION_OPERATIONS_MAX: usize = 128;
/// Entries in one page. With values of 1 KiB well within a gRPC message of 4 MiB.
pub const PAGE_ENTRIES_MAX: usize = 500;

/// A part of a range, by key.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most [`PAGE_ENTRIES_MAX`].
    pub entries: Vec<(Key, Vec<u8>)>,
    /// Whether others follow.
    pub more: bool,
}

/// Keys and values that survive. What was committed is there for every later call, also after the process or the machine died.
#[async_trait::async_trait]
pub trait Store: std::fmt::Debug + Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// The store cannot be reached or read.
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error>;

    /// Entries whose key begins with `prefix`, those after `after`, by key.
    ///
    /// # Errors
    /// As [`Self::get`].
    async fn page(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Error>;

    /// Does all writes if all conditions hold, else none.
    ///
    /// # Errors
    /// The transaction is too large or writes a key twice; the store is full, cannot be written or reached. Nothing was done then, but for
    /// [`Error::EtcdUncertain`].
    async fn commit(&self, transaction: Transaction) -> Result<Committed, Error>;
}

impl dyn Store + '_ {
    /// Every entry whose key begins with `prefix`, by key. Pages are read one after the other: what is written meanwhile may be in it or not.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn scan(&self, prefix: &Key) -> Result<Vec<(Key, Vec<u8>)>, Error> {
        let mut entries: Vec<(Key, Vec<u8>)> = Vec::new();
        loop {
            let page = self.page(prefix, entries.last().map(|(key, _)| key)).await?;
            entries.extend(page.entries);
            if !page.more {
                return Ok(entries);
            }
        }
    }

    /// Sets one key, whatever was there.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn put(&self, key: Key, value: Vec<u8>) -> Result<(), Error> {
        self.commit(Transaction::new().put(key, value)).await.map(|_| ())
    }

    /// Removes one key, if it is there.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn delete(&self, key: Key) -> Result<(), Error> {
        self.commit(Transaction::new().delete(key)).await.map(|_| ())
    }
}
