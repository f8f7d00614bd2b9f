//! The connected Viziers: one bridge each, and the calls that wait for answers from it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::{C2vapiStreamCancel, C2vapiStreamRequest, UpdateOrInstallVizierResponse, V2capiStreamResponse};
use api::services::C2vBridgeMessage;
use auth::SigningKey;
use ids::{ClusterId, OrgId};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::metrics::Metrics;
use crate::wire;

/// Topic of calls to a Vizier.
pub(crate) const PASSTHROUGH: &str = "VizierPassthroughRequest";

/// Messages that wait for one Vizier to take them; calls beyond it wait as well.
pub(crate) const OUTBOX_MESSAGES_MAX: usize = 1024;

/// Answers that wait for one client to read them. Reference: api.md, section 3.3. A Vizier of ours never has as many under way.
const ANSWERS_WAITING_MAX: usize = 4096;

/// Why a call has no more answers, where its own answers do not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The bridge ended.
    Bridge,
    /// The client read too slowly.
    Slow,
}

#[derive(Debug)]
struct Waiting {
    answers: mpsc::Sender<V2capiStreamResponse>,
    cut: Arc<OnceLock<Cut>>,
}

/// The bridge of one Vizier.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) cluster: ClusterId,
    /// Whose it is.
    pub(crate) org: OrgId,
    /// When its connector started.
    session: i64,
    /// Signs tokens that this Vizier takes. Never stored: each bridge brings it.
    key: SigningKey,
    /// Whether it knows a call that is said twice.
    pub(crate) repeats_calls: bool,
    outbox: mpsc::Sender<Result<C2vBridgeMessage, Status>>,
    /// Cancelled when it is replaced.
    pub(crate) over: CancellationToken,
    waiting: Mutex<HashMap<String, Waiting>>,
    update: Mutex<Option<oneshot::Sender<UpdateOrInstallVizierResponse>>>,
}

/// The Vizier is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// Answers to one call, and why they end.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) receiver: mpsc::Receiver<V2capiStreamResponse>,
    pub(crate) cut: Arc<OnceLock<Cut>>,
}

impl Bridge {
    pub(crate) fn new(
        (org, cluster): (OrgId, ClusterId),
        session: i64,
        (key, repeats_calls): (SigningKey, bool),
        outbox: mpsc::Sender<Result<C2vBridgeMessage, Status>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            cluster,
            org,
            session,
            key,
            repeats_calls,
            outbox,
            over: CancellationToken::new(),
            waiting: Mutex::default(),
            update: Mutex::default(),
        })
    }

    /// For a call: good for an hour.
    pub(crate) fn token(&self) -> String {
        self.key.cluster_token(self.cluster, SystemTime::now())
    }

    /// Hands a message over, and waits for room.
    pub(crate) async fn send(&self, message: C2vBridgeMessage) -> Result<(), Gone> {
        tokio::select! {
            sent = self.outbox.send(Ok(message)) => sent.map_err(|_| Gone),
            () = self.over.cancelled() => Err(Gone),
        }
    }

    /// Hands a message over if there is room: for what is said again, or heals by itself.
    pub(crate) fn try_send(&self, message: C2vBridgeMessage) -> bool {
        self.outbox.try_send(Ok(message)).is_ok()
    }

    /// From now on answers with this id are kept for the caller.
    pub(crate) fn expect(&self, id: &str) -> Answers {
        let (answers, receiver) = mpsc::channel(ANSWERS_WAITING_MAX);
        let cut = Arc::new(OnceLock::new());
        self.waiting.lock().insert(id.to_owned(), Waiting { answers, cut: Arc::clone(&cut) });
        if self.over.is_cancelled() {
            self.end_calls();
        }
        Answers { receiver, cut }
    }

    /// Nobody waits for these any more. True if somebody did.
    pub(crate) fn forget(&self, id: &str) -> bool {
        self.waiting.lock().remove(id).is_some()
    }

    /// An answer came in.
    pub(crate) fn answer(&self, id: &str, answer: V2capiStreamResponse, metrics: &Metrics) {
        let mut waiting = self.waiting.lock();
        let Some(call) = waiting.get(id) else {
            drop(waiting);
            metrics.answers_late.inc();
            // Its end needs no cancelling.
            if !matches!(answer.msg, Some(api::cvmsgspb::v2capi_stream_response::Msg::Status(_))) {
                self.cancel(id);
            }
            return;
        };
        if call.answers.try_send(answer).is_err() {
            // A second reason changes nothing.
            let _first = call.cut.set(Cut::Slow);
            waiting.remove(id);
            drop(waiting);
            metrics.calls_overrun.inc();
            self.cancel(id);
        }
    }

    /// Tells the Vizier that nobody waits. If there is no room, its next answer makes us say it again.
    pub(crate) fn cancel(&self, id: &str) {
        let request =
            C2vapiStreamRequest { request_id: id.to_owned(), msg: Some(Ask::CancelReq(C2vapiStreamCancel {})), ..Default::default() };
        self.try_send(call_message(&request));
    }

    /// Waits for the answer to a change of version; there is one at a time, a later one takes the place of an earlier.
    pub(crate) fn expect_update(&self) -> oneshot::Receiver<UpdateOrInstallVizierResponse> {
        let (sender, receiver) = oneshot::channel();
        *self.update.lock() = Some(sender);
        receiver
    }

    pub(crate) fn answer_update(&self, answer: UpdateOrInstallVizierResponse) {
        if let Some(sender) = self.update.lock().take() {
            // Whoever asked has gone.
            let _gone = sender.send(answer).is_err();
        }
    }

    fn end_calls(&self) {
        let calls = std::mem::take(&mut *self.waiting.lock());
        for call in calls.into_values() {
            // A second reason changes nothing.
            let _first = call.cut.set(Cut::Bridge);
        }
    }
}

/// A call, or something about one, on its way to the Vizier.
pub(crate) fn call_message(request: &C2vapiStreamRequest) -> C2vBridgeMessage {
    C2vBridgeMessage { topic: PASSTHROUGH.to_owned(), msg: Some(wire::pack("C2VAPIStreamRequest", request)) }
}

/// How many bytes a call takes on the Vizier's bus.
pub(crate) fn call_bytes(request: &C2vapiStreamRequest) -> usize {
    request.encoded_len()
}

/// All bridges there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bridges {
    open: Arc<Mutex<HashMap<ClusterId, Arc<Bridge>>>>,
}

impl Bridges {
    /// A bridge is there. It takes the place of an older one; one of a connector that started earlier than that of the present bridge is
    /// refused, so that two that run at once do not push each other out for ever.
    pub(crate) fn open(&self, bridge: &Arc<Bridge>) -> bool {
        let replaced = {
            let mut open = self.open.lock();
            if open.get(&bridge.cluster).is_some_and(|present| present.session > bridge.session) {
                return false;
            }
            open.insert(bridge.cluster, Arc::clone(bridge))
        };
        if let Some(replaced) = replaced {
            replaced.over.cancel();
            replaced.end_calls();
        }
        true
    }

    /// A bridge has ended, and its calls with it.
    pub(crate) fn close(&self, bridge: &Arc<Bridge>) {
        {
            let mut open = self.open.lock();
            if open.get(&bridge.cluster).is_some_and(|present| Arc::ptr_eq(present, bridge)) {
                open.remove(&bridge.cluster);
            }
        }
        bridge.over.cancel();
        bridge.end_calls();
    }

    pub(crate) fn get(&self, cluster: ClusterId) -> Option<Arc<Bridge>> {
        self.open.lock().get(&cluster).cloned()
    }

    /// Each with whose it is.
    pub(crate) fn all(&self) -> Vec<(OrgId, Arc<Bridge>)> {
        let mut all: Vec<_> = self.open.lock().values().map(|bridge| (bridge.org, Arc::clone(bridge))).collect();
        all.sort_by_key(|(_, bridge)| bridge.cluster);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(session: i64) -> (Arc<Bridge>, mpsc::Receiver<Result<C2vBridgeMessage, Status>>) {
        let (outbox, sent) = mpsc::channel(4);
        (Bridge::new((OrgId::from_halves(0, 1), ClusterId::from_halves(0, 1)), session, (SigningKey::new([7; 64]), true), outbox), sent)
    }

    #[tokio::test]
    async fn a_newer_bridge_takes_the_place_of_an_older_one_and_its_calls_end() {
        let bridges = Bridges::default();
        let ((old, _sent_old), (new, _sent_new), (stale, _sent_stale)) = (bridge(5), bridge(6), bridge(4));
        assert!(bridges.open(&old));
        let mut answers = old.expect("call");
        assert!(bridges.open(&new));
        assert_eq!((answers.receiver.recv().await, answers.cut.get()), (None, Some(&Cut::Bridge)));
        assert!(old.over.is_cancelled() && !bridges.open(&stale));
        // The older one's end does not touch the newer one.
        bridges.close(&old);
        assert_eq!((bridges.all().len(), bridges.get(new.cluster).is_some()), (1, true));
        // A call that comes too late ends at once.
        assert_eq!(old.expect("late").receiver.recv().await, None);
    }

    #[tokio::test]
    async fn answers_that_nobody_waits_for_are_cancelled_at_their_source() {
        let (bridge, mut sent) = bridge(1);
        let metrics = Metrics::default();
        bridge.answer("unknown", V2capiStreamResponse { request_id: "unknown".to_owned(), ..Default::default() }, &metrics);
        let message = sent.recv().await.unwrap().unwrap();
        let request: C2vapiStreamRequest = wire::unpack("C2VAPIStreamRequest", message.msg.as_ref()).unwrap();
        assert_eq!((request.request_id.as_str(), request.msg), ("unknown", Some(Ask::CancelReq(C2vapiStreamCancel {}))));
    }

    #[tokio::test]
    async fn a_client_that_never_reads_ends_its_call_and_no_other() {
        let (bridge, _sent) = bridge(1);
        let metrics = Metrics::default();
        let (slow, mut other) = (bridge.expect("slow"), bridge.expect("other"));
        for _ in 0..=ANSWERS_WAITING_MAX {
            bridge.answer("slow", V2capiStreamResponse::default(), &metrics);
        }
        assert_eq!(slow.cut.get(), Some(&Cut::Slow));
        bridge.answer("other", V2capiStreamResponse::default(), &metrics);
        assert!(other.receiver.recv().await.is_some());
    }
}
