use std::sync::Arc;
use std::time::Duration;

use api::internal::kelvin_server::Kelvin;
use api::internal::{CancelRequest, CancelResponse, ExecutePlanRequest};
use engine::distributed::Coordinator;
use otel::Exporter;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::query::{Answer, Export, Query, answer, status};
use crate::request;

/// Messages of one call that wait for the broker to read: some megabytes at most.
const ANSWERS_WAITING_MAX: usize = 4;

/// What the service may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KelvinServiceArgs {
    /// Longest time for one query.
    pub query_time_max: Duration,
}

/// What the query broker calls.
#[derive(Debug, Clone)]
pub struct KelvinService {
    coordinator: Arc<Coordinator>,
    compute: Handle,
    exporter: Exporter,
    args: KelvinServiceArgs,
}

impl KelvinService {
    /// Queries run on `compute`; its owner ends them by letting it go.
    pub fn new(coordinator: Arc<Coordinator>, compute: Handle, args: KelvinServiceArgs) -> Self {
        Self { coordinator, compute, exporter: Exporter::default(), args }
    }

    /// With another way to endpoints of exports.
    #[must_use]
    pub fn exporting(self, exporter: Exporter) -> Self {
        Self { exporter, ..self }
    }
}

#[tonic::async_trait]
impl Kelvin for KelvinService {
    type ExecutePlanStream = ReceiverStream<Answer>;

    async fn execute_plan(&self, request: Request<ExecutePlanRequest>) -> Result<Response<Self::ExecutePlanStream>, Status> {
        let mut request = request.into_inner();
        let exports = request::take_exports(&mut request).map_err(|status| *status)?;
        let export = Export { exporter: self.exporter.clone(), exports, streaming: request.streaming };
        let explain = request.explain || request.analyze;
        let spec = request::decode(request, self.args.query_time_max).map_err(|status| *status)?;
        let id = spec.query;
        let schemas = spec.outputs.iter().map(|(_, relation)| Arc::new(relation.arrow_schema())).collect();
        // Before the call returns, so that it can be cancelled from then on.
        let begun = self.coordinator.begin(spec).map_err(|error| *status(&error))?;
        let query = Query { id, schemas, explain, export, begun };
        let (answers, stream) = mpsc::channel(ANSWERS_WAITING_MAX);
        let coordinator = Arc::clone(&self.coordinator);
        self.compute.spawn(async move { answer(&coordinator, query, &answers).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        let query = request::query_id(&request.get_ref().query_id).map_err(|status| *status)?;
        let known = self.coordinator.cancel(query);
        tracing::debug!(%query, known, "asked to cancel a query");
        Ok(Response::new(CancelResponse { known }))
    }
}
