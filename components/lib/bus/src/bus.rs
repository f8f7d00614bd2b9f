use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::watch;

use crate::counts::{Counters, Counts, add};
use crate::error::Error;
use crate::link::{Link, Reason};
use crate::mailbox::{Letter, Mailbox, QueueLimits};
use crate::repeat::Repeat;
use crate::subject::{Pattern, Subject, check};
use crate::subscription::{Received, Subscription};
use crate::{Pace, memory, nats};

/// A connection to the bus, under a name. Clones are cheap and are the same connection.
///
/// That a message was sent means that it was handed over, not that it arrived: whatever must arrive is repeated until it is answered.
#[derive(Debug, Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: Arc<str>,
    limits: QueueLimits,
    counters: Arc<Counters>,
    link: watch::Receiver<Link>,
    wire: Wire,
}

/// What carries the messages.
#[derive(Debug)]
pub(crate) enum Wire {
    Nats(nats::Connection),
    Memory(Arc<memory::Port>),
}

/// What keeps a subscription; dropping it ends it.
#[derive(Debug)]
#[allow(dead_code, reason = "held for what happens when they are dropped")]
pub(crate) enum Held {
    Nats(nats::Pump),
    Memory(memory::Entry),
}

impl Bus {
    pub(crate) fn new(name: Arc<str>, limits: QueueLimits, counters: Arc<Counters>, link: watch::Receiver<Link>, wire: Wire) -> Self {
        Self { inner: Arc::new(Inner { name, limits, counters, link, wire }) }
    }

    /// The name that receivers see.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Whether it is connected, now and from now on.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.inner.link.clone()
    }

    /// What it has carried and lost.
    pub fn counts(&self) -> Counts {
        self.inner.counters.snapshot()
    }

    /// The largest message that the other end takes, with what travels beside it.
    pub fn payload_bytes_max(&self) -> usize {
        match &self.inner.wire {
            Wire::Nats(connection) => connection.payload_bytes_max(),
            Wire::Memory(port) => port.payload_bytes_max(),
        }
    }

    /// Waits for a connection. For those who want to know at once; a service just goes on and is connected when it is.
    ///
    /// # Errors
    /// [`Error::Disconnected`] with the reason after `deadline`, or sooner if someone has to change something first.
    pub async fn connected(&self, deadline: Duration) -> Result<(), Error> {
        let mut link = self.link();
        let settled = |link: &Link| match link {
            Link::Connected => true,
            Link::Disconnected { reason, .. } => reason.is_configuration(),
        };
        // Closed or too late: what is known by then is said.
        let _in_time = tokio::time::timeout(deadline, link.wait_for(settled)).await.is_ok();
        self.require_connected()
    }

    /// Sends a message to whoever listens. Waits while the server takes nothing more.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Disconnected`], [`Error::Closed`]. It was not sent then.
    pub async fn publish<T: Message>(&self, subject: &Subject<T>, message: &T) -> Result<(), Error> {
        self.send(self.letter(subject.text(), message)).await
    }

    /// Sends a question and waits for the first answer.
    ///
    /// # Errors
    /// As [`Self::publish`], at once [`Error::NoResponder`] if nobody listens, [`Error::Deadline`] if nobody answers,
    /// [`Error::Undecodable`] if the answer is none.
    pub async fn request<T, R>(&self, subject: &Subject<T>, message: &T, deadline: Duration) -> Result<R, Error>
    where
        T: Message,
        R: Message + Default,
    {
        self.require_connected()?;
        let letter = self.letter(subject.text(), message);
        add(&self.inner.counters.sent, 1);
        let payload = match &self.inner.wire {
            Wire::Nats(connection) => self.or_disconnected(connection.request(letter, deadline)).await?,
            Wire::Memory(port) => self.or_disconnected(port.request(letter, deadline)).await?,
        };
        R::decode(payload).map_err(|source| Error::Undecodable { subject: subject.text(), source })
    }

    /// Answers a question.
    ///
    /// # Errors
    /// As [`Self::publish`]; [`Error::NotAsked`] if it was none.
    pub async fn answer<T, R: Message>(&self, question: &Received<T>, answer: &R) -> Result<(), Error> {
        let reply = question.reply.clone().ok_or_else(|| Error::NotAsked { subject: Arc::clone(&question.subject) })?;
        self.send(self.letter(reply, answer)).await
    }

    /// Listens. What anybody sends after this has returned is heard, if the bus is connected; otherwise, what is sent after it is.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::Deadline`] if the server does not confirm it.
    pub async fn subscribe<T>(&self, pattern: impl Into<Pattern<T>>) -> Result<Subscription<T>, Error> {
        self.listen(pattern.into(), None).await
    }

    /// Listens as one of a group: each message goes to one of those who subscribed with the same pattern and group.
    ///
    /// # Errors
    /// As [`Self::subscribe`]; [`Error::Name`] if the group has a name that cannot be.
    pub async fn subscribe_in_group<T>(&self, pattern: impl Into<Pattern<T>>, group: &str) -> Result<Subscription<T>, Error> {
        check(group, "a group", false)?;
        self.listen(pattern.into(), Some(group)).await
    }

    async fn listen<T>(&self, pattern: Pattern<T>, group: Option<&str>) -> Result<Subscription<T>, Error> {
        let mailbox = Mailbox::new(self.inner.limits, Arc::clone(&self.inner.counters));
        let held = match &self.inner.wire {
            Wire::Nats(connection) => Held::Nats(connection.subscribe(&pattern.text(), group, &mailbox).await?),
            Wire::Memory(port) => Held::Memory(port.subscribe(pattern.text(), group.map(Into::into), &mailbox)?),
        };
        // Until the other end has seen it. A connection that ends meanwhile subscribes again by itself.
        match self.flush().await {
            Ok(()) | Err(Error::Disconnected { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(Subscription::new(pattern, mailbox, self.clone(), held))
    }

    /// Waits until the other end has seen everything that was sent and subscribed so far.
    ///
    /// # Errors
    /// [`Error::Disconnected`], [`Error::Closed`]; [`Error::Deadline`] if it does not answer.
    pub async fn flush(&self) -> Result<(), Error> {
        self.require_connected()?;
        match &self.inner.wire {
            Wire::Nats(connection) => self.or_disconnected(connection.flush()).await,
            // What is sent in memory has arrived.
            Wire::Memory(_) => Ok(()),
        }
    }

    /// Says something again and again, until the answer that is awaited comes on a subscription.
    pub fn repeat<'a, T>(&'a self, subject: &'a Subject<T>, message: &'a T, pace: Pace) -> Repeat<'a, T> {
        Repeat::new(self, subject, message, pace)
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    fn letter<T: Message>(&self, subject: Arc<str>, message: &T) -> Letter {
        let payload = Bytes::from(message.encode_to_vec());
        Letter { subject, sender: Some(Arc::clone(&self.inner.name)), reply: None, payload }
    }

    async fn send(&self, letter: Letter) -> Result<(), Error> {
        self.require_connected()?;
        match &self.inner.wire {
            Wire::Nats(connection) => self.or_disconnected(connection.send(letter)).await?,
            Wire::Memory(port) => {
                port.send(&letter)?;
            }
        }
        add(&self.inner.counters.sent, 1);
        Ok(())
    }

    fn require_connected(&self) -> Result<(), Error> {
        if self.inner.link.has_changed().is_err() {
            return Err(Error::Closed);
        }
        match &*self.inner.link.borrow() {
            Link::Connected => Ok(()),
            Link::Disconnected { reason, .. } => Err(Error::Disconnected { reason: reason.clone() }),
        }
    }

    /// Does it, unless the connection ends first.
    async fn or_disconnected<R>(&self, does: impl Future<Output = Result<R, Error>>) -> Result<R, Error> {
        let mut link = self.link();
        tokio::select! {
            biased;
            done = does => done,
            ended = link.wait_for(|link| !link.is_connected()) => match ended.as_deref() {
                Ok(Link::Disconnected { reason, .. }) => Err(Error::Disconnected { reason: reason.clone() }),
                Ok(Link::Connected) => Err(Error::Disconnected { reason: Reason::Lost }),
                Err(_) => Err(Error::Closed),
            },
        }
    }
}
