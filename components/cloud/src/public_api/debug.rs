use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answer;
use api::vizierpb::vizier_debug_service_server::VizierDebugService;
use api::vizierpb::{DebugLogRequest, DebugLogResponse, DebugPodsRequest, DebugPodsResponse};
use tonic::{Request, Response, Status};

use super::{Answers, PublicApi, answers};
use crate::calls::{Calls, Needs};

#[tonic::async_trait]
impl VizierDebugService for PublicApi {
    type DebugLogStream = Answers<DebugLogResponse>;
    type DebugPodsStream = Answers<DebugPodsResponse>;

    async fn debug_log(&self, request: Request<DebugLogRequest>) -> Result<Response<Self::DebugLogStream>, Status> {
        let caller = self.callers.identify(request.metadata()).await?;
        let request = request.into_inner();
        let cluster = Calls::cluster(&request.cluster_id)?;
        let call = self.calls.begin(caller, cluster, Needs::Presence, Ask::DebugLogReq(request)).await?;
        Ok(Response::new(answers(call, |answer| if let Answer::DebugLogResp(answer) = answer { Some(answer) } else { None })))
    }

    async fn debug_pods(&self, request: Request<DebugPodsRequest>) -> Result<Response<Self::DebugPodsStream>, Status> {
        let caller = self.callers.identify(request.metadata()).await?;
        let request = request.into_inner();
        let cluster = Calls::cluster(&request.cluster_id)?;
        let call = self.calls.begin(caller, cluster, Needs::Presence, Ask::DebugPodsReq(request)).await?;
        Ok(Response::new(answers(call, |answer| if let Answer::DebugPodsResp(answer) = answer { Some(answer) } else { None })))
    }
}
