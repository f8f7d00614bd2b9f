use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answer;
use api::vizierpb::vizier_service_server::VizierService;
use api::vizierpb::{
    ExecuteScriptRequest, ExecuteScriptResponse, GenerateOTelScriptRequest, GenerateOTelScriptResponse, HealthCheckRequest,
    HealthCheckResponse,
};
use tonic::{Request, Response, Status};

use super::{Answers, PublicApi, answers};
use crate::calls::{Calls, Needs};

#[tonic::async_trait]
impl VizierService for PublicApi {
    type ExecuteScriptStream = Answers<ExecuteScriptResponse>;
    type HealthCheckStream = Answers<HealthCheckResponse>;

    async fn execute_script(&self, request: Request<ExecuteScriptRequest>) -> Result<Response<Self::ExecuteScriptStream>, Status> {
        let caller = self.callers.identify(request.metadata()).await?;
        let request = request.into_inner();
        let cluster = Calls::cluster(&request.cluster_id)?;
        let call = self.calls.begin(caller, cluster, Needs::Scripts, Ask::ExecReq(request)).await?;
        Ok(Response::new(answers(call, |answer| if let Answer::ExecResp(answer) = answer { Some(answer) } else { None })))
    }

    async fn health_check(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::HealthCheckStream>, Status> {
        let caller = self.callers.identify(request.metadata()).await?;
        let request = request.into_inner();
        let cluster = Calls::cluster(&request.cluster_id)?;
        let call = self.calls.begin(caller, cluster, Needs::Scripts, Ask::HcReq(request)).await?;
        Ok(Response::new(answers(call, |answer| if let Answer::HcResp(answer) = answer { Some(answer) } else { None })))
    }

    async fn generate_o_tel_script(
        &self,
        request: Request<GenerateOTelScriptRequest>,
    ) -> Result<Response<GenerateOTelScriptResponse>, Status> {
        let caller = self.callers.identify(request.metadata()).await?;
        let request = request.into_inner();
        let cluster = Calls::cluster(&request.cluster_id)?;
        let mut call = self.calls.begin(caller, cluster, Needs::Presence, Ask::GenerateOtelScriptReq(request)).await?;
        match call.next().await {
            Some(Ok(Answer::GenerateOtelScriptResp(answer))) => Ok(Response::new(answer)),
            Some(Err(status)) => Err(status),
            Some(Ok(_)) | None => Err(Status::internal("the cluster answered something else than was asked")),
        }
    }
}
