use std::collections::BTreeMap;
use std::sync::Arc;

use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answer;
use api::cvmsgspb::{C2vMessage, C2vapiStreamRequest};
use api::vizierpb::ExecuteScriptRequest;
use bus::subject::Topic;
use bus::{Bus, Received, subject};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tracing::Instrument as _;

use super::answers::{Answers, Gone};
use super::wire;
use crate::broker::Broker;
use crate::limits::PASSTHROUGH_CALLS_MAX;

const REQUESTS: &str = "VizierPassthroughRequest";

/// What is said where an answer does not fit. Reference: api.md §3.3.
const TOO_LARGE: &str = "Large data batch rejected by passthrough proxy limits: the rows of one message exceed what the bus carries. \
                         Select fewer columns, or add a head() to the script";

type Running = Arc<Mutex<BTreeMap<String, Call>>>;

/// A call that runs.
struct Call {
    cancel: CancellationToken,
    acknowledged: watch::Sender<u64>,
}

/// Answers calls until it is told to stop.
pub(crate) async fn serve(broker: Broker, bus: Bus) {
    let stop = broker.inner.stop.clone();
    let Ok(topic) = Topic::new(REQUESTS) else { return };
    let mut requests = match bus.subscribe(subject::c2v(topic)).await {
        Ok(requests) => requests,
        Err(error) => {
            tracing::error!(%error, "calls by the bus are not answered");
            return;
        }
    };
    let desk = Desk { broker, bus, running: Running::default() };
    while let Some(Some(request)) = stop.run_until_cancelled(requests.next()).await {
        desk.take(&request);
    }
}

#[derive(Clone)]
struct Desk {
    broker: Broker,
    bus: Bus,
    running: Running,
}

impl Desk {
    fn take(&self, received: &Received<C2vMessage>) {
        let counters = &self.broker.inner.counters;
        let vizier_id = received.message.vizier_id.clone();
        let request = match wire::request(&received.message) {
            Ok(request) if !request.request_id.is_empty() => request,
            wrong => {
                counters.passthrough_malformed.add(1);
                let why = wrong.err().unwrap_or_else(|| "it has no id".to_owned());
                tracing::warn!(sender = received.sender.as_deref(), why, "a message is no call and is dropped");
                return;
            }
        };
        let C2vapiStreamRequest { request_id, token, window, acknowledged, msg } = request;
        match msg {
            Some(Ask::CancelReq(_)) => {
                if let Some(call) = self.running.lock().get(&request_id) {
                    call.cancel.cancel();
                }
            }
            None => {
                if let Some(call) = self.running.lock().get(&request_id) {
                    // They may overtake each other.
                    call.acknowledged.send_if_modified(|known| {
                        let news = *known < acknowledged;
                        *known = acknowledged.max(*known);
                        news
                    });
                }
            }
            Some(ask) => self.begin(((vizier_id, request_id), token, window), ask),
        }
    }

    fn begin(&self, ((vizier_id, request_id), token, window): ((String, String), String, u32), ask: Ask) {
        let counters = &self.broker.inner.counters;
        let (acknowledged, heard) = watch::channel(0);
        let Some(answers) = Answers::new(self.bus.clone(), (vizier_id, request_id.clone()), window, heard) else {
            counters.passthrough_malformed.add(1);
            tracing::warn!("a call whose id cannot stand in a subject is dropped");
            return;
        };
        let cancel = CancellationToken::new();
        let full = {
            let mut running = self.running.lock();
            if running.contains_key(&request_id) {
                // The bus may say things twice.
                return;
            }
            let full = running.len() >= PASSTHROUGH_CALLS_MAX;
            if !full {
                running.insert(request_id.clone(), Call { cancel: cancel.clone(), acknowledged });
            }
            full
        };
        counters.passthrough_requests.add(1);
        let desk = self.clone();
        let span = tracing::info_span!("passthrough", request = request_id);
        let task = async move {
            if full {
                let text = format!("{PASSTHROUGH_CALLS_MAX} calls run, which is the most: try again when one has ended");
                answers.end(&Status::resource_exhausted(text)).await;
                return;
            }
            desk.answer(ask, &token, answers, &cancel).await;
            desk.running.lock().remove(&request_id);
        };
        self.broker.inner.tasks.spawn(task.instrument(span));
    }

    async fn answer(&self, ask: Ask, token: &str, mut answers: Answers, cancel: &CancellationToken) {
        let status = match self.stream(ask, token, cancel).await {
            Ok(mut stream) => pass_on(&mut stream, &mut answers, cancel).await,
            Err(status) => status,
        };
        tracing::debug!(code = ?status.code(), "a call has ended");
        answers.end(&status).await;
    }

    async fn stream(
        &self,
        ask: Ask,
        token: &str,
        cancel: &CancellationToken,
    ) -> Result<BoxStream<'static, Result<Answer, Status>>, Status> {
        let mut headers = MetadataMap::new();
        let value = MetadataValue::try_from(format!("bearer {token}")).map_err(|_| Status::unauthenticated(auth::UNAUTHENTICATED))?;
        headers.insert("authorization", value);
        self.broker.inner.access.caller(&headers, "the bus")?;
        Ok(match ask {
            Ask::ExecReq(request) => self.execute(request, cancel).await?,
            Ask::HcReq(_) => {
                let until = cancel.clone().cancelled_owned();
                self.broker.health_messages().map(|message| message.map(Answer::HcResp)).take_until(until).boxed()
            }
            Ask::GenerateOtelScriptReq(request) => {
                let answer = self.broker.otel_script(request).await?;
                futures::stream::iter([Ok(Answer::GenerateOtelScriptResp(answer))]).boxed()
            }
            Ask::DebugPodsReq(request) => self.broker.debug_pods_messages(request).await?.map(|m| m.map(Answer::DebugPodsResp)).boxed(),
            Ask::DebugLogReq(request) => self.broker.debug_log_messages(request).await?.map(|m| m.map(Answer::DebugLogResp)).boxed(),
            Ask::CancelReq(_) => return Err(Status::cancelled("the call was cancelled")),
        })
    }

    /// A client that goes away through the control plane says so: its query ends at once.
    async fn execute(
        &self,
        request: ExecuteScriptRequest,
        cancel: &CancellationToken,
    ) -> Result<BoxStream<'static, Result<Answer, Status>>, Status> {
        let consumer = self.broker.begin(request, false).await?;
        let cancel = cancel.clone();
        let messages = futures::stream::unfold((consumer, cancel), |(mut consumer, cancel)| async move {
            let next = cancel.run_until_cancelled(consumer.next()).await;
            if next.is_none() {
                consumer.hang_up();
                return None;
            }
            next.flatten().map(|message| (message.map(Answer::ExecResp), (consumer, cancel)))
        });
        Ok(messages.boxed())
    }
}

/// How it ended.
async fn pass_on(stream: &mut BoxStream<'static, Result<Answer, Status>>, answers: &mut Answers, cancel: &CancellationToken) -> Status {
    let cancelled = || Status::new(Code::Cancelled, "the client is gone");
    loop {
        // The stream itself ends when it is cancelled; asked once more, it lets its query go.
        let Some(next) = stream.next().await else {
            return if cancel.is_cancelled() { cancelled() } else { Status::new(Code::Ok, "") };
        };
        let answer = match next {
            Ok(answer) => answer,
            Err(status) => return status,
        };
        match cancel.run_until_cancelled(answers.send(answer)).await {
            // Cancelled: the next turn of the loop sees the end of the stream.
            Some(Ok(())) | None => {}
            Some(Err(Gone::TooLarge)) => return Status::internal(TOO_LARGE),
            Some(Err(Gone::Silent(why))) => return Status::deadline_exceeded(why),
        }
    }
}
