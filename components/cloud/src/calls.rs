//! Calls that are passed through to a Vizier. Reference: api.md, section 8.2.

mod progress;

use std::sync::Arc;

use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answer;
use api::cvmsgspb::{C2vapiStreamRequest, V2capiStreamResponse};
use ids::ClusterId;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};
use uuid::Uuid;

use self::progress::{ANSWER_MAX, Came, Progress, Quiet, SAY_EVERY};
use crate::bridges::{Answers, Bridge, Bridges, Cut, call_bytes, call_message};
use crate::caller::{Caller, internal};
use crate::life::Standing;
use crate::metrics::Metrics;
use crate::store::{self, Store};

/// Answers that a Vizier may have under way unacknowledged: a slow client slows its query, and a tenth of a second of travel
/// still leaves room for some hundred MB a second.
const WINDOW: u32 = 32;

/// What the bus in a cluster carries. Reference: NATS' largest payload, 1 MiB, less what travels beside a call.
const CALL_BYTES_MAX: usize = 1024 * 1024 - 4096;

/// The largest answer, as it is told to clients. Reference: api.md, section 3.3.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

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
        let token = bridge.token();
        let request = C2vapiStreamRequest { request_id: id.clone(), token, window: WINDOW, msg: Some(ask), ..Default::default() };
        if call_bytes(&request) > CALL_BYTES_MAX {
            return Err(Status::invalid_argument("the call is larger than the 1 MiB that a cluster's bus carries"));
        }
        let Answers { receiver, cut } = bridge.expect(&id);
        let mut call = Call {
            calls: self.clone(),
            caller,
            needs,
            bridge: Arc::clone(&bridge),
            id,
            request: None,
            receiver,
            cut,
            progress: Progress::new(bridge.repeats_calls, Instant::now()),
            acknowledged: 0,
            finished: false,
        };
        bridge.send(call_message(&request)).await.map_err(|_| unhealthy())?;
        call.request = Some(request).filter(|_| bridge.repeats_calls);
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

/// A call that was sent. Dropping it cancels it.
#[derive(Debug)]
pub(crate) struct Call {
    calls: Calls,
    caller: Caller,
    needs: Needs,
    bridge: Arc<Bridge>,
    id: String,
    /// As it was said, where it may be said again: until its first answer comes.
    request: Option<C2vapiStreamRequest>,
    receiver: tokio::sync::mpsc::Receiver<V2capiStreamResponse>,
    cut: Arc<std::sync::OnceLock<Cut>>,
    progress: Progress,
    acknowledged: u64,
    finished: bool,
}

impl Call {
    /// The next answer; None when the call ended well. Whoever asks for the next has handed over the one before.
    pub(crate) async fn next(&mut self) -> Option<Result<Answer, Status>> {
        if self.finished {
            return None;
        }
        if self.progress.received() - self.acknowledged >= u64::from(WINDOW / 4) {
            self.acknowledge(false);
        }
        loop {
            match timeout(SAY_EVERY, self.receiver.recv()).await {
                Err(_) => {
                    if let Err(status) = self.wait_on().await {
                        return Some(self.fail(status));
                    }
                }
                Ok(None) => return Some(self.fail(self.why_cut())),
                Ok(Some(answer)) => match self.progress.take(answer.sequence, answer.msg.is_some(), Instant::now()) {
                    Came::Next => {
                        self.request = None;
                        if let Some(msg) = answer.msg {
                            return self.take(msg);
                        }
                    }
                    Came::Nothing => {}
                    Came::Ask => {
                        self.calls.metrics.calls_with_losses.inc();
                        self.acknowledge(true);
                    }
                    Came::Lost => {
                        self.calls.metrics.calls_lost.inc();
                        return Some(self.fail(Status::data_loss("an answer was lost between the cluster and the control plane")));
                    }
                },
            }
        }
    }

    /// Nothing comes: it is said again, unless that is hopeless.
    async fn wait_on(&mut self) -> Result<(), Status> {
        let now = Instant::now();
        match self.progress.quiet(now) {
            Quiet::NeverTaken => return Err(unanswered()),
            Quiet::SayCall => self.say_again(),
            Quiet::SayNumber => self.acknowledge(self.progress.repeats()),
            Quiet::Wait => {}
        }
        if self.progress.silence(now) >= ANSWER_MAX && !self.stands().await {
            return Err(unhealthy());
        }
        Ok(())
    }

    fn take(&mut self, answer: Answer) -> Option<Result<Answer, Status>> {
        if let Answer::Status(status) = answer {
            self.finished = true;
            self.bridge.forget(&self.id);
            if self.progress.repeats() {
                // It would say the last answers again to whoever misses some.
                self.bridge.cancel(&self.id);
            }
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

    /// Says the whole call once more. A Vizier that knows it says that it runs.
    fn say_again(&mut self) {
        let Some(request) = &mut self.request else { return };
        request.token = self.bridge.token();
        if self.bridge.try_send(call_message(request)) {
            self.calls.metrics.calls_repeated.inc();
        }
    }

    /// Says up to which answer all are handed over; `again`: what follows it may be lost.
    fn acknowledge(&mut self, again: bool) {
        let acknowledged = self.progress.received();
        let request =
            C2vapiStreamRequest { request_id: self.id.clone(), token: self.bridge.token(), acknowledged, again, ..Default::default() };
        if self.bridge.try_send(call_message(&request)) {
            self.acknowledged = acknowledged;
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
