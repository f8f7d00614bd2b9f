//! A store that a crashed process cannot reach any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use metadata::store::{Committed, Key, Memory, Page, Store, Transaction};

/// The store as one process sees it. What the process does after its death never happens.
#[derive(Debug, Clone)]
pub(crate) struct Grave {
    store: Memory,
    dead: Arc<AtomicBool>,
}

impl Grave {
    /// As a new process sees it.
    pub(crate) fn new(store: Memory) -> Grave {
        Grave { store, dead: Arc::default() }
    }

    /// The process is gone.
    pub(crate) fn bury(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    async fn alive(&self) {
        if self.dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Store for Grave {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, metadata::Error> {
        self.alive().await;
        self.store.get(key).await
    }

    async fn page(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, metadata::Error> {
        self.alive().await;
        self.store.page(prefix, after).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, metadata::Error> {
        self.alive().await;
        self.store.commit(transaction).await
    }
}
