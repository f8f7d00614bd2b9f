//! `VizierService`: what a request must be to become a query.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::vizierpb::configs::OTelEndpointConfig;
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
use crate::engine::{CompileFailure, FuncCall, PluginTimes, Script};
use crate::limits::{CONCURRENT_QUERIES_MAX, HEALTH_EVERY, MESSAGES_WAITING_MAX, SCRIPT_BYTES_MAX};
use crate::messages::Failure;
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
        request: Request<GenerateOTelScriptRequest>,
    ) -> Result<Response<GenerateOTelScriptResponse>, Status> {
        self.otel_script(request.into_inner()).await.map(Response::new)
    }
}

impl Broker {
    /// How the self-test goes: at once, and again and again until the broker stops.
    pub(crate) fn health_messages(&self) -> BoxStream<'static, Result<HealthCheckResponse, Status>> {
        let (health, state) = (self.inner.health.subscribe(), self.inner.state.subscribe());
        let mut ticks = interval(HEALTH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let messages = IntervalStream::new(ticks).map(move |_| Ok(health.borrow().message(&state.borrow())));
        messages.take_until(self.inner.stop.clone().cancelled_owned()).boxed()
    }

    /// The same script with an export of each table that it displays, or what is wrong with it.
    pub(crate) async fn otel_script(&self, request: GenerateOTelScriptRequest) -> Result<GenerateOTelScriptResponse, Status> {
        if self.inner.stop.is_cancelled() {
            return Err(stopping());
        }
        small_enough(&request.pxl_script)?;
        match self.inner.engine.otel_script(request.pxl_script).await {
            Ok(otel_script) => Ok(GenerateOTelScriptResponse { status: Some(api::vizierpb::Status::default()), otel_script }),
            Err(CompileFailure::NotReady(message)) => Err(Status::unavailable(message)),
            Err(failure) => {
                self.inner.counters.scripts_rejected.add(1);
                let status = Some(Failure::from(failure).status());
                Ok(GenerateOTelScriptResponse { status, otel_script: String::new() })
            }
        }
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

fn small_enough(script: &str) -> Result<(), Status> {
    let bytes = script.len();
    if bytes > SCRIPT_BYTES_MAX {
        return Err(Status::invalid_argument(format!("the script has {bytes} bytes, more than {SCRIPT_BYTES_MAX} are not accepted")));
    }
    Ok(())
}

fn admit(id: QueryId, request: ExecuteScriptRequest, quality_in_trailer: bool) -> Result<Job, Status> {
    small_enough(&request.query_str)?;
    let sealer = request.encryption_options.as_ref().map(Sealer::new).transpose();
    let sealer = sealer.map_err(|error| Status::invalid_argument(format!("encryption_options: {error}")))?;
    let funcs = request.exec_funcs.into_iter().map(|func| FuncCall {
        name: func.func_name,
        args: func.arg_values.into_iter().map(|arg| (arg.name, arg.value)).collect(),
        output_prefix: func.output_table_prefix,
    });
    let configs = request.configs.unwrap_or_default();
    let endpoint = configs.otel_endpoint_config.map(endpoint).transpose()?;
    let script = Script {
        text: request.query_str,
        funcs: funcs.collect(),
        plugin_times: configs.plugin_config.map(|p| PluginTimes { start_ns: p.start_time_ns, end_ns: p.end_time_ns }),
        endpoint,
    };
    Ok(Job { id, script, sealer, mutation: request.mutation, quality_in_trailer })
}

/// Where exports go that name no endpoint. No time means the usual one.
fn endpoint(config: OTelEndpointConfig) -> Result<pxl::Endpoint, Status> {
    let OTelEndpointConfig { url, headers, insecure, timeout } = config;
    let timeout = match u64::try_from(timeout) {
        Ok(0) => pxl::EXPORT_TIMEOUT_DEFAULT,
        Ok(seconds) => Duration::from_secs(seconds).min(pxl::EXPORT_TIMEOUT_MAX),
        Err(_) => return Err(Status::invalid_argument(format!("configs.otel_endpoint_config.timeout: {timeout} s is no time"))),
    };
    let headers: BTreeMap<_, _> = headers.into_iter().collect();
    Ok(pxl::Endpoint { url, headers: headers.into_iter().collect(), insecure, timeout })
}
