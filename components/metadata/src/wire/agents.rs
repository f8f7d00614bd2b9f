use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use api::carnot::planner::distributedpb::{CarnotInfo, MetadataInfo, SchemaInfo as SchemaMessage};
use api::table_store::schemapb::{Relation, Schema, relation};
use api::uuidpb::Uuid;
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{
    AgentDataInfo, AgentRefusal, CollectorState as CollectorMessage, CollectorStates, Heartbeat as HeartbeatMessage, HeartbeatAck,
    HeartbeatNack, KelvinAddress, MetadataUpdateInfo, RegisterAgentRequest, RegisterAgentResponse, collector_state,
};
use api::vizier::services::metadata::agent_update::Update;
use api::vizier::services::metadata::{AgentMetadata, AgentUpdate as UpdateMessage, TableInfo};
use api::vizier::services::shared::agent as agentpb;
use ids::{Asid, UnixNs};
use prost::Message as _;
use tables::{DataType, PatternType, SemanticType};

use super::{Malformed, agent_id, uuid};
use crate::agents::{
    Agent, AgentInfo, AgentKind, AgentState, AgentUpdate, Answer, CollectorState, CollectorStatus, ColumnSchema, Heartbeat, Incarnation,
    KernelVersion, Place, Refusal, Registration, Reply, SchemaInfo, TableSchema,
};

/// An agent's first word.
pub(crate) fn decode_registration(request: RegisterAgentRequest) -> Result<Registration, Malformed> {
    let info = request.info.ok_or(Malformed::Field("it does not say who the agent is"))?;
    let id = agent_id(info.agent_id.as_ref())?;
    let info = decode_info(info);
    Ok(Registration {
        id,
        incarnation: Incarnation(request.incarnation),
        place: place(&info)?,
        asid: Some(request.asid).filter(|asid| *asid != 0).map(Asid),
        info,
    })
}

fn decode_info(info: agentpb::AgentInfo) -> AgentInfo {
    let host = info.host_info.unwrap_or_default();
    let kernel = host.kernel.unwrap_or_default();
    AgentInfo {
        hostname: host.hostname,
        pod_name: host.pod_name,
        host_address: host.host_ip,
        address: info.ip_address,
        kernel: KernelVersion { version: kernel.version, major: kernel.major_rev, minor: kernel.minor_rev },
        kernel_headers_installed: host.kernel_headers_installed,
        collects_data: info.capabilities.is_some_and(|can| can.collects_data),
        profiler_period_ms: info.parameters.map_or(-1, |parameters| parameters.profiler_stack_trace_sample_period_ms),
        version: info.version,
        rpc_address: info.rpc_address,
        query_address: info.query_address,
        tls_server_name: info.tls_server_name,
        kernel_release: host.kernel_release,
        boot_id: host.boot_id,
    }
}

/// A PEM is at home on its node; a Kelvin in its pod, and where there is none at the address that is dialled.
fn place(info: &AgentInfo) -> Result<Place, Malformed> {
    let none = Malformed::Field("it says no address of the agent's");
    if info.collects_data {
        let address = address(&info.host_address).or_else(|| address(&info.address)).ok_or(none)?;
        return Ok(Place { kind: AgentKind::Pem, host: info.hostname.clone(), address });
    }
    let host = if info.pod_name.is_empty() { &info.rpc_address } else { &info.pod_name };
    let own = [&info.address, &info.rpc_address, &info.host_address];
    let address = own.into_iter().find_map(|text| address(text)).ok_or(none)?;
    Ok(Place { kind: AgentKind::Kelvin, host: host.clone(), address })
}

/// With a port or without.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// An agent's word every five seconds.
pub(crate) fn decode_heartbeat(message: HeartbeatMessage) -> Result<Heartbeat, Malformed> {
    let id = agent_id(message.agent_id.as_ref())?;
    let sequence = u64::try_from(message.sequence_number).map_err(|_| Malformed::Field("its number is negative"))?;
    let update = message.update_info.unwrap_or_default();
    let data = update.data.unwrap_or_default();
    Ok(Heartbeat {
        id,
        incarnation: Incarnation(message.incarnation),
        sequence,
        tables: update.does_update_schema.then(|| update.schema.into_iter().filter_map(decode_table).collect()),
        collectors: data.collectors.map(decode_collectors),
        names: data.metadata_info.map(|info| info.encode_to_vec()),
    })
}

/// None if a column has a type that is not known here: nobody could read it.
fn decode_table(table: TableInfo) -> Option<TableSchema> {
    let column = |column: api::vizier::services::metadata::table_info::ColumnInfo| {
        Some(ColumnSchema {
            data_type: DataType::from_number(column.data_type)?,
            semantic_type: SemanticType::from_number(column.semantic_type).unwrap_or(SemanticType::None),
            pattern_type: PatternType::from_number(column.pattern_type).unwrap_or(PatternType::Unspecified),
            name: column.name,
            description: column.desc,
        })
    };
    let columns = table.columns.into_iter().map(column).collect::<Option<Vec<_>>>()?;
    Some(TableSchema { name: table.name, description: table.desc, columns })
}

fn decode_collectors(states: CollectorStates) -> BTreeMap<String, CollectorStatus> {
    let collector = |message: CollectorMessage| {
        let state = match message.state() {
            collector_state::State::Unknown => return None,
            collector_state::State::Running => CollectorState::Running,
            collector_state::State::Off => CollectorState::Off,
            collector_state::State::Failed => CollectorState::Failed,
        };
        Some((message.collector, CollectorStatus { state, way: message.way, reason: message.reason, remedy: message.remedy }))
    };
    states.states.into_iter().filter_map(collector).collect()
}

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    ToRegister,
    ToBeHeard,
}

/// What an agent is told. `update` goes with what is acknowledged.
pub(crate) fn encode_reply(reply: &Reply, asks: Asks, update: &MetadataUpdateInfo, now: UnixNs) -> Msg {
    let incarnation = reply.incarnation.0;
    match (reply.answer, asks) {
        (Answer::Registered { id, asid }, _) => Msg::RegisterAgentResponse(RegisterAgentResponse {
            asid: asid.0,
            agent_id: Some(uuid(id.to_halves())),
            incarnation,
            ..RegisterAgentResponse::default()
        }),
        (Answer::Refused(refusal), Asks::ToRegister) => Msg::RegisterAgentResponse(RegisterAgentResponse {
            refusal: text(refusal).to_owned(),
            refusal_kind: kind(refusal).into(),
            incarnation,
            ..RegisterAgentResponse::default()
        }),
        (Answer::Refused(refusal), Asks::ToBeHeard) => Msg::HeartbeatNack(HeartbeatNack {
            reregister: false,
            reason: text(refusal).to_owned(),
            refusal_kind: kind(refusal).into(),
            incarnation,
        }),
        (Answer::Unregistered, _) => Msg::HeartbeatNack(HeartbeatNack {
            reregister: true,
            reason: "the agent is not registered, or a heartbeat of it is missing".to_owned(),
            incarnation,
            ..HeartbeatNack::default()
        }),
        (Answer::Ack { sequence }, _) => Msg::HeartbeatAck(HeartbeatAck {
            time: now.0,
            sequence_number: i64::try_from(sequence).unwrap_or(i64::MAX),
            update_info: Some(update.clone()),
            incarnation,
        }),
    }
}

fn text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Superseded => "a newer process is at the agent's place",
        Refusal::IdTaken => "another agent has this id",
        Refusal::Full => "there are too many agents",
        Refusal::TooLarge => "what the agent says of itself is too large to be kept",
    }
}

fn kind(refusal: Refusal) -> AgentRefusal {
    match refusal {
        Refusal::Superseded => AgentRefusal::Superseded,
        Refusal::IdTaken => AgentRefusal::IdTaken,
        Refusal::Full => AgentRefusal::Full,
        Refusal::TooLarge => AgentRefusal::TooLarge,
    }
}

/// Where agents that collect dial.
pub(crate) fn encode_kelvins<'a>(agents: impl Iterator<Item = &'a Agent>) -> Vec<KelvinAddress> {
    let kelvins = agents.filter(|agent| agent.place.kind == AgentKind::Kelvin && !agent.info.rpc_address.is_empty());
    let address = |agent: &Agent| KelvinAddress {
        agent_id: Some(uuid(agent.id.to_halves())),
        address: agent.info.rpc_address.clone(),
        tls_server_name: agent.info.tls_server_name.clone(),
    };
    kelvins.map(address).collect()
}

pub(crate) fn encode_agent(agent: &Agent) -> agentpb::Agent {
    let info = &agent.info;
    let kernel = agentpb::KernelVersion { version: info.kernel.version, major_rev: info.kernel.major, minor_rev: info.kernel.minor };
    agentpb::Agent {
        info: Some(agentpb::AgentInfo {
            agent_id: Some(uuid(agent.id.to_halves())),
            host_info: Some(agentpb::HostInfo {
                hostname: info.hostname.clone(),
                pod_name: info.pod_name.clone(),
                host_ip: info.host_address.clone(),
                kernel: Some(kernel),
                kernel_headers_installed: info.kernel_headers_installed,
                kernel_release: info.kernel_release.clone(),
                boot_id: info.boot_id.clone(),
            }),
            ip_address: info.address.clone(),
            capabilities: Some(agentpb::AgentCapabilities { collects_data: info.collects_data }),
            parameters: Some(agentpb::AgentParameters { profiler_stack_trace_sample_period_ms: info.profiler_period_ms }),
            version: info.version.clone(),
            rpc_address: info.rpc_address.clone(),
            tls_server_name: info.tls_server_name.clone(),
            query_address: info.query_address.clone(),
        }),
        create_time_ns: agent.registered.0,
        last_heartbeat_ns: agent.heard.0,
        asid: agent.asid.0,
    }
}

pub(crate) fn encode_data(agent: &Agent) -> AgentDataInfo {
    let state = |(collector, status): (&String, &CollectorStatus)| CollectorMessage {
        collector: collector.clone(),
        state: match status.state {
            CollectorState::Running => collector_state::State::Running,
            CollectorState::Off => collector_state::State::Off,
            CollectorState::Failed => collector_state::State::Failed,
        }
        .into(),
        way: status.way.clone(),
        reason: status.reason.clone(),
        remedy: status.remedy.clone(),
    };
    let states = agent.collectors.iter().map(state).collect();
    AgentDataInfo { metadata_info: decode_names(agent), collectors: Some(CollectorStates { states }) }
}

/// The filter was encoded by [`decode_heartbeat`].
fn decode_names(agent: &Agent) -> Option<MetadataInfo> {
    agent.names.as_ref().and_then(|names| MetadataInfo::decode(names.as_slice()).ok())
}

/// One or two messages for each update.
pub(crate) fn encode_updates(updates: Vec<AgentUpdate>) -> Vec<UpdateMessage> {
    let mut messages = Vec::new();
    for update in updates {
        match update {
            AgentUpdate::Removed(id) => {
                messages.push(UpdateMessage { agent_id: Some(uuid(id.to_halves())), update: Some(Update::Deleted(true)) });
            }
            AgentUpdate::Present(agent) => {
                let agent_id = Some(uuid(agent.id.to_halves()));
                messages.push(UpdateMessage { agent_id, update: Some(Update::Agent(encode_agent(&agent))) });
                messages.push(UpdateMessage { agent_id, update: Some(Update::DataInfo(encode_data(&agent))) });
            }
        }
    }
    messages
}

pub(crate) fn encode_schemas(schemas: &[SchemaInfo]) -> Vec<SchemaMessage> {
    let message = |schema: &SchemaInfo| SchemaMessage {
        name: schema.table.name.clone(),
        relation: Some(encode_relation(&schema.table)),
        agent_list: schema.agents.iter().map(|id| uuid(id.to_halves())).collect::<Vec<Uuid>>(),
    };
    schemas.iter().map(message).collect()
}

/// By name; of a table that is there in several forms, that of most agents.
pub(crate) fn encode_schema(schemas: &[SchemaInfo]) -> Schema {
    let mut by_name: BTreeMap<&str, &SchemaInfo> = BTreeMap::new();
    for schema in schemas {
        let most = by_name.entry(&schema.table.name).or_insert(schema);
        if schema.agents.len() > most.agents.len() {
            *most = schema;
        }
    }
    Schema { relation_map: by_name.into_iter().map(|(name, schema)| (name.to_owned(), encode_relation(&schema.table))).collect() }
}

fn encode_relation(table: &TableSchema) -> Relation {
    let column = |column: &ColumnSchema| relation::ColumnInfo {
        column_name: column.name.clone(),
        column_type: column.data_type.number(),
        column_desc: column.description.clone(),
        column_semantic_type: column.semantic_type.number(),
        pattern_type: column.pattern_type.number(),
    };
    Relation { columns: table.columns.iter().map(column).collect(), desc: table.description.clone() }
}

/// An agent and whether it is heard.
pub(crate) fn encode_metadata(agent: &Agent, state: AgentState, now: UnixNs) -> AgentMetadata {
    let state = match state {
        AgentState::Healthy => agentpb::AgentState::Healthy,
        AgentState::Unresponsive => agentpb::AgentState::Unresponsive,
    };
    let merges = agent.place.kind == AgentKind::Kelvin;
    let carnot = CarnotInfo {
        query_broker_address: agent.id.to_string(),
        agent_id: Some(uuid(agent.id.to_halves())),
        has_grpc_server: merges,
        grpc_address: agent.info.query_address.clone(),
        has_data_store: !merges,
        processes_data: true,
        accepts_remote_sources: merges,
        table_info: vec![],
        asid: agent.asid.0,
        metadata_info: decode_names(agent),
        ssl_targetname: agent.info.tls_server_name.clone(),
    };
    let status = agentpb::AgentStatus { ns_since_last_heartbeat: now.0.saturating_sub(agent.heard.0).max(0), state: state.into() };
    AgentMetadata { agent: Some(encode_agent(agent)), status: Some(status), carnot_info: Some(carnot) }
}
