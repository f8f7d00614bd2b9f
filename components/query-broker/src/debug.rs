//! `VizierDebugService`: pods and their logs, from whoever knows them.
//!
//! The broker knows no Kubernetes. The cloud connector does, where there is one: it is asked by the bus.

use std::time::Duration;

use api::cvmsgspb::C2vapiStreamRequest;
use api::cvmsgspb::V2capiStreamResponse;
use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answer;
use api::vizierpb::vizier_debug_service_server::VizierDebugService;
use api::vizierpb::{DebugLogRequest, DebugLogResponse, DebugPodsRequest, DebugPodsResponse};
use bus::subject::Subject;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use crate::broker::Broker;

/// Where a question about pods is asked: `C2VAPIStreamRequest`, answered by one `V2CAPIStreamResponse`.
pub const PODS_SUBJECT: &str = "DebugPods";

/// The Kubernetes API may take its time.
const ANSWER_MAX: Duration = Duration::from_secs(10);

#[tonic::async_trait]
impl VizierDebugService for Broker {
    type DebugLogStream = BoxStream<'static, Result<DebugLogResponse, Status>>;

    async fn debug_log(&self, request: Request<DebugLogRequest>) -> Result<Response<Self::DebugLogStream>, Status> {
        self.debug_log_messages(request.into_inner()).await.map(Response::new)
    }

    type DebugPodsStream = BoxStream<'static, Result<DebugPodsResponse, Status>>;

    async fn debug_pods(&self, request: Request<DebugPodsRequest>) -> Result<Response<Self::DebugPodsStream>, Status> {
        self.debug_pods_messages(request.into_inner()).await.map(Response::new)
    }
}

impl Broker {
    pub(crate) async fn debug_log_messages(
        &self,
        request: DebugLogRequest,
    ) -> Result<BoxStream<'static, Result<DebugLogResponse, Status>>, Status> {
        let answer = self.ask_about_pods(Ask::DebugLogReq(request)).await?;
        let Answer::DebugLogResp(log) = answer else { return Err(unexpected(&answer)) };
        Ok(stream::iter([Ok(log)]).boxed())
    }

    pub(crate) async fn debug_pods_messages(
        &self,
        request: DebugPodsRequest,
    ) -> Result<BoxStream<'static, Result<DebugPodsResponse, Status>>, Status> {
        let answer = self.ask_about_pods(Ask::DebugPodsReq(request)).await?;
        let Answer::DebugPodsResp(pods) = answer else { return Err(unexpected(&answer)) };
        Ok(stream::iter([Ok(pods)]).boxed())
    }

    async fn ask_about_pods(&self, ask: Ask) -> Result<Answer, Status> {
        let nobody = |why: &str| Status::failed_precondition(format!("this Vizier does not know of pods: {why}"));
        let Some(bus) = self.inner.bus.get() else { return Err(nobody("it is one process, and there is no Kubernetes around it")) };
        let subject: Subject<C2vapiStreamRequest> = Subject::named(PODS_SUBJECT).map_err(|error| Status::internal(error.to_string()))?;
        let request = C2vapiStreamRequest { request_id: Uuid::new_v4().to_string(), msg: Some(ask), ..Default::default() };
        match bus.request::<_, V2capiStreamResponse>(&subject, &request, ANSWER_MAX).await {
            Ok(V2capiStreamResponse { msg: Some(answer), .. }) => Ok(answer),
            Ok(_) => Err(Status::internal("an empty answer about pods")),
            Err(bus::Error::NoResponder { .. }) => {
                Err(nobody("no cloud connector runs in Kubernetes here; ask GetAgentStatus for its agents"))
            }
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }
}

/// Its own word, or none that belongs here.
fn unexpected(answer: &Answer) -> Status {
    if let Answer::Status(status) = answer {
        return Status::new(Code::from(status.code), status.message.clone());
    }
    Status::internal("an answer about pods that is none")
}
