//! Calls that are passed through to a Vizier. Reference: api.md, section 8.2.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use api::cvmsgspb::C2vapiStreamRequest;
use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answer;
use ids::ClusterId;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::bridges::{Answers, Bridge, Bridges, Cut, call_bytes, call_message};
use crate::caller::{Caller, internal};
use crate::life::Standing;
use crate::metrics::Metrics;
use crate::store::{self, Store};

/// Answers that a Vizier may have under way unacknowledged: a slow client slows its query, and a tenth of a second of travel
/// still leaves room for some hundred MB a second.
const WINDOW: u32 = 32;

/// How often the count is sent again while nothing comes: a lost one costs this much time.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_secs(2);

/// What the bus in a cluster carries. Reference: NATS' largest payload, 1 MiB, less what travels beside a call.
const CALL_BYTES_MAX: usize = 1024 * 1024 - 4096;

/// The largest answer, as it is told to clients. Reference: api.md, section 3.3.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A call on a cluster that stands badly and has said nothing for as long is over; so is one that was never answered at all, since a Vizier
/// answers before it works: the bus inside the cluster lost it.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How a cluster must stand for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Scripts are answered.
    Scripts,
    /// It is there.
    Presence,
}

impl Needs {
    fn met(self, standing: Standing) -> bool {
        match self {
            Needs::Scripts => standing.takes_scripts(),
            Needs::Presence => standing != Standing::Disconnected,
        }
    }
}

/// Passes calls through.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    store: Store,
    bridges: Bridges,
    metrics: Metrics,
}

impl Calls {
    pub(crate) fn new(store: Store, bridges: Bridges, metrics: Metrics) -> Self {
        Self { store, bridges, metrics }
    }

    /// The cluster that a call names, by its text on the wire.
    pub(crate) fn cluster(text: &str) -> Result<ClusterId, Status> {
        text.parse().map_err(|_| Status::invalid_argument("missing/malformed cluster_id"))
    }

    /// Sends a call to a cluster of the caller's.
    pub(crate) async fn begin(&self, caller: Caller, cluster: ClusterId, needs: Needs, ask: Ask) -> Result<Call, Status> {
        let standing = self.standing(caller, cluster).await?;
        let bridge = self.bridges.get(cluster).filter(|_| needs.met(standing)).ok_or_else(unhealthy)?;
        let id = Uuid::new_v4().to_string();
        let token = bridge.key.cluster_token(cluster, SystemTime::now());
        let request =
            C2vapiStreamRequest { request_id: id.clone(), token: token.clone(), window: WINDOW, msg: Some(ask), ..Default::default() };
        if call_bytes(&request) > CALL_BYTES_MAX {
            return Err(Status::invalid_argument("the call is larger than the 1 MiB that a cluster's bus carries"));
        }
        let Answers { receiver, cut } = bridge.expect(&id);
        let call = Call {
            calls: self.clone(),
            caller,
            needs,
            bridge: Arc::clone(&bridge),
            id,
            token,
            receiver,
            cut,
            received: 0,
            acknowledged: 0,
            finished: false,
            heard: Instant::now(),
            answered: false,
        };
        bridge.send(call_message(&request)).await.map_err(|_| unhealthy())?;
        self.metrics.calls.inc();
        Ok(call)
    }

    async fn standing(&self, caller: Caller, cluster: ClusterId) -> Result<Standing, Status> {
        let found = self.store.cluster(caller.org, cluster).await.map_err(|error| internal(&error))?;
        // Another organisation's is as unknown as one that never was.
        let found = found.ok_or_else(|| Status::internal("failed to fetch creds for cluster"))?;
        Ok(found.life.standing(store::now()))
    }
}

fn unhealthy() -> Status {
    Status::unavailable("cluster is not in a healthy state")
}

fn unanswered() -> Status {
    Status::unavailable("the cluster did not answer: the call was lost on its way, run it again")
}

/// Whether a call that is silent for so long never came to the cluster.
fn never_came(answered: bool, silent: Duration) -> bool {
    !answered && silent >= SILENCE_MAX
}

/// A call that was sent. Dropping it cancels it.
#[derive(Debug)]
pub(crate) struct Call {
    calls: Calls,
    caller: Caller,
    needs: Needs,
    bridge: Arc<Bridge>,
    id: String,
    token: String,
    receiver: tokio::sync::mpsc::Receiver<api::cvmsgspb::V2capiStreamResponse>,
    cut: Arc<std::sync::OnceLock<Cut>>,
    /// The number of the last answer; 0 while none is numbered.
    received: u64,
    acknowledged: u64,
    finished: bool,
    heard: Instant,
    /// Whether anything was heard of it.
    answered: bool,
}

impl Call {
    /// The next answer; None when the call ended well. Whoever asks for the next has handed over the one before.
    pub(crate) async fn next(&mut self) -> Option<Result<Answer, Status>> {
        if self.finished {
            return None;
        }
        if self.received - self.acknowledged >= u64::from(WINDOW / 4) {
            self.acknowledge();
        }
        loop {
            match timeout(ACKNOWLEDGE_EVERY, self.receiver.recv()).await {
                Err(_) => {
                    if self.received > 0 {
                        self.acknowledge();
                    }
                    if never_came(self.answered, self.heard.elapsed()) {
                        return Some(self.fail(unanswered()));
                    }
                    if self.heard.elapsed() >= SILENCE_MAX && !self.stands().await {
                        return Some(self.fail(unhealthy()));
                    }
                }
                Ok(None) => return Some(self.fail(self.why_cut())),
                Ok(Some(answer)) => {
                    self.heard = Instant::now();
                    self.answered = true;
                    match self.in_order(answer.sequence) {
                        Order::Next => {}
                        Order::Again => continue,
                        Order::Hole => {
                            self.calls.metrics.calls_with_losses.inc();
                            return Some(self.fail(Status::data_loss("an answer was lost between the cluster and the control plane")));
                        }
                    }
                    if let Some(msg) = answer.msg {
                        return self.take(msg);
                    }
                }
            }
        }
    }

    fn take(&mut self, answer: Answer) -> Option<Result<Answer, Status>> {
        if let Answer::Status(status) = answer {
            self.finished = true;
            self.bridge.forget(&self.id);
            return (status.code != 0).then(|| Err(Status::new(Code::from(status.code), status.message)));
        }
        if size(&answer) > ANSWER_BYTES_MAX {
            return Some(self.fail(Status::internal(
                "Large data batch rejected by passthrough proxy limits: the rows of one message exceed 1 MiB. Select fewer columns, or add \
                 a head() to the script",
            )));
        }
        Some(Ok(answer))
    }

    fn in_order(&mut self, sequence: u64) -> Order {
        match sequence {
            // The Vizier is none of ours.
            0 => Order::Next,
            next if next == self.received + 1 => {
                self.received = next;
                Order::Next
            }
            again if again <= self.received => Order::Again,
            _ => Order::Hole,
        }
    }

    fn acknowledge(&mut self) {
        let request = C2vapiStreamRequest {
            request_id: self.id.clone(),
            token: self.token.clone(),
            acknowledged: self.received,
            ..Default::default()
        };
        if self.bridge.try_send(call_message(&request)) {
            self.acknowledged = self.received;
        }
    }

    /// Whether the cluster still stands as the call needs it.
    async fn stands(&self) -> bool {
        self.calls.standing(self.caller, self.bridge.cluster).await.is_ok_and(|standing| self.needs.met(standing))
    }

    fn why_cut(&self) -> Status {
        match self.cut.get() {
            Some(Cut::Slow) => Status::resource_exhausted("the client read too slowly: the control plane holds no more of its answers"),
            Some(Cut::Bridge) | None => Status::unavailable("the connection to the cluster broke"),
        }
    }

    fn fail(&mut self, status: Status) -> Result<Answer, Status> {
        self.cancel();
        Err(status)
    }

    fn cancel(&mut self) {
        if !std::mem::replace(&mut self.finished, true) && self.bridge.forget(&self.id) {
            self.bridge.cancel(&self.id);
        }
    }
}

/// The client is gone, or has what it wanted.
impl Drop for Call {
    fn drop(&mut self) {
        self.cancel();
    }
}

enum Order {
    Next,
    Again,
    Hole,
}

fn size(answer: &Answer) -> usize {
    use prost::Message as _;
    match answer {
        Answer::ExecResp(message) => message.encoded_len(),
        Answer::HcResp(message) => message.encoded_len(),
        Answer::Status(message) => message.encoded_len(),
        Answer::DebugLogResp(message) => message.encoded_len(),
        Answer::DebugPodsResp(message) => message.encoded_len(),
        Answer::GenerateOtelScriptResp(message) => message.encoded_len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_nobody_answers_is_lost_and_one_that_works_on_is_not() {
        assert!(!never_came(false, Duration::from_secs(29)));
        assert!(never_came(false, SILENCE_MAX));
        assert!(!never_came(true, Duration::from_mins(10)), "a query may take its time once it has begun");
    }
}
