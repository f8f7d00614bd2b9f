use std::time::Duration;

use api::cloudapi::vizier_cluster_info_server::VizierClusterInfo;
use api::cloudapi::{GetClusterInfoRequest, GetClusterInfoResponse, UpdateOrInstallClusterRequest, UpdateOrInstallClusterResponse};
use api::cvmsgspb::UpdateOrInstallVizierRequest;
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::{PublicApi, named_cluster};
use crate::caller::internal;
use crate::store;
use crate::vzconn::message;
use crate::wire;

/// How long a Vizier may take to say whether it changes its version. Reference: vizier.md, section 3.6.
const UPDATE_ANSWER_MAX: Duration = Duration::from_mins(5);

#[tonic::async_trait]
impl VizierClusterInfo for PublicApi {
    async fn get_cluster_info(&self, request: Request<GetClusterInfoRequest>) -> Result<Response<GetClusterInfoResponse>, Status> {
        let caller = self.callers.identify(request.metadata()).await?;
        let clusters = match request.into_inner().id {
            // Whoever asks for one that is not there gets none: the published clients count on it.
            Some(id) => {
                let found = self.store.cluster(caller.org, wire::cluster_id(id)).await;
                found.map_err(|error| internal(&error))?.into_iter().collect()
            }
            None => self.store.clusters(caller.org).await.map_err(|error| internal(&error))?,
        };
        let now = store::now();
        Ok(Response::new(GetClusterInfoResponse { clusters: clusters.iter().map(|cluster| wire::cluster_info(cluster, now)).collect() }))
    }

    async fn update_or_install_cluster(
        &self,
        request: Request<UpdateOrInstallClusterRequest>,
    ) -> Result<Response<UpdateOrInstallClusterResponse>, Status> {
        let caller = self.callers.identify(request.metadata()).await?;
        let UpdateOrInstallClusterRequest { cluster_id, version, redeploy_etcd } = request.into_inner();
        let id = named_cluster(cluster_id)?;
        if version.is_empty() {
            return Err(Status::invalid_argument("the version is missing"));
        }
        let found = self.store.cluster(caller.org, id).await.map_err(|error| internal(&error))?;
        found.ok_or_else(|| Status::not_found("there is no such cluster"))?;
        let disconnected = || Status::unavailable("the cluster is not connected");
        let bridge = self.bridges.get(id).ok_or_else(disconnected)?;
        let answer = bridge.expect_update();
        let token = bridge.token();
        let update = UpdateOrInstallVizierRequest { vizier_id: Some(wire::id(id)), version, token, redeploy_etcd };
        bridge.send(message("VizierUpdate", "UpdateOrInstallVizierRequest", &update)).await.map_err(|_| disconnected())?;
        tokio::select! {
            answer = timeout(UPDATE_ANSWER_MAX, answer) => match answer {
                Ok(Ok(answer)) => Ok(Response::new(UpdateOrInstallClusterResponse { update_started: answer.update_started })),
                Ok(Err(_)) => Err(Status::aborted("another change of version was asked for meanwhile")),
                Err(_) => Err(Status::deadline_exceeded("the cluster did not say whether it changes its version")),
            },
            () = bridge.over.cancelled() => Err(disconnected()),
        }
    }
}
