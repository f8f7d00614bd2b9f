use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::Stream;
use prost::Message;

use crate::bus::{Bus, Held};
use crate::counts::add;
use crate::mailbox::{Letter, Mailbox};
use crate::subject::Pattern;

/// A message that came in.
#[derive(Debug, Clone)]
pub struct Received<T> {
    /// What it says.
    pub message: T,
    /// Where it was sent to.
    pub subject: Arc<str>,
    /// The name of the connection that sent it, as that one says; a peer of another make says none. Good for logs, proof of nothing.
    pub sender: Option<Arc<str>>,
    pub(crate) reply: Option<Arc<str>>,
}

impl<T> Received<T> {
    /// Whether the sender waits for [`Bus::answer`].
    pub fn asks(&self) -> bool {
        self.reply.is_some()
    }
}

/// Messages of one pattern, in the order in which each sender sent them. Dropping it ends the subscription.
///
/// As a stream it ends when the bus is closed. A reader that is too slow loses the oldest, and is told how many.
#[derive(Debug)]
pub struct Subscription<T> {
    pattern: Pattern<T>,
    mailbox: Arc<Mailbox>,
    undecodable: u64,
    // Goes before the connection that it belongs to.
    _held: Held,
    bus: Bus,
}

impl<T> Subscription<T> {
    pub(crate) fn new(pattern: Pattern<T>, mailbox: Arc<Mailbox>, bus: Bus, held: Held) -> Self {
        Self { pattern, mailbox, undecodable: 0, _held: held, bus }
    }

    /// What it listens to.
    pub fn pattern(&self) -> &Pattern<T> {
        &self.pattern
    }

    /// Messages that went unread because this reader was slow.
    pub fn dropped(&self) -> u64 {
        self.mailbox.dropped()
    }

    /// Messages that are not of the type that belongs here.
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }
}

impl<T: Message + Default> Subscription<T> {
    /// The next message; `None` when the bus is closed.
    pub async fn next(&mut self) -> Option<Received<T>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received<T>>> {
        while let Some(letter) = ready!(self.mailbox.poll(cx)) {
            let Letter { subject, sender, reply, payload } = letter;
            let bytes = payload.len();
            match T::decode(payload) {
                Ok(message) => return Poll::Ready(Some(Received { message, subject, sender, reply })),
                Err(error) => {
                    self.undecodable += 1;
                    add(&self.bus.counters().undecodable, 1);
                    // Whoever sends garbage may send much of it: the log grows by its logarithm.
                    if self.undecodable.is_power_of_two() {
                        tracing::warn!(
                            %subject, sender = sender.as_deref().unwrap_or("unknown"), bytes, %error, count = self.undecodable,
                            "a message is not understood"
                        );
                    }
                }
            }
        }
        Poll::Ready(None)
    }
}

impl<T: Message + Default> Stream for Subscription<T> {
    type Item = Received<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}
