//! Messages on their way to the control plane: heartbeats, then answers to calls, of which none is dropped for lack of room, then others up to a
//! limit.

use api::services::V2cBridgeMessage;
use prost_types::Any;
use tokio::sync::{mpsc, watch};

use crate::metrics::Metrics;

const HEARTBEAT: &str = "heartbeat";

/// Answers that wait for the bridge; who brings further ones waits.
const ANSWERS_WAITING_MAX: usize = 64;

/// Other messages that wait; further ones are dropped. Reference: vizier.md, section 3.1.
const OTHERS_WAITING_MAX: usize = 5000;

/// Puts messages in. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    /// One at a time: a newer one says more.
    beats: mpsc::Sender<V2cBridgeMessage>,
    answers: mpsc::Sender<V2cBridgeMessage>,
    others: mpsc::Sender<V2cBridgeMessage>,
    session: i64,
    metrics: Metrics,
}

/// Takes messages out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    beats: mpsc::Receiver<V2cBridgeMessage>,
    answers: mpsc::Receiver<V2cBridgeMessage>,
    others: mpsc::Receiver<V2cBridgeMessage>,
    /// Counts the heartbeats that were handed over.
    beaten: watch::Sender<u64>,
    /// Taken out and not handed over: the bridge ended.
    unsent: Option<V2cBridgeMessage>,
}

/// `session`: when this process began.
pub(crate) fn outbox(session: i64, metrics: Metrics) -> (Outbox, Outgoing) {
    let (beats, beats_out) = mpsc::channel(1);
    let (answers, answers_out) = mpsc::channel(ANSWERS_WAITING_MAX);
    let (others, others_out) = mpsc::channel(OTHERS_WAITING_MAX);
    let outgoing = Outgoing { beats: beats_out, answers: answers_out, others: others_out, beaten: watch::Sender::default(), unsent: None };
    (Outbox { beats, answers, others, session, metrics }, outgoing)
}

impl Outbox {
    pub(crate) fn message(&self, topic: &str, msg: Any) -> V2cBridgeMessage {
        V2cBridgeMessage { topic: topic.to_owned(), session_id: self.session, msg: Some(msg) }
    }

    /// A heartbeat. While one waits already, this one is left out.
    pub(crate) fn beat(&self, msg: Any) {
        if self.beats.try_send(self.message(HEARTBEAT, msg)).is_err() {
            tracing::debug!("a heartbeat still waits to be sent");
        }
    }

    /// Waits for room.
    pub(crate) async fn answer(&self, topic: &str, msg: Any) {
        // The other end is gone when the process stops.
        let _stopped = self.answers.send(self.message(topic, msg)).await.is_err();
    }

    /// Dropped and counted where there is no room.
    pub(crate) fn other(&self, topic: &str, msg: Any) {
        if self.others.try_send(self.message(topic, msg)).is_err() {
            self.metrics.dropped.inc();
        }
    }
}

impl Outgoing {
    /// Counts the heartbeats that were handed over to a bridge.
    pub(crate) fn beaten(&self) -> watch::Receiver<u64> {
        self.beaten.subscribe()
    }

    /// Sends messages until the bridge takes no more. What it did not take is sent first on the next one.
    pub(crate) async fn pump(&mut self, bridge: &mpsc::Sender<V2cBridgeMessage>, metrics: &Metrics) {
        loop {
            let Ok(room) = bridge.reserve().await else { return };
            let next = if let Some(unsent) = self.unsent.take() {
                unsent
            } else {
                tokio::select! {
                    biased;
                    () = bridge.closed() => return,
                    Some(beat) = self.beats.recv() => beat,
                    Some(answer) = self.answers.recv() => answer,
                    Some(other) = self.others.recv() => other,
                    else => return,
                }
            };
            if bridge.is_closed() {
                self.unsent = Some(next);
                return;
            }
            if next.topic == HEARTBEAT {
                self.beaten.send_modify(|count| *count += 1);
            }
            room.send(next);
            metrics.sent.inc();
        }
    }

    /// Throws away the answers that wait: the calls that they belong to ended with their bridge.
    pub(crate) fn forget_answers(&mut self, metrics: &Metrics) {
        while self.answers.try_recv().is_ok() {
            metrics.answers_unwanted.inc();
        }
        if self.unsent.as_ref().is_some_and(|message| message.topic.starts_with(crate::io::local::REPLY)) {
            self.unsent = None;
            metrics.answers_unwanted.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn heartbeats_overtake_answers_and_these_others_which_are_dropped_beyond_their_limit_and_counted() {
        let metrics = Metrics::default();
        let (outbox, mut outgoing) = outbox(1, metrics.clone());
        for _ in 0..OTHERS_WAITING_MAX + 3 {
            outbox.other("VZMetrics", Any::default());
        }
        assert_eq!(metrics.dropped.get(), 3);
        outbox.answer("reply-1", Any::default()).await;
        outbox.beat(Any::default());
        outbox.beat(Any::default());
        let (bridge, mut sent) = mpsc::channel(1);
        let pump = async { outgoing.pump(&bridge, &metrics).await };
        let first = async {
            let mut topics = Vec::new();
            while topics.len() < 3 {
                topics.push(sent.recv().await.unwrap().topic);
            }
            topics
        };
        tokio::select! {
            () = pump => unreachable!("the bridge is open"),
            topics = first => assert_eq!(topics, ["heartbeat", "reply-1", "VZMetrics"]),
        }
    }

    #[tokio::test]
    async fn what_a_bridge_did_not_take_goes_first_on_the_next_one() {
        let metrics = Metrics::default();
        let (outbox, mut outgoing) = outbox(1, metrics.clone());
        outbox.other("one", Any::default());
        outbox.other("two", Any::default());
        outgoing.unsent = Some(outbox.message("kept", Any::default()));
        let (bridge, mut sent) = mpsc::channel(8);
        tokio::select! {
            () = outgoing.pump(&bridge, &metrics) => unreachable!("the bridge is open"),
            topic = sent.recv() => assert_eq!(topic.unwrap().topic, "kept"),
        }
    }
}
