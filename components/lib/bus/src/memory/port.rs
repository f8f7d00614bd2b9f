//! One connection to the hub.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::board::{Listener, Receiver, Shared};
use super::{Delivery, Fate};
use crate::counts::{Counters, add};
use crate::error::Error;
use crate::link::{Link, Reason};
use crate::mailbox::{Letter, Mailbox, QueueLimits};

#[derive(Debug)]
pub(crate) struct Port {
    name: Arc<str>,
    shared: Arc<Shared>,
    /// Empty when it is closed.
    link: Mutex<Option<watch::Sender<Link>>>,
    counters: Arc<Counters>,
}

/// A subscription; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Entry {
    number: u64,
    pattern: Arc<str>,
    shared: Weak<Shared>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.board.lock().forget(self.number, &self.pattern);
        }
    }
}

impl Port {
    pub(super) fn new(name: Arc<str>, shared: Arc<Shared>, link: watch::Sender<Link>, counters: Arc<Counters>) -> Self {
        Self { name, shared, link: Mutex::new(Some(link)), counters }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn payload_bytes_max(&self) -> usize {
        self.shared.payload_bytes_max
    }

    pub(super) fn is_connected(&self) -> bool {
        self.link.lock().as_ref().is_some_and(|link| link.borrow().is_connected())
    }

    pub(super) fn close(&self) {
        self.link.lock().take();
    }

    /// Says how the connection is now: there is none for this reason, or there is one.
    pub(super) fn refresh(&self, reason: Option<&Reason>) {
        let link = self.link.lock();
        let Some(link) = link.as_ref() else { return };
        link.send_if_modified(|now| match (now.is_connected(), reason) {
            (true, Some(reason)) => {
                *now = Link::lost(reason.clone());
                add(&self.counters.disconnects, 1);
                true
            }
            (false, None) => {
                *now = Link::Connected;
                true
            }
            (true, None) | (false, Some(_)) => false,
        });
    }

    pub(crate) fn subscribe(self: &Arc<Self>, pattern: Arc<str>, group: Option<Arc<str>>, mailbox: &Arc<Mailbox>) -> Result<Entry, Error> {
        let number = self.shared.number();
        let (port, mailbox) = (Arc::downgrade(self), Arc::clone(mailbox));
        let mut board = self.shared.board.lock();
        if board.is_closed() {
            return Err(Error::Closed);
        }
        board.listen(Listener { number, pattern: Arc::clone(&pattern), group, port, mailbox });
        Ok(Entry { number, pattern, shared: Arc::downgrade(&self.shared) })
    }

    pub(crate) async fn request(self: &Arc<Self>, mut letter: Letter, deadline: Duration) -> Result<Bytes, Error> {
        let subject = Arc::clone(&letter.subject);
        let inbox: Arc<str> = format!("_INBOX.{}", self.shared.number()).into();
        // An answer is not a message for a subscription: it is counted nowhere.
        let mailbox = Mailbox::new(QueueLimits::default(), Arc::default());
        let _entry = self.subscribe(Arc::clone(&inbox), None, &mailbox)?;
        letter.reply = Some(inbox);
        if self.send(&letter)? == 0 {
            return Err(Error::NoResponder { subject });
        }
        match tokio::time::timeout(deadline, std::future::poll_fn(|cx| mailbox.poll(cx))).await {
            Ok(Some(answer)) => Ok(answer.payload),
            Ok(None) => Err(Error::Closed),
            Err(_) => Err(Error::Deadline { subject, after: deadline }),
        }
    }

    /// How many listen there, whatever becomes of the message.
    pub(crate) fn send(&self, letter: &Letter) -> Result<usize, Error> {
        let (bytes, bytes_max) = (letter.payload.len(), self.shared.payload_bytes_max);
        if bytes > bytes_max {
            return Err(Error::TooLarge { subject: Arc::clone(&letter.subject), bytes, bytes_max });
        }
        let mut board = self.shared.board.lock();
        if board.is_closed() {
            return Err(Error::Closed);
        }
        let receivers = board.receivers(&letter.subject);
        for receiver in &receivers {
            let delivery = Delivery { from: &self.name, to: receiver.0.name(), subject: &letter.subject };
            let fate = board.fates.as_mut().map_or(Fate::Deliver, |fates| fates(delivery));
            self.deliver(letter, receiver, fate);
        }
        Ok(receivers.len())
    }

    fn deliver(&self, letter: &Letter, (port, mailbox): &Receiver, fate: Fate) {
        match fate {
            Fate::Deliver => mailbox.push(letter.clone()),
            Fate::Lose => {}
            Fate::Twice => {
                mailbox.push(letter.clone());
                mailbox.push(letter.clone());
            }
            Fate::Late(after) => {
                let (letter, port, mailbox) = (letter.clone(), Arc::downgrade(port), Arc::downgrade(mailbox));
                self.shared.late.spawn(async move {
                    tokio::time::sleep(after).await;
                    // A subscription that ended meanwhile, or is cut off, hears nothing.
                    if let (Some(port), Some(mailbox)) = (port.upgrade(), mailbox.upgrade())
                        && port.is_connected()
                    {
                        mailbox.push(letter);
                    }
                });
            }
        }
    }
}
