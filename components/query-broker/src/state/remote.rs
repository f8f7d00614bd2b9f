use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use api::statuspb::LifeCycleState;
use api::vizier::services::metadata::get_all_execution_results_response::execution_result::Result as RunResult;
use api::vizier::services::metadata::{
    AgentInfoRequest, AgentMetadata, GetAllExecutionResultsRequest, GetTracepointInfoRequest, WithPrefixKeyRequest,
};
use api::vizier::services::shared::agent::AgentState;
use ids::{Asid, UnixNs};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tonic::{Response, Status};

use super::facts::{AgentFact, CronRunFact, Facts, Health, TableFact, TracepointFact};
use crate::metadata::Metadata;
use crate::tracker::{ClusterView, decode_agent, decode_agent_id};

/// The metadata service answers such questions from its memory. A script waits for it while it compiles.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The cluster, as the metadata service knows it now and the tracker knew it when the script came. Blocks: for threads that may.
pub(crate) struct Remote {
    pub(crate) view: Arc<ClusterView>,
    pub(crate) metadata: Metadata,
    pub(crate) runtime: Handle,
}

impl Remote {
    fn ask<T>(&self, question: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, String> {
        let answer = self.runtime.block_on(async { timeout(ANSWER_MAX, question).await });
        match answer {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(format!("the metadata service does not answer: {}", status.message())),
            Err(_) => Err(format!("the metadata service did not answer within {} s", ANSWER_MAX.as_secs())),
        }
    }
}

impl Facts for Remote {
    fn agents(&self) -> Result<Vec<AgentFact>, String> {
        let mut client = self.metadata.agents();
        let answer = self.ask(client.get_agent_info(AgentInfoRequest::default()))?;
        let mut agents: Vec<_> = answer.info.into_iter().filter_map(agent).collect();
        agents.sort_by_key(|agent| agent.asid);
        Ok(agents)
    }

    fn tables(&self) -> Vec<TableFact> {
        let known = |(name, table): (&String, &crate::tracker::KnownTable)| TableFact {
            name: name.clone(),
            text: table.text.clone(),
            relation: table.relation.clone(),
        };
        self.view.tables.iter().map(known).collect()
    }

    fn tracepoints(&self) -> Result<Vec<TracepointFact>, String> {
        let mut client = self.metadata.tracepoints();
        let answer = self.ask(client.get_tracepoint_info(GetTracepointInfoRequest::default()))?;
        let facts = answer.tracepoints.into_iter().map(|tracepoint| {
            let id = tracepoint.id.unwrap_or_default();
            TracepointFact {
                id: ids::AgentId::from_halves(id.high_bits, id.low_bits).to_bytes(),
                state: LifeCycleState::as_str_name(&tracepoint.state()).to_owned(),
                name: tracepoint.name,
                statuses: tracepoint.statuses.into_iter().map(|status| status.msg).filter(|text| !text.is_empty()).collect(),
                tables: tracepoint.schema_names,
            }
        });
        Ok(facts.collect())
    }

    fn cron_runs(&self) -> Result<Vec<CronRunFact>, String> {
        let mut client = self.metadata.cron_scripts();
        let answer = self.ask(client.get_all_execution_results(GetAllExecutionResultsRequest::default()))?;
        let runs = answer.results.into_iter().map(|run| {
            let id = run.script_id.unwrap_or_default();
            let time = run.timestamp.unwrap_or_default();
            let fact = CronRunFact {
                script: ids::AgentId::from_halves(id.high_bits, id.low_bits).to_string(),
                time: UnixNs(time.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(time.nanos))),
                ..CronRunFact::default()
            };
            match run.result {
                Some(RunResult::Error(status)) => CronRunFact { error: status.msg, ..fact },
                Some(RunResult::ExecutionStats(stats)) => CronRunFact {
                    execution_ns: stats.execution_time_ns,
                    compilation_ns: stats.compilation_time_ns,
                    bytes: stats.bytes_processed,
                    records: stats.records_processed,
                    ..fact
                },
                None => fact,
            }
        });
        Ok(runs.collect())
    }

    fn kept(&self, prefix: &str, proto: &str) -> Result<Vec<(String, String)>, String> {
        let mut client = self.metadata.agents();
        let request = WithPrefixKeyRequest { prefix: prefix.to_owned(), proto: proto.to_owned() };
        let answer = self.ask(client.get_with_prefix_key(request))?;
        Ok(answer.kvs.into_iter().map(|kv| (kv.key, String::from_utf8_lossy(&kv.value).into_owned())).collect())
    }

    fn version(&self) -> (Asid, String) {
        let kelvin = self.view.kelvins().next();
        kelvin.map_or((Asid(0), env!("CARGO_PKG_VERSION").to_owned()), |(_, kelvin)| (kelvin.asid, kelvin.version.clone()))
    }
}

fn agent(told: AgentMetadata) -> Option<AgentFact> {
    let status = told.status.unwrap_or_default();
    let agent = told.agent?;
    let id = decode_agent_id(agent.info.as_ref()?.agent_id.as_ref())?;
    let known = decode_agent(agent);
    Some(AgentFact {
        id,
        asid: known.asid,
        collects_data: known.collects_data,
        hostname: known.hostname,
        ip_address: known.ip_address,
        health: match status.state() {
            AgentState::Unknown => Health::Unknown,
            AgentState::Healthy => Health::Healthy,
            AgentState::Unresponsive => Health::Unresponsive,
            AgentState::Disconnected => Health::Disconnected,
        },
        created: known.created,
        silent_ns: status.ns_since_last_heartbeat,
        kernel_headers_installed: known.kernel_headers_installed,
        profiler_period_ms: known.profiler_period_ms,
        version: known.version,
    })
}
