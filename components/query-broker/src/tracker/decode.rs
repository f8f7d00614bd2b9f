//! The metadata service's messages as the tracker takes them.

use api::carnot::planner::distributedpb::SchemaInfo;
use api::uuidpb::Uuid;
use api::vizier::messages::{CollectorStates, collector_state};
use api::vizier::services::shared::agent::Agent;
use ids::{AgentId, Asid, UnixNs};
use tables::{ColumnDef, DataType, Relation, SemanticType};

use super::schemas::ToldTable;
use super::view::{CollectorState, KnownAgent, KnownCollector};

pub(crate) fn agent_id(id: Option<&Uuid>) -> Option<AgentId> {
    id.map(|id| AgentId::from_halves(id.high_bits, id.low_bits))
}

/// Its collectors come by another message.
pub(crate) fn agent(agent: Agent) -> KnownAgent {
    let info = agent.info.unwrap_or_default();
    let host = info.host_info.unwrap_or_default();
    KnownAgent {
        asid: Asid(agent.asid),
        collects_data: info.capabilities.is_some_and(|can| can.collects_data),
        hostname: host.hostname,
        pod_name: host.pod_name,
        ip_address: if info.ip_address.is_empty() { host.host_ip } else { info.ip_address },
        query_address: info.query_address,
        tls_server_name: info.tls_server_name,
        version: info.version,
        kernel_headers_installed: host.kernel_headers_installed,
        profiler_period_ms: info.parameters.map_or(-1, |parameters| parameters.profiler_stack_trace_sample_period_ms),
        created: UnixNs(agent.create_time_ns),
        last_heartbeat: UnixNs(agent.last_heartbeat_ns),
        collectors: Vec::new(),
    }
}

pub(crate) fn collectors(states: CollectorStates) -> Vec<KnownCollector> {
    let collector = |state: api::vizier::messages::CollectorState| KnownCollector {
        state: match state.state() {
            collector_state::State::Unknown => CollectorState::Unknown,
            collector_state::State::Running => CollectorState::Running,
            collector_state::State::Off => CollectorState::Off,
            collector_state::State::Failed => CollectorState::Failed,
        },
        detail: [state.reason.as_str(), state.remedy.as_str()].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; "),
        name: state.collector,
    };
    states.states.into_iter().map(collector).collect()
}

/// None if a column has a type that we do not know: nobody could read it.
pub(crate) fn table(info: SchemaInfo) -> Option<ToldTable> {
    let relation = info.relation.unwrap_or_default();
    let columns = relation.columns.into_iter().map(|column| {
        let data_type = DataType::from_number(column.column_type)?;
        // Unspecified, or of a newer agent: it means nothing to us, and can be read all the same.
        let semantic = SemanticType::from_number(column.column_semantic_type).filter(|semantic| *semantic != SemanticType::Unspecified);
        let semantic = semantic.unwrap_or(SemanticType::None);
        Some(ColumnDef { name: column.column_name, data_type, semantic_type: semantic })
    });
    let columns = columns.collect::<Option<_>>()?;
    let agents = info.agent_list.iter().filter_map(|id| agent_id(Some(id))).collect();
    Some(ToldTable { name: info.name, relation: Relation { columns }, text: relation.desc, agents })
}
