//! A bus within one process, with the laws of the real one.

mod board;
mod port;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::bus::{Bus, Wire};
use crate::counts::Counters;
use crate::error::Error;
use crate::link::Reason;
use crate::mailbox::QueueLimits;
use crate::nats::PAYLOAD_BYTES_MAX;
use crate::subject::check;

use board::Shared;
pub(crate) use port::{Entry, Port};

/// What becomes of a message on its way to one receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Deliver,
    /// It does not.
    Lose,
    /// It arrives, and once more.
    Twice,
    /// It arrives later, perhaps behind others; or not at all, if the receiver is not connected then.
    Late(Duration),
}

/// A message on its way to one receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The name of the connection that sent it.
    pub from: &'a str,
    /// The name of the connection that will receive it.
    pub to: &'a str,
    /// Where it was sent to.
    pub subject: &'a str,
}

/// Where the connections of an in-memory bus meet. Dropping it closes them.
///
/// For a process that has everything in it, and for simulation: it can be stopped, connections can be cut off, and the fate of each
/// message can be decided by a function. Time is tokio's, so it can be paused; nothing else in it depends on chance.
#[derive(Debug)]
pub struct Hub {
    shared: Arc<Shared>,
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let ports = self.shared.board.lock().close();
        for port in ports {
            port.close();
        }
    }
}

impl Hub {
    /// A bus that takes messages as large as the real one does by default.
    pub fn new() -> Self {
        Self::with_payload_bytes_max(PAYLOAD_BYTES_MAX)
    }

    /// A bus that takes messages up to a size.
    pub fn with_payload_bytes_max(payload_bytes_max: usize) -> Self {
        Self { shared: Arc::new(Shared::new(payload_bytes_max)) }
    }

    /// A connection of its own.
    ///
    /// # Errors
    /// [`Error::Name`] if the name cannot be one.
    pub fn connect(&self, name: &str) -> Result<Bus, Error> {
        self.connect_with(name, QueueLimits::default())
    }

    /// A connection whose readers have other bounds.
    ///
    /// # Errors
    /// [`Error::Name`] if the name cannot be one.
    pub fn connect_with(&self, name: &str, limits: QueueLimits) -> Result<Bus, Error> {
        check(name, "the name of a connection", false)?;
        let counters = Arc::new(Counters::default());
        let mut board = self.shared.board.lock();
        let (sender, link) = watch::channel(board.first_link(name));
        let port = Arc::new(Port::new(name.into(), Arc::clone(&self.shared), sender, Arc::clone(&counters)));
        board.add(&port);
        Ok(Bus::new(name.into(), limits, counters, link, Wire::Memory(port)))
    }

    /// Decides the fate of every message from now on. The function must not use the bus.
    pub fn set_fates(&self, fates: impl FnMut(Delivery<'_>) -> Fate + Send + 'static) {
        self.shared.board.lock().fates = Some(Box::new(fates));
    }

    /// From now on every message arrives.
    pub fn clear_fates(&self) {
        self.shared.board.lock().fates = None;
    }

    /// As if the server had ended: nobody is connected.
    pub fn stop(&self) {
        self.shared.board.lock().set_stopped(true);
    }

    /// As if it had started again: those who are not cut off are connected, and their subscriptions are in effect.
    pub fn start(&self) {
        self.shared.board.lock().set_stopped(false);
    }

    /// Cuts off all connections of a name, those that will be made too.
    pub fn cut(&self, name: &str, reason: Reason) {
        self.shared.board.lock().set_cut(name, Some(reason));
    }

    /// Undoes [`Self::cut`].
    pub fn mend(&self, name: &str) {
        self.shared.board.lock().set_cut(name, None);
    }
}
