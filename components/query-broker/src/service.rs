//! `VizierService`: what a request must be to become a query.

use std::sync::Arc;

use api::vizierpb::vizier_service_server::VizierService;
use api::vizierpb::{
    ExecuteScriptRequest, ExecuteScriptResponse, GenerateOTelScriptRequest, GenerateOTelScriptResponse, HealthCheckRequest,
    HealthCheckResponse,
};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use ids::QueryId;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::IntervalStream;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::answer::{self, Ended, Job};
use crate::broker::Broker;
use crate::delivery::Consumer;
use crate::encrypt::Sealer;
use crate::engine::{FuncCall, PluginTimes, Script};
use crate::limits::{CONCURRENT_QUERIES_MAX, HEALTH_EVERY, MESSAGES_WAITING_MAX, SCRIPT_BYTES_MAX};
use crate::quality::QUALITY_HEADER;

#[tonic::async_trait]
impl VizierService for Broker {
    type ExecuteScriptStream = BoxStream<'static, Result<ExecuteScriptResponse, Status>>;

    async fn execute_script(&self, request: Request<ExecuteScriptRequest>) -> Result<Response<Self::ExecuteScriptStream>, Status> {
        let quality_in_trailer = request.metadata().get(QUALITY_HEADER).is_some_and(|value| value == "true");
        let consumer = self.begin(request.into_inner(), quality_in_trailer).await?;
        Ok(Response::new(consumer.boxed()))
    }

    type HealthCheckStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn health_check(&self, _request: Request<HealthCheckRequest>) -> Result<Response<Self::HealthCheckStream>, Status> {
        Ok(Response::new(self.health_messages()))
    }

    async fn generate_o_tel_script(
        &self,
        _request: Request<GenerateOTelScriptRequest>,
    ) -> Result<Response<GenerateOTelScriptResponse>, Status> {
        Err(no_otel_scripts())
    }
}

pub(crate) fn no_otel_scripts() -> Status {
    Status::unimplemented("scripts for OpenTelemetry export are not generated yet")
}

impl Broker {
    /// How the self-test goes: at once, and again and again until the broker stops.
    pub(crate) fn health_messages(&self) -> BoxStream<'static, Result<HealthCheckResponse, Status>> {
        let health = self.inner.health.subscribe();
        let mut ticks = interval(HEALTH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let messages = IntervalStream::new(ticks).map(move |_| Ok(health.borrow().message()));
        messages.take_until(self.inner.stop.clone().cancelled_owned()).boxed()
    }

    /// Lets a query in, or takes one over that runs.
    pub(crate) async fn begin(&self, request: ExecuteScriptRequest, quality_in_trailer: bool) -> Result<Consumer, Status> {
        let inner = &self.inner;
        if inner.stop.is_cancelled() {
            return Err(stopping());
        }
        if !request.query_id.is_empty() {
            let id = request.query_id.parse::<QueryId>().map_err(|error| Status::invalid_argument(format!("query_id: {error}")))?;
            return inner.deliveries.attach(id).await.ok_or_else(|| not_running(id));
        }
        let id = QueryId::from_bytes(Uuid::new_v4().into_bytes());
        let name = request.query_name.clone();
        let job = admit(id, request, quality_in_trailer)?;
        let Ok(permit) = Arc::clone(&inner.permits).try_acquire_owned() else {
            inner.counters.queries_refused.add(1);
            let message = format!("{CONCURRENT_QUERIES_MAX} queries are running, which is the most: try again when one has ended");
            return Err(Status::resource_exhausted(message));
        };
        let (outlet, messages) = mpsc::channel(MESSAGES_WAITING_MAX);
        let (delivery, consumer) = inner.deliveries.add(id, messages);
        let broker = self.clone();
        let task = async move {
            let inner = &broker.inner;
            // The query's time, and then that of a client which has not read all of it.
            let keep = delivery.keep(inner.deliveries.args());
            tokio::pin!(keep);
            tokio::select! {
                biased;
                () = broker.run(job, name, outlet) => {
                    drop(permit);
                    inner.stop.run_until_cancelled(keep).await;
                }
                () = &mut keep => inner.counters.queries_abandoned.add(1),
            }
            inner.deliveries.remove(id);
        };
        inner.tasks.spawn(task.instrument(tracing::info_span!("query", query = %id)));
        Ok(consumer)
    }

    async fn run(&self, job: Job, name: String, outlet: answer::Outlet) {
        let counters = &self.inner.counters;
        counters.queries_started.add(1);
        tracing::debug!(name, "started");
        let last_words = outlet.clone();
        let running = answer::run(job, &*self.inner.engine, outlet, counters);
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

fn not_running(id: QueryId) -> Status {
    Status::not_found(format!("query {id} is not running: run the script again"))
}

fn admit(id: QueryId, request: ExecuteScriptRequest, quality_in_trailer: bool) -> Result<Job, Status> {
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
    Ok(Job { id, script, sealer, mutation: request.mutation, quality_in_trailer })
}
