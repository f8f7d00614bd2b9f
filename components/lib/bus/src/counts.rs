use std::sync::atomic::{AtomicU64, Ordering};

/// What a bus has carried and lost since it was made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Messages handed over for sending, questions and answers included.
    pub sent_messages: u64,
    /// Messages that came in for one of our subscriptions.
    pub received_messages: u64,
    /// Of those, the ones that went unread because their reader was slow.
    pub dropped_messages: u64,
    /// Of those, the ones that are not of the type that belongs there.
    pub undecodable_messages: u64,
    /// How often the connection ended.
    pub disconnects: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) undecodable: AtomicU64,
    pub(crate) disconnects: AtomicU64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            sent_messages: of(&self.sent),
            received_messages: of(&self.received),
            dropped_messages: of(&self.dropped),
            undecodable_messages: of(&self.undecodable),
            disconnects: of(&self.disconnects),
        }
    }
}

/// Adds and says what it was before.
pub(crate) fn add(counter: &AtomicU64, count: u64) -> u64 {
    counter.fetch_add(count, Ordering::Relaxed)
}
