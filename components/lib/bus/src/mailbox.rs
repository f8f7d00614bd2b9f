//! The bounded queue between the bus and one reader.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::Mutex;

use crate::counts::{Counters, add};

/// A reader that is further behind than this loses the oldest. Reference: the queue of the metadata service has 8192 messages.
pub const QUEUE_MESSAGES_MAX: usize = 8192;

/// What waits for one reader may not take more memory than this: 64 of the largest messages, thousands of ordinary ones.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A message as it travels.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) subject: Arc<str>,
    pub(crate) sender: Option<Arc<str>>,
    pub(crate) reply: Option<Arc<str>>,
    pub(crate) payload: Bytes,
}

impl Letter {
    /// What it takes in memory, about.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.payload.len() + self.subject.len()
    }
}

/// Bounds of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Most messages.
    pub messages_max: usize,
    /// Most bytes.
    pub bytes_max: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { messages_max: QUEUE_MESSAGES_MAX, bytes_max: QUEUE_BYTES_MAX }
    }
}

#[derive(Debug)]
pub(crate) struct Mailbox {
    limits: QueueLimits,
    counters: Arc<Counters>,
    queue: Mutex<Queue>,
    reader: AtomicWaker,
}

#[derive(Debug, Default)]
struct Queue {
    letters: VecDeque<Letter>,
    bytes: usize,
    dropped: u64,
    closed: bool,
}

impl Mailbox {
    pub(crate) fn new(limits: QueueLimits, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self { limits, counters, queue: Mutex::default(), reader: AtomicWaker::new() })
    }

    /// Takes a letter in. What no longer fits goes, oldest first; the newest stays even if it alone is too large.
    pub(crate) fn push(&self, letter: Letter) {
        let dropped = {
            let mut queue = self.queue.lock();
            if queue.closed {
                return;
            }
            queue.push(letter, self.limits)
        };
        add(&self.counters.received, 1);
        add(&self.counters.dropped, dropped);
        self.reader.wake();
    }

    /// No letter comes any more; those that wait can still be read.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.reader.wake();
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.queue.lock().dropped
    }

    /// The oldest letter; `None` when the mailbox is closed and empty. One reader at a time.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Letter>> {
        // Registered before looking: a letter that comes in between wakes.
        self.reader.register(cx.waker());
        let mut queue = self.queue.lock();
        match queue.pop() {
            Some(letter) => Poll::Ready(Some(letter)),
            None if queue.closed => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Queue {
    fn push(&mut self, letter: Letter, limits: QueueLimits) -> u64 {
        self.bytes += letter.bytes();
        self.letters.push_back(letter);
        let mut dropped = 0;
        while self.letters.len() > 1 && (self.letters.len() > limits.messages_max || self.bytes > limits.bytes_max) {
            self.pop();
            dropped += 1;
        }
        self.dropped += dropped;
        dropped
    }

    fn pop(&mut self) -> Option<Letter> {
        let letter = self.letters.pop_front()?;
        self.bytes -= letter.bytes();
        Some(letter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letter(bytes: usize) -> Letter {
        Letter { subject: "s".into(), sender: None, reply: None, payload: Bytes::from(vec![0; bytes]) }
    }

    proptest! {
        #[test]
        fn a_queue_stays_within_its_bounds_and_loses_the_oldest_alone(
            sizes in proptest::collection::vec(0_usize..400, 1..60),
            messages_max in 1_usize..20,
            bytes_max in 1_usize..4000,
        ) {
            let limits = QueueLimits { messages_max, bytes_max };
            let mut queue = Queue::default();
            let dropped: u64 = sizes.iter().map(|size| queue.push(letter(*size), limits)).sum();
            prop_assert!(queue.letters.len() == 1 || (queue.letters.len() <= messages_max && queue.bytes <= bytes_max));
            prop_assert_eq!(queue.bytes, queue.letters.iter().map(Letter::bytes).sum::<usize>());
            let kept: Vec<usize> = queue.letters.iter().map(|letter| letter.payload.len()).collect();
            prop_assert_eq!(&kept[..], &sizes[sizes.len() - kept.len()..]);
            prop_assert_eq!((dropped, queue.dropped), ((sizes.len() - kept.len()) as u64, dropped));
        }
    }
}
