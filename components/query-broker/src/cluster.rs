//! `VizierClusterInfo`: this Vizier as the only cluster that there is.

use api::cloudapi::vizier_cluster_info_server::VizierClusterInfo;
use api::cloudapi::{
    ClusterInfo, ClusterStatus, GetClusterInfoRequest, GetClusterInfoResponse, UpdateOrInstallClusterRequest,
    UpdateOrInstallClusterResponse, VizierConfig,
};
use api::uuidpb;
use ids::ClusterId;
use tonic::{Request, Response, Status};

use crate::broker::{Broker, ClusterIdentity, ClusterState, Nodes};

#[tonic::async_trait]
impl VizierClusterInfo for Broker {
    async fn get_cluster_info(&self, request: Request<GetClusterInfoRequest>) -> Result<Response<GetClusterInfoResponse>, Status> {
        let own = self.inner.identity.id;
        if let Some(id) = request.into_inner().id {
            let asked = ClusterId::from_halves(id.high_bits, id.low_bits);
            if asked != own {
                return Err(Status::not_found(format!("there is no cluster {asked} here; the only one is {own}")));
            }
        }
        let state = self.inner.state.borrow().clone();
        let nodes = *self.inner.nodes.borrow();
        Ok(Response::new(GetClusterInfoResponse { clusters: vec![info(&self.inner.identity, &state, nodes)] }))
    }

    async fn update_or_install_cluster(
        &self,
        _request: Request<UpdateOrInstallClusterRequest>,
    ) -> Result<Response<UpdateOrInstallClusterResponse>, Status> {
        Err(Status::unimplemented("a Vizier does not change its own version: ask its control plane, or whoever installed it"))
    }
}

fn info(identity: &ClusterIdentity, state: &ClusterState, nodes: Option<Nodes>) -> ClusterInfo {
    let (status, status_message) = match state {
        ClusterState::Starting => (ClusterStatus::CsUpdating, "starting".to_owned()),
        ClusterState::Healthy => (ClusterStatus::CsHealthy, String::new()),
        ClusterState::Degraded(why) => (ClusterStatus::CsDegraded, why.clone()),
        ClusterState::Unhealthy(why) => (ClusterStatus::CsUnhealthy, why.clone()),
    };
    let (high_bits, low_bits) = identity.id.to_halves();
    let capturing = matches!(state, ClusterState::Healthy | ClusterState::Degraded(_));
    let nodes = nodes.unwrap_or(Nodes { all: 1, instrumented: i32::from(capturing) });
    ClusterInfo {
        id: Some(uuidpb::Uuid { high_bits, low_bits }),
        status: status as i32,
        // Time since the last heartbeat: this answer is one.
        last_heartbeat_ns: 0,
        config: Some(VizierConfig { passthrough_enabled: false }),
        cluster_uid: identity.id.to_string(),
        cluster_name: identity.name.clone(),
        pretty_cluster_name: identity.name.clone(),
        cluster_version: identity.cluster_version.clone(),
        vizier_version: identity.vizier_version.clone(),
        num_nodes: nodes.all,
        num_instrumented_nodes: nodes.instrumented,
        status_message,
        ..Default::default()
    }
}
