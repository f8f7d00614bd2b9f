use std::collections::BTreeSet;
use std::time::Duration;

use api::carnot::planner::dynamic_tracing::ir::logical::TracepointDeployment;
use api::statuspb;
use api::vizier::services::metadata::metadata_tracepoint_service_server::MetadataTracepointService;
use api::vizier::services::metadata::register_tracepoint_request::TracepointRequest;
use api::vizier::services::metadata::register_tracepoint_response::TracepointStatus;
use api::vizier::services::metadata::{
    GetTracepointInfoRequest, GetTracepointInfoResponse, RegisterTracepointRequest, RegisterTracepointResponse, RemoveTracepointRequest,
    RemoveTracepointResponse,
};
use ids::TracepointId;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Desk, refused, status};
use crate::desk;
use crate::tracepoints::{Deployment, Refused, Registered};
use crate::wire::tracepoints::{PodLabels, decode_deployment, encode_state, labels_of, resolve_labels, time_to_live, tracepoint_id};
use crate::wire::uuid;

/// Tracepoints in one request. A script has a handful.
const REQUESTS_MAX: usize = 100;

pub(crate) struct Service(pub(crate) Desk);

/// A request that makes sense so far.
struct Asked {
    id: TracepointId,
    name: String,
    time_to_live: Duration,
    deployment: Deployment,
}

impl Service {
    fn understand(&self, request: TracepointRequest) -> Result<Asked, statuspb::Status> {
        let wrong = |text: String| status(statuspb::Code::InvalidArgument, text);
        let TracepointRequest { tracepoint_deployment, name, ttl } = request;
        let mut deployment = tracepoint_deployment.ok_or_else(|| wrong(format!("the tracepoint `{name}` has no program")))?;
        if let Some(labels) = labels_of(&deployment) {
            self.resolve(&name, &labels, &mut deployment)?;
        }
        let time_to_live = time_to_live(ttl.as_ref().or(deployment.ttl.as_ref()));
        let deployment = decode_deployment(deployment).map_err(|reason| wrong(reason.to_string()))?;
        let (high, low) = Uuid::new_v4().as_u64_pair();
        Ok(Asked { id: TracepointId::from_halves(high, low), name, time_to_live, deployment })
    }

    fn resolve(&self, name: &str, labels: &PodLabels, deployment: &mut TracepointDeployment) -> Result<(), statuspb::Status> {
        let snapshot = self.0.kubernetes.borrow().clone();
        let Some(snapshot) = snapshot else {
            let text = format!("the tracepoint `{name}` asks for pods by their labels, and there is no Kubernetes here");
            return Err(status(statuspb::Code::FailedPrecondition, text));
        };
        let pods = snapshot.pods_labelled(&labels.namespace, &labels.labels);
        if pods.is_empty() {
            return Err(status(statuspb::Code::NotFound, format!("no pod has the labels that the tracepoint `{name}` asks for")));
        }
        resolve_labels(deployment, pods.iter().map(|pod| format!("{}/{}", pod.meta.namespace, pod.meta.name)).collect());
        Ok(())
    }
}

#[tonic::async_trait]
impl MetadataTracepointService for Service {
    async fn register_tracepoint(
        &self,
        request: Request<RegisterTracepointRequest>,
    ) -> Result<Response<RegisterTracepointResponse>, Status> {
        let handle = self.0.leader()?;
        let requests = request.into_inner().requests;
        if requests.len() > REQUESTS_MAX {
            return Err(Status::invalid_argument(format!("{} tracepoints at once: {REQUESTS_MAX} is the limit", requests.len())));
        }
        let names: Vec<String> = requests.iter().map(|request| request.name.clone()).collect();
        let asked: Vec<_> = requests.into_iter().map(|request| self.understand(request)).collect();
        let outcomes = handle.change(move |desk, clock| {
            let now = clock.now();
            desk.replan();
            asked.into_iter().map(|asked| register(desk, asked, now)).collect::<Vec<_>>()
        });
        let outcomes = outcomes.await.map_err(refused)?;
        let failed = outcomes.iter().find_map(|outcome| outcome.as_ref().err()).cloned();
        let tracepoints = names.into_iter().zip(outcomes).map(|(name, outcome)| {
            let (status, id) = match outcome {
                Ok((status, id)) => (status, Some(uuid(id.to_halves()))),
                Err(status) => (status, None),
            };
            TracepointStatus { status: Some(status), id, name }
        });
        let tracepoints = tracepoints.collect();
        Ok(Response::new(RegisterTracepointResponse { tracepoints, status: Some(failed.unwrap_or_default()) }))
    }

    async fn get_tracepoint_info(&self, request: Request<GetTracepointInfoRequest>) -> Result<Response<GetTracepointInfoResponse>, Status> {
        let asked = request.into_inner().ids;
        let ids: Option<BTreeSet<TracepointId>> = asked.iter().map(|id| tracepoint_id(Some(id))).collect();
        let ids = ids.ok_or_else(|| Status::invalid_argument("an id has only zeros"))?;
        let states = self.0.leader()?.read(move |desk, _| {
            let wanted = desk.book.all().filter(|tracepoint| ids.is_empty() || ids.contains(&tracepoint.id));
            wanted.map(encode_state).collect()
        });
        Ok(Response::new(GetTracepointInfoResponse { tracepoints: states.await.map_err(refused)? }))
    }

    async fn remove_tracepoint(&self, request: Request<RemoveTracepointRequest>) -> Result<Response<RemoveTracepointResponse>, Status> {
        let names = request.into_inner().names;
        let missing = self.0.leader()?.change(move |desk, _| {
            desk.replan();
            names.into_iter().filter(|name| !desk.book.remove(name)).collect::<Vec<_>>()
        });
        let missing = missing.await.map_err(refused)?;
        let outcome = if missing.is_empty() {
            statuspb::Status::default()
        } else {
            status(statuspb::Code::NotFound, format!("there is no tracepoint {}", missing.join(", ")))
        };
        Ok(Response::new(RemoveTracepointResponse { status: Some(outcome) }))
    }
}

type Outcome = Result<(statuspb::Status, TracepointId), statuspb::Status>;

fn register(desk: &mut desk::Desk, asked: Result<Asked, statuspb::Status>, now: crate::agents::Now) -> Outcome {
    let Asked { id, name, time_to_live, deployment } = asked?;
    match desk.book.register(id, &name, deployment, time_to_live, now) {
        Ok(Registered::New(id) | Registered::Replaced { new: id, .. }) => {
            tracing::info!(tracepoint = %id, name, "a tracepoint is wanted");
            Ok((statuspb::Status::default(), id))
        }
        Ok(Registered::Refreshed(id)) => Ok((status(statuspb::Code::AlreadyExists, "it is there already, and lives longer now"), id)),
        Err(reason @ Refused::Full) => Err(status(statuspb::Code::ResourceUnavailable, reason.to_string())),
        Err(reason @ (Refused::Name | Refused::TimeToLive { .. } | Refused::Empty { .. } | Refused::TooLarge { .. })) => {
            Err(status(statuspb::Code::InvalidArgument, reason.to_string()))
        }
    }
}
