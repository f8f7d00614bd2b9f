//! The answers to one call, in order, and no faster than they are taken.

use std::time::Duration;

use api::cvmsgspb::V2capiStreamResponse;
use api::cvmsgspb::v2capi_stream_response::Msg;
use api::vizierpb;
use bus::subject::{Subject, Topic};
use bus::{Bus, Error, subject};
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::Status;

use super::wire;

/// How long a call waits for the bus to come back, or for its client to take what was sent. Reference: api.md §3.3.
const SILENCE_MAX: Duration = Duration::from_mins(3);

/// Where the answers to one call go.
pub(crate) struct Answers {
    bus: Bus,
    subject: Subject<api::cvmsgspb::V2cMessage>,
    vizier_id: String,
    request_id: String,
    sequence: u64,
    /// Answers that may be unacknowledged; 0: any number.
    window: u64,
    acknowledged: watch::Receiver<u64>,
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
    pub(crate) fn new(
        bus: Bus,
        (vizier_id, request_id): (String, String),
        window: u32,
        acknowledged: watch::Receiver<u64>,
    ) -> Option<Answers> {
        let subject = subject::v2c(Topic::new(&format!("reply-{request_id}")).ok()?);
        Some(Answers { bus, subject, vizier_id, request_id, sequence: 0, window: u64::from(window), acknowledged })
    }

    /// Sends one, when there is room for it.
    pub(crate) async fn send(&mut self, msg: Msg) -> Result<(), Gone> {
        self.room().await?;
        self.publish(msg).await
    }

    async fn publish(&mut self, msg: Msg) -> Result<(), Gone> {
        let response = V2capiStreamResponse { request_id: self.request_id.clone(), sequence: self.sequence + 1, msg: Some(msg) };
        let message = wire::answer(&self.vizier_id, &response);
        let mut link = self.bus.link();
        loop {
            match self.bus.publish(&self.subject, &message).await {
                Ok(()) => {
                    self.sequence += 1;
                    return Ok(());
                }
                Err(Error::TooLarge { .. }) => return Err(Gone::TooLarge),
                // It was not sent, or it was lost: the control plane sees which by its number.
                Err(Error::Disconnected { reason }) => {
                    let back = timeout(SILENCE_MAX, link.wait_for(bus::Link::is_connected)).await;
                    if !matches!(back, Ok(Ok(_))) {
                        return Err(Gone::Silent(reason.to_string()));
                    }
                }
                Err(error) => return Err(Gone::Silent(error.to_string())),
            }
        }
    }

    /// The last one, for which there is always room. Whoever does not hear it hears nothing.
    pub(crate) async fn end(mut self, status: &Status) {
        let status = vizierpb::Status { code: status.code() as i32, message: status.message().to_owned(), error_details: Vec::new() };
        if let Err(gone) = self.publish(Msg::Status(status)).await {
            tracing::debug!(?gone, request = self.request_id, "the end of a call is not taken");
        }
    }

    async fn room(&mut self) -> Result<(), Gone> {
        if self.window == 0 {
            return Ok(());
        }
        let (sequence, window) = (self.sequence, self.window);
        let room = self.acknowledged.wait_for(|acknowledged| sequence.saturating_sub(*acknowledged) < window);
        match timeout(SILENCE_MAX, room).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Gone::Silent("the call is over".to_owned())),
            Err(_) => Err(Gone::Silent(format!("no answer was acknowledged for {} s", SILENCE_MAX.as_secs()))),
        }
    }
}
