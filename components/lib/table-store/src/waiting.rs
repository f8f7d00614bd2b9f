use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

/// Cursors that have come to the end of a table: the next rows wake each once. There is at most one entry for each cursor.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    wakers: Mutex<BTreeMap<u64, Waker>>,
    next_place: AtomicU64,
}

impl Waiting {
    /// A cursor's own place.
    pub(crate) fn place(&self) -> u64 {
        self.next_place.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn register(&self, place: u64, waker: &Waker) {
        let before = self.wakers.lock().insert(place, waker.clone());
        // Not under the lock: with its waker a task may go, and with it a cursor.
        drop(before);
    }

    pub(crate) fn forget(&self, place: u64) {
        let waker = self.wakers.lock().remove(&place);
        drop(waker);
    }

    /// Costs the writer what it takes to put a task into a queue, for each reader.
    pub(crate) fn wake(&self) {
        let wakers = std::mem::take(&mut *self.wakers.lock());
        wakers.into_values().for_each(Waker::wake);
    }
}
