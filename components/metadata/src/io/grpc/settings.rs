use std::time::Duration;

use api::statuspb;
use api::vizier::services::metadata::metadata_config_service_server::MetadataConfigService;
use api::vizier::services::metadata::{UpdateConfigRequest, UpdateConfigResponse};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Desk, refused, status};

/// How long an agent may take. It is told again every second.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A key and its value.
const SETTING_BYTES_MAX: usize = 64 * 1024;

pub(crate) struct Service(pub(crate) Desk);

#[tonic::async_trait]
impl MetadataConfigService for Service {
    async fn update_config(&self, request: Request<UpdateConfigRequest>) -> Result<Response<UpdateConfigResponse>, Status> {
        let handle = self.0.leader()?;
        let UpdateConfigRequest { key, value, agent_pod_name: pod } = request.into_inner();
        if key.is_empty() || key.len() + value.len() > SETTING_BYTES_MAX {
            return Err(Status::invalid_argument(format!("a setting needs a key, and has at most {SETTING_BYTES_MAX} bytes")));
        }
        let (answer, answered) = oneshot::channel();
        let (id, name) = (Uuid::new_v4(), pod.clone());
        let known = handle.read(move |desk, _| desk.set(id, &name, key, value, answer)).await.map_err(refused)?;
        let outcome = if known {
            match tokio::time::timeout(ANSWER_MAX, answered).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => return Err(Status::unavailable("this metadata service is not the leader any more")),
                Err(_) => {
                    status(statuspb::Code::DeadlineExceeded, format!("the agent in the pod `{pod}` did not answer within {ANSWER_MAX:?}"))
                }
            }
        } else {
            status(statuspb::Code::NotFound, format!("there is no agent in a pod `{pod}`"))
        };
        Ok(Response::new(UpdateConfigResponse { status: Some(outcome) }))
    }
}
