//! The bus inside, on both ways: what goes to the control plane, and what came from it.

use std::collections::HashSet;
use std::sync::Arc;

use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answer;
use api::cvmsgspb::{C2vMessage, C2vapiStreamCancel, C2vapiStreamRequest, UpdateOrInstallVizierResponse, V2cMessage, V2capiStreamResponse};
use api::services::C2vBridgeMessage;
use api::vizierpb::Status as WireStatus;
use bus::Bus;
use bus::subject::{self, Address, Topic};
use ids::ClusterId;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::outbox::Outbox;
use super::wall;
use crate::Error;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::remote_write::write_request;
use crate::route::{PASSTHROUGH, Route, pack, pack_full, route};

/// What the topic of an answer begins with; the call's id follows.
pub(crate) const REPLY: &str = "reply-";
const UPDATE_RESPONSE: &str = "VizierUpdateResponse";
const METRICS: &str = "VZMetrics";

/// Calls that run at a time; further ones are refused. The broker has limits of its own for scripts.
const CALLS_MAX: usize = 4096;

const NS_PER_MS: i64 = 1_000_000;

/// What goes in and out of the bus. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    bus: Bus,
    outbox: Outbox,
    metrics: Metrics,
    /// Calls of the present bridge that have not ended.
    calls: Arc<Mutex<HashSet<String>>>,
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
                self.metrics.malformed.inc();
                continue;
            };
            match topic.as_str().strip_prefix(REPLY) {
                None => self.outbox.other(topic.as_str(), msg),
                Some(call) => {
                    let ends = is_end(&msg);
                    let wanted = if ends { self.calls.lock().remove(call) } else { self.calls.lock().contains(call) };
                    if wanted {
                        self.outbox.answer(topic.as_str(), msg).await;
                    } else {
                        self.metrics.answers_unwanted.inc();
                        if !ends {
                            self.cancel(call).await;
                        }
                    }
                }
            }
        }
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
            Ok(Route::Pods { id }) => {
                let reason = "this Vizier does not run in Kubernetes: it has no pods, and no logs of pods";
                self.refuse(&id, Code::FailedPrecondition, reason.to_owned()).await;
            }
            Ok(Route::Update(request)) => {
                tracing::warn!(version = request.version, "another version is wanted, and nobody here can install one");
                let answer = UpdateOrInstallVizierResponse { update_started: false };
                self.outbox.other(UPDATE_RESPONSE, pack("UpdateOrInstallVizierResponse", &answer));
            }
            Err(reason) => {
                self.metrics.malformed.inc();
                tracing::warn!(topic, reason, "a message of the control plane is not understood");
            }
        }
    }

    async fn call(&self, id: String, begins: Option<bool>, message: &C2vMessage) {
        match begins {
            Some(true) => {
                let full = {
                    let mut calls = self.calls.lock();
                    let full = calls.len() >= CALLS_MAX;
                    if !full {
                        calls.insert(id.clone());
                    }
                    full
                };
                if full {
                    return self.refuse(&id, Code::ResourceExhausted, format!("{CALLS_MAX} calls run on this cluster already")).await;
                }
            }
            Some(false) => {
                self.calls.lock().remove(&id);
            }
            None => {}
        }
        let sent = self.publish_call(message).await;
        if let (Err(error), Some(true)) = (sent, begins) {
            self.calls.lock().remove(&id);
            let code = if matches!(error, bus::Error::TooLarge { .. }) { Code::InvalidArgument } else { Code::Unavailable };
            self.refuse(&id, code, error.to_string()).await;
        }
    }

    /// The bridge has ended, and its calls with it: nobody waits for their answers.
    pub(crate) async fn end_calls(&self) {
        let calls = std::mem::take(&mut *self.calls.lock());
        let mut calls: Vec<String> = calls.into_iter().collect();
        calls.sort();
        for call in calls {
            self.cancel(&call).await;
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
        let status = WireStatus { code: code as i32, message, ..Default::default() };
        let answer = V2capiStreamResponse { request_id: call.to_owned(), msg: Some(Answer::Status(status)), ..Default::default() };
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

/// Of an answer only whether it is the last: rows are not decoded for that.
#[derive(Clone, PartialEq, prost::Message)]
struct Ending {
    #[prost(message, optional, tag = "4")]
    status: Option<WireStatus>,
}

/// Whether it is the last answer to its call.
fn is_end(msg: &prost_types::Any) -> bool {
    Ending::decode(msg.value.as_slice()).is_ok_and(|ending| ending.status.is_some())
}

#[cfg(test)]
mod tests {
    use api::vizierpb::ExecuteScriptResponse;

    use super::*;

    #[test]
    fn an_answer_is_known_as_the_last_without_reading_it() {
        let answer = |msg| pack("V2CAPIStreamResponse", &V2capiStreamResponse { request_id: "r".to_owned(), sequence: 3, msg: Some(msg) });
        assert!(is_end(&answer(Answer::Status(WireStatus::default()))));
        assert!(!is_end(&answer(Answer::ExecResp(ExecuteScriptResponse::default()))));
    }
}
