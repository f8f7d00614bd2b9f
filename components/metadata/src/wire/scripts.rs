use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::cvmsgspb::CronScript;
use api::statuspb;
use api::vizier::services::metadata::get_all_execution_results_response::{ExecutionResult, execution_result};
use api::vizier::services::metadata::{ExecutionStats, RecordExecutionResultRequest, record_execution_result_request};
use ids::{ScriptId, UnixNs};

use super::{Malformed, halves, uuid};
use crate::scripts::{Outcome, Run, Script, Stats};

pub(crate) fn script_id(id: Option<&api::uuidpb::Uuid>) -> Result<ScriptId, Malformed> {
    halves(id).map(|(high, low)| ScriptId::from_halves(high, low)).ok_or(Malformed::Field("it names no script"))
}

pub(crate) fn decode_script(script: CronScript) -> Result<(ScriptId, Script), Malformed> {
    let id = script_id(script.id.as_ref())?;
    let CronScript { id: _, script: text, cron_expression, configs, frequency_s } = script;
    Ok((id, Script { text, cron_expression, configs, frequency_s }))
}

/// By id: that of the script itself, as the text beside it says the same.
pub(crate) fn decode_scripts(scripts: HashMap<String, CronScript>) -> Result<BTreeMap<ScriptId, Arc<Script>>, Malformed> {
    scripts.into_values().map(|script| decode_script(script).map(|(id, script)| (id, Arc::new(script)))).collect()
}

pub(crate) fn encode_scripts(scripts: &BTreeMap<ScriptId, Arc<Script>>) -> HashMap<String, CronScript> {
    let script = |(id, script): (&ScriptId, &Arc<Script>)| {
        let Script { text, cron_expression, configs, frequency_s } = Script::clone(script);
        (id.to_string(), CronScript { id: Some(uuid(id.to_halves())), script: text, cron_expression, configs, frequency_s })
    };
    scripts.iter().map(script).collect()
}

pub(crate) fn decode_run(request: RecordExecutionResultRequest) -> Result<(ScriptId, Run), Malformed> {
    let id = script_id(request.script_id.as_ref())?;
    let at = request.timestamp.ok_or(Malformed::Field("it does not say when the run was"))?;
    let at = UnixNs(at.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(at.nanos)));
    let outcome = match request.result.ok_or(Malformed::Field("it does not say what came of the run"))? {
        record_execution_result_request::Result::Error(status) => Outcome::Failed(status.err_code, status.msg),
        record_execution_result_request::Result::ExecutionStats(stats) => Outcome::Done(Stats {
            execution_ns: stats.execution_time_ns,
            compilation_ns: stats.compilation_time_ns,
            bytes: stats.bytes_processed,
            records: stats.records_processed,
        }),
    };
    Ok((id, Run { at, outcome }))
}

pub(crate) fn encode_run(id: ScriptId, run: &Run) -> ExecutionResult {
    let result = match &run.outcome {
        Outcome::Failed(code, message) => {
            execution_result::Result::Error(statuspb::Status { err_code: *code, msg: message.clone(), context: None })
        }
        Outcome::Done(stats) => execution_result::Result::ExecutionStats(ExecutionStats {
            execution_time_ns: stats.execution_ns,
            compilation_time_ns: stats.compilation_ns,
            bytes_processed: stats.bytes,
            records_processed: stats.records,
        }),
    };
    let seconds = run.at.0.div_euclid(1_000_000_000);
    let timestamp = prost_types::Timestamp { seconds, nanos: run.at.0.rem_euclid(1_000_000_000) as i32 };
    ExecutionResult { script_id: Some(uuid(id.to_halves())), timestamp: Some(timestamp), result: Some(result) }
}
