//! Who listens where.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::port::Port;
use super::{Delivery, Fate};
use crate::link::{Link, Reason};
use crate::mailbox::Mailbox;
use crate::subject::{covers, is_exact};

type Fates = Box<dyn FnMut(Delivery<'_>) -> Fate + Send>;

/// Somebody who hears a message.
pub(super) type Receiver = (Arc<Port>, Arc<Mailbox>);

/// A group of subscriptions: a pattern and the group's name.
type Group = (Arc<str>, Arc<str>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) board: Mutex<Board>,
    /// Messages that arrive later.
    pub(super) late: TaskTracker,
    pub(super) payload_bytes_max: usize,
    next: AtomicU64,
}

#[derive(Default)]
pub(super) struct Board {
    stopped: bool,
    closed: bool,
    cuts: BTreeMap<String, Reason>,
    pub(super) fates: Option<Fates>,
    ports: Vec<Weak<Port>>,
    /// Subscriptions to one place, by its name.
    exact: BTreeMap<Arc<str>, Vec<Listener>>,
    /// Subscriptions to several.
    wild: Vec<Listener>,
    /// Whose turn it is in a group.
    turns: BTreeMap<Group, usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Listener {
    pub(super) number: u64,
    pub(super) pattern: Arc<str>,
    pub(super) group: Option<Arc<str>>,
    pub(super) port: Weak<Port>,
    pub(super) mailbox: Arc<Mailbox>,
}

impl Shared {
    pub(super) fn new(payload_bytes_max: usize) -> Self {
        Self { board: Mutex::default(), late: TaskTracker::new(), payload_bytes_max, next: AtomicU64::new(0) }
    }

    /// A number that nobody else has.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").field("stopped", &self.stopped).field("closed", &self.closed).finish_non_exhaustive()
    }
}

impl Board {
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn first_link(&self, name: &str) -> Link {
        match (self.stopped, self.cuts.get(name)) {
            (true, _) => Link::lost(Reason::Starting),
            (false, Some(reason)) => Link::lost(reason.clone()),
            (false, None) => Link::Connected,
        }
    }

    pub(super) fn add(&mut self, port: &Arc<Port>) {
        self.ports.retain(|port| port.strong_count() > 0);
        self.ports.push(Arc::downgrade(port));
    }

    /// Ends all subscriptions; whose connections are to be closed.
    pub(super) fn close(&mut self) -> Vec<Arc<Port>> {
        self.closed = true;
        for listener in std::mem::take(&mut self.exact).into_values().flatten().chain(std::mem::take(&mut self.wild)) {
            listener.mailbox.close();
        }
        std::mem::take(&mut self.ports).iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn set_stopped(&mut self, stopped: bool) {
        self.stopped = stopped;
        self.refresh(|_name| true);
    }

    pub(super) fn set_cut(&mut self, name: &str, reason: Option<Reason>) {
        match reason {
            Some(reason) => self.cuts.insert(name.to_owned(), reason),
            None => self.cuts.remove(name),
        };
        self.refresh(|other| other == name);
    }

    fn refresh(&self, concerns: impl Fn(&str) -> bool) {
        for port in self.ports.iter().filter_map(Weak::upgrade).filter(|port| concerns(port.name())) {
            let reason = if self.stopped { Some(&Reason::Lost) } else { self.cuts.get(port.name()) };
            port.refresh(reason);
        }
    }

    pub(super) fn listen(&mut self, listener: Listener) {
        if is_exact(&listener.pattern) {
            self.exact.entry(Arc::clone(&listener.pattern)).or_default().push(listener);
        } else {
            self.wild.push(listener);
        }
    }

    pub(super) fn forget(&mut self, number: u64, pattern: &Arc<str>) {
        let still_used = if let Some(listeners) = self.exact.get_mut(pattern) {
            listeners.retain(|listener| listener.number != number);
            !listeners.is_empty()
        } else {
            self.wild.retain(|listener| listener.number != number);
            self.wild.iter().any(|listener| listener.pattern == *pattern)
        };
        if !still_used {
            self.exact.remove(pattern);
            self.turns.retain(|(of, _group), _turn| of != pattern);
        }
    }

    /// Who hears what is sent there: every subscription of its own, and one of each group in turn.
    pub(super) fn receivers(&mut self, subject: &Arc<str>) -> Vec<Receiver> {
        let exact = self.exact.get(subject).into_iter().flatten();
        let wild = self.wild.iter().filter(|listener| covers(&listener.pattern, subject));
        let mut receivers: Vec<Receiver> = Vec::new();
        let mut groups: BTreeMap<Group, Vec<Receiver>> = BTreeMap::new();
        for listener in exact.chain(wild) {
            let Some(port) = listener.port.upgrade().filter(|port| port.is_connected()) else { continue };
            let receiver = (port, Arc::clone(&listener.mailbox));
            match &listener.group {
                None => receivers.push(receiver),
                Some(group) => groups.entry((Arc::clone(&listener.pattern), Arc::clone(group))).or_default().push(receiver),
            }
        }
        for (group, mut members) in groups {
            let turn = self.turns.entry(group).or_default();
            *turn = turn.wrapping_add(1);
            receivers.push(members.swap_remove(*turn % members.len()));
        }
        receivers
    }
}
