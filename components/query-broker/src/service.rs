//! `VizierService`: what a request must be to become a query.

use std::sync::Arc;

use api::vizierpb::vizier_service_server::VizierService;
use api::vizierpb::{
    ExecuteScriptRequest, ExecuteScriptResponse, GenerateOTelScriptRequest, GenerateOTelScriptResponse, HealthCheckRequest,
    HealthCheckResponse,
};
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use ids::QueryId;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::{IntervalStream, ReceiverStream};
use tonic::{Code, Request, Response, Status};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::broker::Broker;
use crate::encrypt::Sealer;
use crate::engine::{FuncCall, PluginTimes, Script};
use crate::limits::{CONCURRENT_QUERIES_MAX, HEALTH_EVERY, MESSAGES_WAITING_MAX, SCRIPT_BYTES_MAX};
use crate::messages::{Failure, Messages};
use crate::run::{self, Ended, Job};

#[tonic::async_trait]
impl VizierService for Broker {
    type ExecuteScriptStream = BoxStream<'static, Result<ExecuteScriptResponse, Status>>;

    async fn execute_script(&self, request: Request<ExecuteScriptRequest>) -> Result<Response<Self::ExecuteScriptStream>, Status> {
        let request = request.into_inner();
        if self.inner.stop.is_cancelled() {
            return Err(stopping());
        }
        if !request.query_id.is_empty() {
            return Err(reattach(&request.query_id));
        }
        let id = QueryId::from_bytes(Uuid::new_v4().into_bytes());
        if request.mutation {
            return Ok(Response::new(mutation_refused(id)));
        }
        let name = request.query_name.clone();
        let job = admit(id, request)?;
        let Ok(permit) = Arc::clone(&self.inner.permits).try_acquire_owned() else {
            self.inner.counters.queries_refused.add(1);
            let message = format!("{CONCURRENT_QUERIES_MAX} queries are running, which is the most: try again when one has ended");
            return Err(Status::resource_exhausted(message));
        };
        let (outlet, messages) = mpsc::channel(MESSAGES_WAITING_MAX);
        let broker = self.clone();
        let span = tracing::info_span!("query", query = %id);
        let task = async move {
            let _permit = permit;
            broker.run(job, name, outlet).await;
        };
        self.inner.tasks.spawn(task.instrument(span));
        Ok(Response::new(ReceiverStream::new(messages).boxed()))
    }

    type HealthCheckStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn health_check(&self, _request: Request<HealthCheckRequest>) -> Result<Response<Self::HealthCheckStream>, Status> {
        let health = self.inner.health.subscribe();
        let mut ticks = interval(HEALTH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let messages = IntervalStream::new(ticks).map(move |_| Ok(health.borrow().message()));
        Ok(Response::new(messages.take_until(self.inner.stop.clone().cancelled_owned()).boxed()))
    }

    async fn generate_o_tel_script(
        &self,
        _request: Request<GenerateOTelScriptRequest>,
    ) -> Result<Response<GenerateOTelScriptResponse>, Status> {
        Err(Status::unimplemented("scripts for OpenTelemetry export are not generated yet"))
    }
}

impl Broker {
    async fn run(&self, job: Job, name: String, outlet: run::Outlet) {
        let counters = &self.inner.counters;
        counters.queries_started.add(1);
        tracing::debug!(name, "started");
        let last_words = outlet.clone();
        let running = run::run(job, &*self.inner.engine, outlet, counters);
        let Some(ended) = self.inner.stop.run_until_cancelled(running).await else {
            // The client may have its buffer full; it then sees the connection end.
            let _ = last_words.try_send(Err(stopping()));
            counters.queries_failed.add(1);
            return;
        };
        match ended {
            Ended::Finished => counters.queries_finished.add(1),
            Ended::Rejected => counters.scripts_rejected.add(1),
            Ended::Failed => counters.queries_failed.add(1),
            Ended::Abandoned => counters.queries_abandoned.add(1),
        }
        tracing::debug!(?ended, "ended");
    }
}

fn stopping() -> Status {
    Status::unavailable("this Vizier is stopping")
}

/// Queries end with the call that started them, so there is never one to attach to.
fn reattach(text: &str) -> Status {
    match text.parse::<QueryId>() {
        Ok(id) => Status::not_found(format!("query {id} is not running: run the script again")),
        Err(error) => Status::invalid_argument(format!("query_id: {error}")),
    }
}

fn mutation_refused(id: QueryId) -> BoxStream<'static, Result<ExecuteScriptResponse, Status>> {
    let failure = Failure::new(Code::Unimplemented, "tracepoints are not supported yet");
    let message = Messages { query_id: id, sealer: None }.failure(&failure);
    stream::iter([Ok(message), Err(failure.trailer())]).boxed()
}

fn admit(id: QueryId, request: ExecuteScriptRequest) -> Result<Job, Status> {
    let bytes = request.query_str.len();
    if bytes > SCRIPT_BYTES_MAX {
        return Err(Status::invalid_argument(format!("the script has {bytes} bytes, more than {SCRIPT_BYTES_MAX} are not accepted")));
    }
    let sealer = request.encryption_options.as_ref().map(Sealer::new).transpose();
    let sealer = sealer.map_err(|error| Status::invalid_argument(format!("encryption_options: {error}")))?;
    let funcs = request.exec_funcs.into_iter().map(|func| FuncCall {
        name: func.func_name,
        args: func.arg_values.into_iter().map(|arg| (arg.name, arg.value)).collect(),
        output_prefix: func.output_table_prefix,
    });
    let plugin_times = request.configs.and_then(|configs| configs.plugin_config);
    let script = Script {
        text: request.query_str,
        funcs: funcs.collect(),
        plugin_times: plugin_times.map(|p| PluginTimes { start_ns: p.start_time_ns, end_ns: p.end_time_ns }),
    };
    Ok(Job { id, script, sealer })
}
