use api::services::{RegisterVizierDeploymentRequest, RegisterVizierDeploymentResponse};
use ids::{ClusterId, OrgId};
use tonic::Status;

use super::VzConn;
use crate::caller::internal;
use crate::life::{Life, Standing};
use crate::names;
use crate::store::{self, Cluster, Facts};
use crate::wire;

/// A longer one is refused. Those of Kubernetes are UUIDs.
const UID_BYTES_MAX: usize = 128;

impl VzConn {
    /// A new cluster gets its id, one that is known and not heard its old one.
    pub(super) async fn register(
        &self,
        org: OrgId,
        request: RegisterVizierDeploymentRequest,
    ) -> Result<RegisterVizierDeploymentResponse, Status> {
        let uid = request.k8s_cluster_uid;
        if uid.is_empty() || uid.len() > UID_BYTES_MAX || uid.chars().any(char::is_control) {
            return Err(Status::invalid_argument("k8s_cluster_uid is missing, too long, or no text"));
        }
        let _alone = self.registering.lock().await;
        let known = self.store.cluster_with_uid(org, &uid).await.map_err(|error| internal(&error))?;
        let now = store::now();
        if let Some(known) = &known
            && !may_register_again(known.life.standing(now))
        {
            tracing::warn!(cluster = %known.id, uid, "a second registration of a cluster that is active is refused");
            // Only a key of the same organisation hears this: to others the cluster does not exist.
            return Err(Status::already_exists(
                "a Vizier with this cluster UID is registered and still active; it can be registered again two minutes after it was last heard",
            ));
        }
        let others = self.store.clusters(org).await.map_err(|error| internal(&error))?;
        let taken = |name: &str| others.iter().any(|other| other.name == name && other.uid != uid);
        let current = known.as_ref().map(|known| known.name.as_str());
        let name = names::choose(&request.k8s_cluster_name, current, taken, rand::random())
            .map_err(|unfit| Status::invalid_argument(unfit.to_string()))?;
        let cluster = match known {
            Some(known) => Cluster { name, ..known },
            None => Cluster { id: ClusterId::from_bytes(store::new_id()), org, uid, name, facts: Facts::default(), life: Life::default() },
        };
        self.store.put_cluster(&cluster).await.map_err(|error| internal(&error))?;
        tracing::info!(cluster = %cluster.id, name = cluster.name, uid = cluster.uid, "a cluster is registered");
        Ok(RegisterVizierDeploymentResponse { vizier_id: Some(wire::id(cluster.id)), vizier_name: cluster.name })
    }
}

/// One that never came after its registration may have lost the answer.
fn may_register_again(standing: Standing) -> bool {
    matches!(standing, Standing::Disconnected | Standing::Unknown)
}
