//! The rest of the metadata service: tracepoints, settings and scripts, as a test sets them, and what the broker asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use api::cvmsgspb::CronScript;
use api::vizier::services::metadata::cron_script_store_service_server::CronScriptStoreService;
use api::vizier::services::metadata::get_tracepoint_info_response::TracepointState;
use api::vizier::services::metadata::metadata_config_service_server::MetadataConfigService;
use api::vizier::services::metadata::metadata_tracepoint_service_server::MetadataTracepointService;
use api::vizier::services::metadata::register_tracepoint_response::TracepointStatus;
use api::vizier::services::metadata::{
    AddOrUpdateScriptRequest, AddOrUpdateScriptResponse, DeleteScriptRequest, DeleteScriptResponse, GetAllExecutionResultsRequest,
    GetAllExecutionResultsResponse, GetScriptsRequest, GetScriptsResponse, GetTracepointInfoRequest, GetTracepointInfoResponse,
    RecordExecutionResultRequest, RecordExecutionResultResponse, RegisterTracepointRequest, RegisterTracepointResponse,
    RemoveTracepointRequest, RemoveTracepointResponse, SetScriptsRequest, SetScriptsResponse, UpdateConfigRequest, UpdateConfigResponse,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::uuid;

/// Clones are the same.
#[derive(Clone, Default)]
pub struct Store {
    pub inner: Arc<Inner>,
}

#[derive(Default)]
pub struct Inner {
    pub registered: Mutex<Vec<RegisterTracepointRequest>>,
    pub removed: Mutex<Vec<String>>,
    /// How the tracepoints stand.
    pub standing: Mutex<Vec<TracepointState>>,
    pub scripts: watch::Sender<HashMap<String, CronScript>>,
    pub runs: watch::Sender<Vec<RecordExecutionResultRequest>>,
}

#[tonic::async_trait]
impl MetadataTracepointService for Store {
    async fn register_tracepoint(
        &self,
        request: Request<RegisterTracepointRequest>,
    ) -> Result<Response<RegisterTracepointResponse>, Status> {
        let request = request.into_inner();
        let of = |number: usize, name: &str| TracepointStatus { status: None, id: Some(uuid(number as u64 + 1)), name: name.to_owned() };
        let tracepoints = request.requests.iter().enumerate().map(|(number, tracepoint)| of(number, &tracepoint.name)).collect();
        self.inner.registered.lock().unwrap().push(request);
        Ok(Response::new(RegisterTracepointResponse { tracepoints, status: None }))
    }

    async fn get_tracepoint_info(&self, _: Request<GetTracepointInfoRequest>) -> Result<Response<GetTracepointInfoResponse>, Status> {
        Ok(Response::new(GetTracepointInfoResponse { tracepoints: self.inner.standing.lock().unwrap().clone() }))
    }

    async fn remove_tracepoint(&self, request: Request<RemoveTracepointRequest>) -> Result<Response<RemoveTracepointResponse>, Status> {
        self.inner.removed.lock().unwrap().extend(request.into_inner().names);
        Ok(Response::new(RemoveTracepointResponse::default()))
    }
}

#[tonic::async_trait]
impl MetadataConfigService for Store {
    async fn update_config(&self, _: Request<UpdateConfigRequest>) -> Result<Response<UpdateConfigResponse>, Status> {
        let status = api::statuspb::Status { err_code: 5, msg: "there is no such agent".to_owned(), context: None };
        Ok(Response::new(UpdateConfigResponse { status: Some(status) }))
    }
}

#[tonic::async_trait]
impl CronScriptStoreService for Store {
    async fn get_scripts(&self, _: Request<GetScriptsRequest>) -> Result<Response<GetScriptsResponse>, Status> {
        Ok(Response::new(GetScriptsResponse { scripts: self.inner.scripts.borrow().clone() }))
    }

    async fn add_or_update_script(
        &self,
        request: Request<AddOrUpdateScriptRequest>,
    ) -> Result<Response<AddOrUpdateScriptResponse>, Status> {
        let script = request.into_inner().script.unwrap();
        let id = script.id.unwrap().low_bits.to_string();
        self.inner.scripts.send_modify(|scripts| {
            scripts.insert(id, script);
        });
        Ok(Response::new(AddOrUpdateScriptResponse::default()))
    }

    async fn delete_script(&self, request: Request<DeleteScriptRequest>) -> Result<Response<DeleteScriptResponse>, Status> {
        let id = request.into_inner().script_id.unwrap().low_bits.to_string();
        self.inner.scripts.send_modify(|scripts| {
            scripts.remove(&id);
        });
        Ok(Response::new(DeleteScriptResponse::default()))
    }

    async fn set_scripts(&self, request: Request<SetScriptsRequest>) -> Result<Response<SetScriptsResponse>, Status> {
        self.inner.scripts.send_replace(request.into_inner().scripts);
        Ok(Response::new(SetScriptsResponse::default()))
    }

    async fn record_execution_result(
        &self,
        request: Request<RecordExecutionResultRequest>,
    ) -> Result<Response<RecordExecutionResultResponse>, Status> {
        self.inner.runs.send_modify(|runs| runs.push(request.into_inner()));
        Ok(Response::new(RecordExecutionResultResponse::default()))
    }

    async fn get_all_execution_results(
        &self,
        _: Request<GetAllExecutionResultsRequest>,
    ) -> Result<Response<GetAllExecutionResultsResponse>, Status> {
        Ok(Response::new(GetAllExecutionResultsResponse::default()))
    }
}
