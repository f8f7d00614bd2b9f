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

use super::answers::{Answers, Gone, Heard};
use super::calls::{Begun, Calls};
use super::wire;
use crate::broker::Broker;
use crate::limits::PASSTHROUGH_CALLS_MAX;

const REQUESTS: &str = "VizierPassthroughRequest";

/// What is said where the rest of the answers is gone.
const UNKNOWN: &str = "the query broker does not know this call any more: it was restarted while the call ran. Run it again";

/// What is said where an answer does not fit. Reference: api.md §3.3.
const TOO_LARGE: &str = "Large data batch rejected by passthrough proxy limits: the rows of one message exceed what the bus carries. \
                         Select fewer columns, or add a head() to the script";

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
    let desk = Desk { broker, bus, calls: Arc::default() };
    while let Some(Some(request)) = stop.run_until_cancelled(requests.next()).await {
        desk.take(&request);
    }
}

#[derive(Clone)]
struct Desk {
    broker: Broker,
    bus: Bus,
    calls: Arc<Mutex<Calls>>,
}

impl Desk {
    fn take(&self, received: &Received<C2vMessage>) {
        let counters = &self.broker.inner.counters;
        let vizier_id = received.message.vizier_id.clone();
        let request = match wire::request(&received.message) {
            Ok(request) if !request.request_id.is_empty() && Topic::new(&request.request_id).is_ok() => request,
            wrong => {
                counters.passthrough_malformed.add(1);
                let why = wrong.err().unwrap_or_else(|| "it has no id, or one that cannot stand in a subject".to_owned());
                tracing::warn!(sender = received.sender.as_deref(), why, "a message is no call and is dropped");
                return;
            }
        };
        let C2vapiStreamRequest { request_id, token, window, acknowledged, again, msg } = request;
        match msg {
            Some(Ask::CancelReq(_)) => self.calls.lock().cancel(&request_id),
            None => {
                let known = self.calls.lock().hear(&request_id, acknowledged, again);
                counters.passthrough_repeated.add(u64::from(again));
                if again && !known {
                    self.refuse_unknown((vizier_id, request_id), acknowledged);
                }
            }
            Some(ask) => self.begin(((vizier_id, request_id), token, window), ask),
        }
    }

    fn begin(&self, ((vizier_id, request_id), token, window): ((String, String), String, u32), ask: Ask) {
        let counters = &self.broker.inner.counters;
        let (hear, heard) = watch::channel(Heard::default());
        let Some(mut answers) = Answers::new(self.bus.clone(), (vizier_id, request_id.clone()), window, heard) else { return };
        let cancel = CancellationToken::new();
        let begun = self.calls.lock().begin(&request_id, &cancel, hear);
        let full = match begun {
            Begun::Known => {
                counters.passthrough_repeated.add(1);
                return;
            }
            Begun::New => false,
            Begun::Full => true,
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
            desk.answer(ask, &token, &mut answers, &cancel).await;
            desk.calls.lock().end(&request_id);
            // Whoever has everything, or is gone, says so.
            tokio::select! {
                () = answers.linger() => {}
                () = cancel.cancelled() => {}
                () = desk.broker.inner.stop.cancelled() => {}
            }
            desk.calls.lock().forget(&request_id);
        };
        self.broker.inner.tasks.spawn(task.instrument(span));
    }

    /// Some of its answers are missing, and nobody has them.
    fn refuse_unknown(&self, names: (String, String), acknowledged: u64) {
        self.broker.inner.counters.passthrough_unknown.add(1);
        tracing::warn!(request = names.1, acknowledged, "answers are missing of a call that is not known");
        let (_over, heard) = watch::channel(Heard { acknowledged, again: 0 });
        let Some(mut answers) = Answers::new(self.bus.clone(), names, 0, heard) else { return };
        self.broker.inner.tasks.spawn(async move { answers.end(&Status::unavailable(UNKNOWN)).await });
    }

    async fn answer(&self, ask: Ask, token: &str, answers: &mut Answers, cancel: &CancellationToken) {
        let status = match answering(self.stream(ask, token, cancel), answers).await {
            Ok(mut stream) => pass_on(&mut stream, answers, cancel).await,
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

/// Prepares the answers; whoever asks meanwhile is told that it runs.
async fn answering<T>(preparing: impl Future<Output = T>, answers: &mut Answers) -> T {
    tokio::pin!(preparing);
    loop {
        tokio::select! {
            prepared = &mut preparing => return prepared,
            () = answers.asked_again() => {
                if let Err(gone) = answers.say_again().await {
                    tracing::debug!(?gone, "nobody hears that a call runs");
                }
            }
        }
    }
}

/// How it ended.
async fn pass_on(stream: &mut BoxStream<'static, Result<Answer, Status>>, answers: &mut Answers, cancel: &CancellationToken) -> Status {
    let cancelled = || Status::new(Code::Cancelled, "the client is gone");
    loop {
        let next = tokio::select! {
            next = stream.next() => next,
            () = answers.asked_again() => {
                if let Some(Err(gone)) = cancel.run_until_cancelled(answers.say_again()).await {
                    return lost(gone);
                }
                continue;
            }
        };
        // The stream itself ends when it is cancelled; asked once more, it lets its query go.
        let Some(next) = next else {
            return if cancel.is_cancelled() { cancelled() } else { Status::new(Code::Ok, "") };
        };
        let answer = match next {
            Ok(answer) => answer,
            Err(status) => return status,
        };
        match cancel.run_until_cancelled(answers.send(answer)).await {
            // Cancelled: the next turn of the loop sees the end of the stream.
            Some(Ok(())) | None => {}
            Some(Err(gone)) => return lost(gone),
        }
    }
}

fn lost(gone: Gone) -> Status {
    match gone {
        Gone::TooLarge => Status::internal(TOO_LARGE),
        Gone::Silent(why) => Status::deadline_exceeded(why),
    }
}
