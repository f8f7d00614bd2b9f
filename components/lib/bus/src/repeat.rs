use std::time::Duration;

use prost::Message;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::bus::Bus;
use crate::error::Error;
use crate::subject::Subject;
use crate::subscription::{Received, Subscription};

/// How often something is said again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Longest wait for the first answer; it doubles.
    pub first: Duration,
    /// No wait is longer.
    pub max: Duration,
    /// Of the jitter: those who begin together should not have the same.
    pub seed: u64,
}

/// Something that is said again and again. See [`Bus::repeat`].
#[derive(Debug)]
pub struct Repeat<'a, T> {
    bus: &'a Bus,
    subject: &'a Subject<T>,
    message: &'a T,
    backoff: Backoff,
}

impl<'a, T> Repeat<'a, T> {
    pub(crate) fn new(bus: &'a Bus, subject: &'a Subject<T>, message: &'a T, pace: Pace) -> Self {
        Self { bus, subject, message, backoff: Backoff::new(pace.first, pace.max, pace.seed) }
    }
}

impl<T: Message> Repeat<'_, T> {
    /// Goes on until `accept` makes something of a message on `answers`, which must have been subscribed before.
    ///
    /// Every message that comes in is given to `accept`, also those that answer something else: it may keep them. While the bus is
    /// not connected nothing is sent; when it is again, at once. Dropping the future ends it, and no message is lost by that.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Closed`], which no repetition heals.
    pub async fn until<A, R>(mut self, answers: &mut Subscription<A>, mut accept: impl FnMut(Received<A>) -> Option<R>) -> Result<R, Error>
    where
        A: Message + Default,
    {
        let mut link = self.bus.link();
        loop {
            match self.bus.publish(self.subject, self.message).await {
                Ok(()) => {}
                // Said below, when there is a connection again.
                Err(Error::Disconnected { .. }) => self.backoff.reset(),
                Err(error) => return Err(error),
            }
            let again = Instant::now() + self.backoff.next_delay();
            loop {
                let connected = link.borrow_and_update().is_connected();
                tokio::select! {
                    biased;
                    received = answers.next() => match received.map(&mut accept) {
                        Some(Some(answer)) => return Ok(answer),
                        Some(None) => {}
                        None => return Err(Error::Closed),
                    },
                    changed = link.changed() => match changed {
                        Ok(()) if !connected && link.borrow().is_connected() => {
                            self.backoff.reset();
                            break;
                        }
                        Ok(()) => {}
                        Err(_) => return Err(Error::Closed),
                    },
                    () = tokio::time::sleep_until(again), if connected => break,
                }
            }
        }
    }
}
