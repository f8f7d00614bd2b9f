//! The bus inside, on both ways: what goes to the control plane, and what came from it.

use std::sync::Arc;

use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answer;
use api::cvmsgspb::{C2vMessage, C2vapiStreamCancel, C2vapiStreamRequest, UpdateOrInstallVizierResponse, V2cMessage, V2capiStreamResponse};
use api::services::C2vBridgeMessage;
use api::vizierpb::Status as WireStatus;
use bus::Bus;
use bus::subject::{self, Address, Subject, Topic};
use ids::ClusterId;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::outbox::Outbox;
use super::wall;
use crate::Error;
use crate::calls::{CALLS_MAX, Calls, Said};
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::remote_write::write_request;
use crate::route::{PASSTHROUGH, Route, pack, pack_full, route};

/// What the topic of an answer begins with; the call's id follows.
pub(crate) const REPLY: &str = "reply-";
const UPDATE_RESPONSE: &str = "VizierUpdateResponse";
const METRICS: &str = "VZMetrics";

/// Where the query broker asks about pods: `C2VAPIStreamRequest`, answered by one `V2CAPIStreamResponse`.
const PODS_SUBJECT: &str = "DebugPods";

/// What is said of them where there are none.
const NO_PODS: &str = "this Vizier does not run in Kubernetes: it has no pods, and no logs of pods";

const NS_PER_MS: i64 = 1_000_000;

/// What goes in and out of the bus. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    bus: Bus,
    outbox: Outbox,
    metrics: Metrics,
    /// Calls of the present bridge that have not ended.
    calls: Arc<Mutex<Calls>>,
    version: &'static str,
}

impl Local {
    pub(crate) fn new(bus: Bus, outbox: Outbox, metrics: Metrics) -> Self {
        Self { bus, outbox, metrics, calls: Arc::default(), version: env!("CARGO_PKG_VERSION") }
    }

    /// Carries what the parts of this Vizier say to the control plane, until `stop`.
    pub(crate) async fn carry_out(self, stop: CancellationToken) -> Result<(), Error> {
        let mut messages = self.bus.subscribe(subject::all_v2c()).await?;
        loop {
            let received = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                received = messages.next() => received,
            };
            let Some(received) = received else { return Ok(()) };
            let Ok(Address::V2c(topic)) = received.subject.parse() else { continue };
            let V2cMessage { msg, .. } = received.message;
            let Some(msg) = msg else {
                self.note_malformed(topic.as_str(), received.sender.as_deref(), "it is empty");
                continue;
            };
            match topic.as_str().strip_prefix(REPLY) {
                None => self.outbox.other(topic.as_str(), msg),
                Some(call) => {
                    let end = end_of(&msg);
                    if self.is_wanted(call, end) {
                        self.outbox.answer(topic.as_str(), msg).await;
                    } else {
                        self.metrics.answers_unwanted.inc();
                        if end.is_none() {
                            self.cancel(call).await;
                        }
                    }
                }
            }
        }
    }

    /// Whether somebody waits for this answer. After the last one nobody does, but for those who may ask for it again.
    fn is_wanted(&self, call: &str, end: Option<End>) -> bool {
        let mut calls = self.calls.lock();
        let wanted = calls.is_wanted(call);
        match end {
            Some(End::Numbered) => calls.end(call),
            Some(End::Plain) => calls.remove(call),
            None => {}
        }
        wanted
    }

    /// Relays the metrics of all processes, until `stop`.
    pub(crate) async fn relay_metrics(self, identity: watch::Receiver<Option<Identity>>, stop: CancellationToken) -> Result<(), Error> {
        let mut messages = self.bus.subscribe(&subject::metrics()).await?;
        loop {
            let received = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                received = messages.next() => received,
            };
            let Some(received) = received else { return Ok(()) };
            // Before there is an identity, nobody could say whose they are.
            let Some(cluster) = identity.borrow().as_ref().map(|identity| identity.id.to_string()) else { continue };
            let pod = received.message.pod_name;
            let labels = [("cluster_id", cluster.as_str()), ("pod_name", pod.as_str()), ("vizier_version", self.version)];
            let request = write_request(&received.message.prom_metrics_text, &labels, wall().0 / NS_PER_MS);
            self.outbox.other(METRICS, pack_full("prometheus.WriteRequest", &request));
        }
    }

    /// Answers what parts of this Vizier ask about its pods, until `stop`.
    pub(crate) async fn answer_about_pods(self, stop: CancellationToken) -> Result<(), Error> {
        let subject: Subject<C2vapiStreamRequest> = Subject::named(PODS_SUBJECT)?;
        let mut questions = self.bus.subscribe(&subject).await?;
        loop {
            let received = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                received = questions.next() => received,
            };
            let Some(received) = received else { return Ok(()) };
            let request = &received.message;
            let (code, message) = match request.msg {
                Some(Ask::DebugPodsReq(_) | Ask::DebugLogReq(_)) => (Code::FailedPrecondition, NO_PODS),
                Some(Ask::ExecReq(_) | Ask::HcReq(_) | Ask::GenerateOtelScriptReq(_) | Ask::CancelReq(_)) | None => {
                    self.note_malformed(PODS_SUBJECT, received.sender.as_deref(), "it asks nothing about pods");
                    (Code::InvalidArgument, "this is no question about pods")
                }
            };
            let answer = status(&request.request_id, code, message.to_owned());
            if let Err(error) = self.bus.answer(&received, &answer).await {
                tracing::debug!(%error, sender = received.sender.as_deref(), "a question about pods is not answered");
            }
        }
    }

    fn note_malformed(&self, topic: &str, sender: Option<&str>, reason: &str) {
        let count = self.metrics.malformed.inc() + 1;
        // Whoever sends garbage may send much of it: the log grows by its logarithm.
        if count.is_power_of_two() {
            tracing::warn!(topic, sender, reason, count, "a message is not understood and is dropped");
        }
    }

    /// A message of the control plane.
    pub(crate) async fn take(&self, cluster: ClusterId, message: C2vBridgeMessage) {
        self.metrics.received.inc();
        let topic = message.topic.clone();
        match route(cluster, message) {
            Ok(Route::Bus { topic, message }) => {
                // Who waits for it asks again.
                let _heard = self.publish(&topic, &message).await;
            }
            Ok(Route::Call { id, begins, message }) => self.call(id, begins, &message).await,
            Ok(Route::Pods { id }) => self.refuse(&id, Code::FailedPrecondition, NO_PODS.to_owned()).await,
            Ok(Route::Update(request)) => {
                tracing::warn!(version = request.version, "another version is wanted, and nobody here can install one");
                let answer = UpdateOrInstallVizierResponse { update_started: false };
                self.outbox.other(UPDATE_RESPONSE, pack("UpdateOrInstallVizierResponse", &answer));
            }
            Err(reason) => self.note_malformed(&topic, Some("the control plane"), &reason),
        }
    }

    async fn call(&self, id: String, begins: Option<bool>, message: &C2vMessage) {
        let said = match begins {
            Some(true) => Some(self.calls.lock().say(&id)),
            Some(false) => {
                self.calls.lock().forget(&id);
                None
            }
            None => None,
        };
        if said == Some(Said::TooMany) {
            return self.refuse(&id, Code::ResourceExhausted, format!("{CALLS_MAX} calls run on this cluster already")).await;
        }
        let sent = self.publish_call(message).await;
        // Where it was said before it may run: the control plane says it once more.
        if let (Err(error), Some(Said::First)) = (sent, said) {
            self.calls.lock().remove(&id);
            let code = if matches!(error, bus::Error::TooLarge { .. }) { Code::InvalidArgument } else { Code::Unavailable };
            self.refuse(&id, code, error.to_string()).await;
        }
    }

    /// The bridge has ended, and its calls with it: nobody waits for their answers.
    pub(crate) async fn end_calls(&self) {
        let calls = self.calls.lock().take();
        for call in calls {
            self.cancel(&call).await;
        }
    }

    /// Says again, whenever the bus comes back, which calls nobody waits for, until `stop`.
    pub(crate) async fn cancel_again(self, stop: CancellationToken) -> Result<(), Error> {
        let mut link = self.bus.link();
        loop {
            let changed = stop.run_until_cancelled(link.changed()).await;
            if !matches!(changed, Some(Ok(()))) {
                return Ok(());
            }
            if !link.borrow_and_update().is_connected() {
                continue;
            }
            let forgotten = self.calls.lock().take_forgotten();
            for call in forgotten {
                self.cancel(&call).await;
            }
        }
    }

    async fn cancel(&self, call: &str) {
        let request =
            C2vapiStreamRequest { request_id: call.to_owned(), msg: Some(Ask::CancelReq(C2vapiStreamCancel {})), ..Default::default() };
        let message = C2vMessage { vizier_id: String::new(), msg: Some(pack("C2VAPIStreamRequest", &request)) };
        // Its next answer makes us say it again.
        let _heard = self.publish_call(&message).await;
    }

    async fn refuse(&self, call: &str, code: Code, message: String) {
        let answer = status(call, code, message);
        self.outbox.answer(&format!("{REPLY}{call}"), pack("V2CAPIStreamResponse", &answer)).await;
    }

    async fn publish_call(&self, message: &C2vMessage) -> Result<(), bus::Error> {
        let topic = Topic::new(PASSTHROUGH)?;
        self.publish(&topic, message).await
    }

    async fn publish(&self, topic: &Topic, message: &C2vMessage) -> Result<(), bus::Error> {
        let sent = self.bus.publish(&subject::c2v(topic.clone()), message).await;
        if let Err(error) = &sent {
            self.metrics.undelivered.inc();
            tracing::warn!(%topic, %error, "a message of the control plane is lost");
        }
        sent
    }
}

/// How a call ended.
fn status(call: &str, code: Code, message: String) -> V2capiStreamResponse {
    let status = WireStatus { code: code as i32, message, ..Default::default() };
    V2capiStreamResponse { request_id: call.to_owned(), msg: Some(Answer::Status(status)), ..Default::default() }
}

/// Of an answer only whether it is the last: rows are not decoded for that.
#[derive(Clone, PartialEq, prost::Message)]
struct Ending {
    #[prost(message, optional, tag = "4")]
    status: Option<WireStatus>,
    #[prost(uint64, tag = "100")]
    sequence: u64,
}

/// A last answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It has a number: who misses one before it asks for it again.
    Numbered,
    /// It has none.
    Plain,
}

/// Whether it is the last answer to its call.
fn end_of(msg: &prost_types::Any) -> Option<End> {
    let Ending { status, sequence } = Ending::decode(msg.value.as_slice()).ok()?;
    status.map(|_| if sequence == 0 { End::Plain } else { End::Numbered })
}

#[cfg(test)]
mod tests {
    use api::vizierpb::ExecuteScriptResponse;

    use super::*;

    fn local(hub: &bus::Hub) -> Local {
        let metrics = Metrics::default();
        Local::new(hub.connect("cloud_conn").unwrap(), super::super::outbox::outbox(1, metrics.clone()).0, metrics)
    }

    #[tokio::test(start_paused = true)]
    async fn what_makes_no_sense_is_counted_and_dropped_whoever_says_it() {
        let (hub, stop) = (bus::Hub::new(), CancellationToken::new());
        let (local, stranger) = (local(&hub), hub.connect("stranger").unwrap());
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(local.clone().carry_out(stop.clone()));
        tasks.spawn(local.clone().answer_about_pods(stop.clone()));
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        // Empty, garbage in place of a message, and garbage in it.
        let topic = subject::v2c(Topic::new("GetCronScriptsRequest").unwrap());
        stranger.publish(&topic, &V2cMessage::default()).await.unwrap();
        let raw = Subject::<WireStatus>::named("v2c.GetCronScriptsRequest").unwrap();
        stranger.publish(&raw, &WireStatus { code: 7, message: "\u{1}".repeat(40), ..Default::default() }).await.unwrap();
        let pods = Subject::<C2vapiStreamRequest>::named(PODS_SUBJECT).unwrap();
        stranger.publish(&pods, &C2vapiStreamRequest::default()).await.unwrap();
        // And of the control plane: of another type, garbage, a subject that is none.
        let cluster = ClusterId::from_halves(0, 7);
        let any = |type_url: &str, value: &[u8]| prost_types::Any { type_url: type_url.to_owned(), value: value.to_vec() };
        for (topic, msg) in [
            (PASSTHROUGH, None),
            (PASSTHROUGH, Some(any("type.googleapis.com/px.cvmsgspb.VizierHeartbeat", &[]))),
            (PASSTHROUGH, Some(any("type.googleapis.com/px.cvmsgspb.C2VAPIStreamRequest", &[255; 9]))),
            ("VizierUpdate", Some(any("type.googleapis.com/px.cvmsgspb.UpdateOrInstallVizierRequest", &[255; 9]))),
            ("a b", Some(any("type.googleapis.com/px.cvmsgspb.CronScriptUpdate", &[]))),
        ] {
            local.take(cluster, C2vBridgeMessage { topic: topic.to_owned(), msg }).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        assert_eq!((local.metrics.malformed.get(), local.bus.counts().undecodable_messages), (2 + 5, 1));
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }

    #[test]
    fn an_answer_is_known_as_the_last_without_reading_it() {
        let answer =
            |sequence, msg| pack("V2CAPIStreamResponse", &V2capiStreamResponse { request_id: "r".to_owned(), sequence, msg: Some(msg) });
        assert_eq!(end_of(&answer(3, Answer::Status(WireStatus::default()))), Some(End::Numbered));
        assert_eq!(end_of(&answer(0, Answer::Status(WireStatus::default()))), Some(End::Plain));
        assert_eq!(end_of(&answer(3, Answer::ExecResp(ExecuteScriptResponse::default()))), None);
    }
}
