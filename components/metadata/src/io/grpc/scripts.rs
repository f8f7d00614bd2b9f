use api::vizier::services::metadata::cron_script_store_service_server::CronScriptStoreService;
use api::vizier::services::metadata::{
    AddOrUpdateScriptRequest, AddOrUpdateScriptResponse, DeleteScriptRequest, DeleteScriptResponse, GetAllExecutionResultsRequest,
    GetAllExecutionResultsResponse, GetScriptsRequest, GetScriptsResponse, RecordExecutionResultRequest, RecordExecutionResultResponse,
    SetScriptsRequest, SetScriptsResponse,
};
use tonic::{Request, Response, Status};

use super::{Desk, malformed, refused};
use crate::scripts::{Refused, Shelf};
use crate::wire::scripts::{decode_run, decode_script, decode_scripts, encode_run, encode_scripts, script_id};

pub(crate) struct Service(pub(crate) Desk);

impl Service {
    async fn change(&self, change: impl FnOnce(&mut Shelf) -> Result<(), Refused> + Send + 'static) -> Result<(), Status> {
        let outcome = self.0.leader()?.change(|desk, _| change(&mut desk.shelf)).await.map_err(refused)?;
        outcome.map_err(|refused| match refused {
            Refused::TooLarge(_) => Status::invalid_argument(refused.to_string()),
            Refused::TooMany(_) => Status::resource_exhausted(refused.to_string()),
            Refused::Unknown => Status::not_found(refused.to_string()),
        })
    }
}

#[tonic::async_trait]
impl CronScriptStoreService for Service {
    async fn get_scripts(&self, _request: Request<GetScriptsRequest>) -> Result<Response<GetScriptsResponse>, Status> {
        let scripts = self.0.leader()?.read(|desk, _| desk.shelf.scripts().clone()).await.map_err(refused)?;
        Ok(Response::new(GetScriptsResponse { scripts: encode_scripts(&scripts) }))
    }

    async fn add_or_update_script(
        &self,
        request: Request<AddOrUpdateScriptRequest>,
    ) -> Result<Response<AddOrUpdateScriptResponse>, Status> {
        let script = request.into_inner().script.ok_or_else(|| Status::invalid_argument("there is no script in it"))?;
        let (id, script) = decode_script(script).map_err(malformed)?;
        self.change(move |shelf| shelf.put(id, script)).await?;
        Ok(Response::new(AddOrUpdateScriptResponse {}))
    }

    async fn delete_script(&self, request: Request<DeleteScriptRequest>) -> Result<Response<DeleteScriptResponse>, Status> {
        let id = script_id(request.into_inner().script_id.as_ref()).map_err(malformed)?;
        self.change(move |shelf| {
            // One that is not there is what was asked for.
            let _was_there = shelf.remove(id);
            Ok(())
        })
        .await?;
        Ok(Response::new(DeleteScriptResponse {}))
    }

    async fn set_scripts(&self, request: Request<SetScriptsRequest>) -> Result<Response<SetScriptsResponse>, Status> {
        let scripts = decode_scripts(request.into_inner().scripts).map_err(malformed)?;
        self.change(move |shelf| shelf.replace(scripts)).await?;
        Ok(Response::new(SetScriptsResponse {}))
    }

    async fn record_execution_result(
        &self,
        request: Request<RecordExecutionResultRequest>,
    ) -> Result<Response<RecordExecutionResultResponse>, Status> {
        let (id, run) = decode_run(request.into_inner()).map_err(malformed)?;
        self.change(move |shelf| shelf.record(id, run)).await?;
        Ok(Response::new(RecordExecutionResultResponse {}))
    }

    async fn get_all_execution_results(
        &self,
        _request: Request<GetAllExecutionResultsRequest>,
    ) -> Result<Response<GetAllExecutionResultsResponse>, Status> {
        let results = self.0.leader()?.read(|desk, _| desk.shelf.runs().map(|(id, run)| encode_run(id, run)).collect());
        Ok(Response::new(GetAllExecutionResultsResponse { results: results.await.map_err(refused)? }))
    }
}
