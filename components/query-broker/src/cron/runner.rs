use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::cvmsgspb::CronScript as WireScript;
use api::statuspb;
use api::uuidpb::Uuid;
use api::vizier::services::metadata::record_execution_result_request::Result as Outcome;
use api::vizier::services::metadata::{ExecutionStats, GetScriptsRequest, RecordExecutionResultRequest};
use api::vizierpb::configs::PluginConfig;
use api::vizierpb::execute_script_response::Result as Body;
use api::vizierpb::{Configs, ExecuteScriptRequest, QueryExecutionStats};
use futures::StreamExt as _;
use ids::{ScriptId, UnixNs};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Status;

use super::schedule::{CronScript, Run, Schedule};
use super::{checksum, configs};
use crate::broker::Broker;
use crate::metadata::Metadata;
use crate::process::unix_now;

/// How often the store is read, beside whenever something changes: others may change it too, and it may have been away.
const READ_EVERY: Duration = Duration::from_secs(15);

/// Runs what is due.
pub(crate) struct Runner {
    broker: Broker,
    metadata: Metadata,
    changes: watch::Receiver<u64>,
    schedule: Schedule,
}

impl Runner {
    pub(crate) fn new(broker: Broker, metadata: Metadata, changes: watch::Receiver<u64>) -> Runner {
        Runner { broker, metadata, changes, schedule: Schedule::default() }
    }

    pub(crate) async fn run(mut self) {
        let mut runs: JoinSet<ScriptId> = JoinSet::new();
        let mut read = tokio::time::interval(READ_EVERY);
        loop {
            for run in self.schedule.due(unix_now()) {
                self.broker.inner.counters.cron_runs.add(1);
                runs.spawn(one(self.broker.clone(), self.metadata.clone(), run));
            }
            let wait = self.schedule.next().map_or(READ_EVERY, |due| until(due, unix_now()));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                Some(ended) = runs.join_next() => {
                    if let Ok(id) = ended {
                        self.schedule.ended(id);
                    }
                }
                _ = read.tick() => self.read().await,
                changed = self.changes.changed() => match changed {
                    Ok(()) => self.read().await,
                    Err(_) => return,
                },
            }
        }
    }

    /// A store that does not answer leaves the scripts as they are.
    async fn read(&mut self) {
        match self.metadata.cron_scripts().get_scripts(GetScriptsRequest::default()).await {
            Ok(response) => self.schedule.set(response.into_inner().scripts.into_values().map(script).collect(), unix_now()),
            Err(status) => tracing::debug!(why = status.message(), "the scripts that run again and again cannot be read"),
        }
    }
}

fn until(due: UnixNs, now: UnixNs) -> Duration {
    // Due and waiting for room: looked at again when a run ends, or a little later.
    Duration::from_nanos(u64::try_from(due.0 - now.0).unwrap_or(0)).max(Duration::from_millis(100))
}

fn script(script: WireScript) -> (ScriptId, CronScript) {
    let id = checksum::script_id(&script);
    let every = Duration::from_secs(u64::try_from(script.frequency_s).unwrap_or(0));
    (id, CronScript { text: script.script, every, configs: script.configs })
}

/// A run, from its script to how it went.
async fn one(broker: Broker, metadata: Metadata, run: Run) -> ScriptId {
    let id = run.id;
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let timestamp = prost_types::Timestamp { seconds: timestamp.as_secs() as i64, nanos: timestamp.subsec_nanos() as i32 };
    let outcome = match execute(&broker, run).await {
        Ok(stats) => {
            let timing = stats.timing.unwrap_or_default();
            Outcome::ExecutionStats(ExecutionStats {
                execution_time_ns: timing.execution_time_ns,
                compilation_time_ns: timing.compilation_time_ns,
                bytes_processed: stats.bytes_processed,
                records_processed: stats.records_processed,
            })
        }
        Err(status) => {
            tracing::warn!(script = %id, why = status.message(), "a script that runs again and again failed");
            Outcome::Error(statuspb::Status { err_code: internal_code(&status) as i32, msg: status.message().to_owned(), context: None })
        }
    };
    let (high_bits, low_bits) = id.to_halves();
    let script_id = Some(Uuid { high_bits, low_bits });
    let record = RecordExecutionResultRequest { script_id, timestamp: Some(timestamp), result: Some(outcome) };
    if let Err(status) = metadata.cron_scripts().record_execution_result(record).await {
        tracing::debug!(script = %id, why = status.message(), "how a run went is not kept");
    }
    id
}

async fn execute(broker: &Broker, run: Run) -> Result<QueryExecutionStats, Status> {
    let plugin_config = PluginConfig { start_time_ns: run.start.0, end_time_ns: run.end.0 };
    let request = ExecuteScriptRequest {
        query_name: format!("cron_{}", run.id),
        query_str: run.script.text,
        configs: Some(Configs { otel_endpoint_config: configs::endpoint(&run.script.configs), plugin_config: Some(plugin_config) }),
        ..Default::default()
    };
    let mut consumer = broker.begin(request, false).await?;
    let mut stats = QueryExecutionStats::default();
    while let Some(message) = consumer.next().await {
        if let Some(Body::Data(data)) = message?.result
            && let Some(last) = data.execution_stats
        {
            stats = last;
        }
    }
    Ok(stats)
}

/// As parts of a Vizier number it.
fn internal_code(status: &Status) -> statuspb::Code {
    match status.code() {
        tonic::Code::Cancelled => statuspb::Code::Cancelled,
        tonic::Code::InvalidArgument => statuspb::Code::InvalidArgument,
        tonic::Code::DeadlineExceeded => statuspb::Code::DeadlineExceeded,
        tonic::Code::NotFound => statuspb::Code::NotFound,
        tonic::Code::Unimplemented => statuspb::Code::Unimplemented,
        tonic::Code::FailedPrecondition => statuspb::Code::FailedPrecondition,
        tonic::Code::Unavailable | tonic::Code::ResourceExhausted => statuspb::Code::ResourceUnavailable,
        tonic::Code::Ok
        | tonic::Code::Unknown
        | tonic::Code::AlreadyExists
        | tonic::Code::PermissionDenied
        | tonic::Code::Aborted
        | tonic::Code::OutOfRange
        | tonic::Code::Internal
        | tonic::Code::DataLoss
        | tonic::Code::Unauthenticated => statuspb::Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn scripts_without_a_period_never_run() {
        let of = |frequency_s| script(WireScript { frequency_s, ..Default::default() }).1.every;
        assert_eq!((of(-5), of(0), of(7)), (Duration::ZERO, Duration::ZERO, Duration::from_secs(7)));
        let all: BTreeMap<_, _> = [script(WireScript::default())].into();
        assert_eq!(all.len(), 1);
    }
}
