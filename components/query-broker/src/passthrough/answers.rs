//! The answers to one call, in order, no faster than they are taken, and said again until they are.

use std::collections::VecDeque;
use std::time::Duration;

use api::cvmsgspb::v2capi_stream_response::Msg;
use api::cvmsgspb::{V2cMessage, V2capiStreamResponse};
use api::vizierpb;
use bus::subject::{Subject, Topic};
use bus::{Bus, Error, subject};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::Status;

use super::wire;
use crate::limits::PASSTHROUGH_KEPT_BYTES_MAX;

/// How long a call waits for the bus to come back, or for its client to take what was sent. Reference: api.md §3.3.
const SILENCE_MAX: Duration = Duration::from_mins(3);

/// How long the end of a call can be asked for again: twice as long as a control plane asks for what it misses.
const LINGER_MAX: Duration = Duration::from_mins(1);

/// What was heard of whoever takes the answers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The number of the last answer that was handed over.
    pub(crate) acknowledged: u64,
    /// How often what came after it was asked for again.
    pub(crate) again: u64,
}

/// Where the answers to one call go.
pub(crate) struct Answers {
    bus: Bus,
    subject: Subject<V2cMessage>,
    vizier_id: String,
    request_id: String,
    /// The number of the last one.
    sequence: u64,
    /// Answers that may be unacknowledged; 0: any number, and none is said again.
    window: u64,
    /// What was said and not acknowledged, up to the last one.
    kept: VecDeque<V2cMessage>,
    kept_bytes: usize,
    heard: watch::Receiver<Heard>,
    /// So often what is kept was said again.
    said_again: u64,
}

/// Why there are no more answers.
#[derive(Debug)]
pub(crate) enum Gone {
    /// An answer is larger than the bus carries. The call can still be told.
    TooLarge,
    /// Nobody takes answers any more.
    Silent(String),
}

impl Answers {
    pub(crate) fn new(bus: Bus, (vizier_id, request_id): (String, String), window: u32, heard: watch::Receiver<Heard>) -> Option<Answers> {
        let subject = subject::v2c(Topic::new(&format!("reply-{request_id}")).ok()?);
        let (sequence, window) = (heard.borrow().acknowledged, u64::from(window));
        let (kept, kept_bytes, said_again) = (VecDeque::new(), 0, 0);
        Some(Answers { bus, subject, vizier_id, request_id, sequence, window, kept, kept_bytes, heard, said_again })
    }

    /// Sends one, when there is room for it.
    pub(crate) async fn send(&mut self, msg: Msg) -> Result<(), Gone> {
        self.room().await?;
        self.say(msg).await
    }

    /// The last one, for which there is always room. Whoever does not hear it asks for it again.
    pub(crate) async fn end(&mut self, status: &Status) {
        let status = vizierpb::Status { code: status.code() as i32, message: status.message().to_owned(), error_details: Vec::new() };
        if let Err(gone) = self.say(Msg::Status(status)).await {
            tracing::debug!(?gone, request = self.request_id, "the end of a call is not taken");
        }
    }

    /// Waits until what is kept is asked for again; for ever where it never is.
    pub(crate) async fn asked_again(&mut self) {
        let said = self.said_again;
        if self.heard.wait_for(|heard| heard.again > said).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Says what is kept again, or that the call runs.
    pub(crate) async fn say_again(&mut self) -> Result<(), Gone> {
        self.said_again = self.heard.borrow_and_update().again;
        self.forget_acknowledged();
        if self.window == 0 {
            return Ok(());
        }
        if !self.kept.is_empty() {
            return self.say_from(0).await;
        }
        let runs = V2capiStreamResponse { request_id: self.request_id.clone(), ..Default::default() };
        if let Err(error) = self.bus.publish(&self.subject, &wire::answer(&self.vizier_id, &runs)).await {
            tracing::debug!(%error, request = self.request_id, "that a call runs was not told; it is asked for again");
        }
        Ok(())
    }

    /// After the end: says what is kept again as long as somebody may miss it.
    pub(crate) async fn linger(&mut self) {
        self.forget_acknowledged();
        while !self.kept.is_empty() {
            if !matches!(timeout(LINGER_MAX, self.heard.changed()).await, Ok(Ok(()))) {
                return;
            }
            if self.said_again < self.heard.borrow().again && self.say_again().await.is_err() {
                return;
            }
            self.forget_acknowledged();
        }
    }

    async fn say(&mut self, msg: Msg) -> Result<(), Gone> {
        self.sequence += 1;
        let response = V2capiStreamResponse { request_id: self.request_id.clone(), sequence: self.sequence, msg: Some(msg) };
        let message = wire::answer(&self.vizier_id, &response);
        self.kept_bytes += bytes(&message);
        self.kept.push_back(message);
        let said = self.say_from(self.kept.len() - 1).await;
        // What was never said has no number.
        if matches!(said, Err(Gone::TooLarge))
            && let Some(unsaid) = self.kept.pop_back()
        {
            self.kept_bytes -= bytes(&unsaid);
            self.sequence -= 1;
        }
        if self.window == 0 {
            self.kept.clear();
            self.kept_bytes = 0;
        }
        said
    }

    /// Says what is kept from this place on; all of it, when the bus was away meanwhile: what was under way then may be lost.
    async fn say_from(&mut self, place: usize) -> Result<(), Gone> {
        let mut link = self.bus.link();
        let mut place = place;
        while let Some(message) = self.kept.get(place) {
            match self.bus.publish(&self.subject, message).await {
                Ok(()) => place += 1,
                Err(Error::TooLarge { .. }) => return Err(Gone::TooLarge),
                Err(Error::Disconnected { reason }) => {
                    let back = timeout(SILENCE_MAX, link.wait_for(bus::Link::is_connected)).await;
                    if !matches!(back, Ok(Ok(_))) {
                        return Err(Gone::Silent(reason.to_string()));
                    }
                    self.forget_acknowledged();
                    place = 0;
                }
                Err(error) => return Err(Gone::Silent(error.to_string())),
            }
        }
        Ok(())
    }

    async fn room(&mut self) -> Result<(), Gone> {
        let mut until = Instant::now() + SILENCE_MAX;
        loop {
            if self.forget_acknowledged() {
                until = Instant::now() + SILENCE_MAX;
            }
            let full = self.kept.len() as u64 >= self.window || self.kept_bytes >= PASSTHROUGH_KEPT_BYTES_MAX;
            if self.window == 0 || !full {
                return Ok(());
            }
            match timeout_at(until, self.heard.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Gone::Silent("the call is over".to_owned())),
                Err(_) => return Err(Gone::Silent(format!("no answer was acknowledged for {} s", SILENCE_MAX.as_secs()))),
            }
            if self.said_again < self.heard.borrow().again {
                self.say_again().await?;
            }
        }
    }

    /// Whether there was any.
    fn forget_acknowledged(&mut self) -> bool {
        let acknowledged = self.heard.borrow().acknowledged;
        let mut any = false;
        while self.sequence.saturating_sub(self.kept.len() as u64) < acknowledged
            && let Some(taken) = self.kept.pop_front()
        {
            self.kept_bytes -= bytes(&taken);
            any = true;
        }
        any
    }
}

/// What it takes, but for its frame.
fn bytes(message: &V2cMessage) -> usize {
    message.msg.as_ref().map_or(0, |msg| msg.value.len())
}
