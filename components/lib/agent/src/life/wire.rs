//! Registration and heartbeats as messages.

use api::carnot::planner::distributedpb::MetadataInfo;
use api::shared::k8s::metadatapb::{ProcessCreated, ProcessTerminated};
use api::types::UInt128;
use api::uuidpb::Uuid;
use api::vizier::messages::collector_state::State as WireState;
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{
    AgentDataInfo, AgentRefusal, AgentUpdateInfo, CollectorState as WireCollector, CollectorStates, Heartbeat, HeartbeatAck, HeartbeatNack,
    KelvinAddress, MetadataUpdateInfo, RegisterAgentRequest, RegisterAgentResponse, VizierMessage,
};
use api::vizier::services::metadata::{TableInfo, table_info::ColumnInfo};
use api::vizier::services::shared::agent::{AgentCapabilities, AgentInfo, AgentParameters, HostInfo, KernelVersion};
use ids::{AgentId, Asid, Upid};
use prost::Message as _;

use super::types::{
    Answer, Beat, Cluster, Collector, CollectorState, Incarnation, Kelvin, ProcessEvent, Profile, Refusal, Registration, TableSchema, Word,
};

/// An id as messages have it.
pub fn uuid(id: AgentId) -> Uuid {
    let (high_bits, low_bits) = id.to_halves();
    Uuid { high_bits, low_bits }
}

/// An agent's first word.
pub fn encode_registration(word: &Registration) -> VizierMessage {
    let Profile { hostname, pod_name, host_ip, ip_address, kernel, collects_data, profiler_period_ms, .. } = &word.profile;
    let host = HostInfo {
        hostname: hostname.clone(),
        pod_name: pod_name.clone(),
        host_ip: host_ip.clone(),
        kernel: Some(KernelVersion { version: kernel.version, major_rev: kernel.major, minor_rev: kernel.minor }),
        kernel_headers_installed: kernel.headers_installed,
        kernel_release: kernel.release.clone(),
        boot_id: kernel.boot_id.clone(),
    };
    let info = AgentInfo {
        agent_id: Some(uuid(word.id)),
        host_info: Some(host),
        ip_address: ip_address.clone(),
        capabilities: Some(AgentCapabilities { collects_data: *collects_data }),
        parameters: Some(AgentParameters { profiler_stack_trace_sample_period_ms: *profiler_period_ms }),
        version: word.profile.version.clone(),
        rpc_address: word.profile.rpc_address.clone(),
        tls_server_name: word.profile.tls_server_name.clone(),
        query_address: word.profile.query_address.clone(),
    };
    let asid = word.asid.map_or(0, |asid| asid.0);
    message(Msg::RegisterAgentRequest(RegisterAgentRequest { info: Some(info), asid, incarnation: word.incarnation.0 }))
}

/// An agent's word every five seconds.
pub fn encode_beat(beat: &Beat) -> VizierMessage {
    let names = beat.names.as_deref().and_then(|names| MetadataInfo::decode(names).ok());
    let collectors = beat.collectors.as_ref().map(|collectors| CollectorStates {
        states: collectors.iter().map(|(name, collector)| encode_collector(name, collector)).collect(),
    });
    let mut update = AgentUpdateInfo {
        schema: beat.tables.iter().flatten().map(encode_table).collect(),
        process_created: vec![],
        process_terminated: vec![],
        does_update_schema: beat.tables.is_some(),
        data: (names.is_some() || collectors.is_some()).then_some(AgentDataInfo { metadata_info: names, collectors }),
    };
    for event in &beat.processes {
        match event {
            ProcessEvent::Created { upid, started, cmdline, container } => update.process_created.push(ProcessCreated {
                upid: Some(encode_upid(*upid)),
                start_timestamp_ns: started.0,
                cmdline: cmdline.clone(),
                cid: container.clone(),
            }),
            ProcessEvent::Terminated { upid, ended } => {
                update.process_terminated.push(ProcessTerminated { upid: Some(encode_upid(*upid)), stop_timestamp_ns: ended.0 });
            }
        }
    }
    message(Msg::Heartbeat(Heartbeat {
        agent_id: Some(uuid(beat.id)),
        time: beat.time.0,
        update_info: Some(update),
        sequence_number: i64::try_from(beat.sequence).unwrap_or(i64::MAX),
        incarnation: beat.incarnation.0,
    }))
}

fn message(msg: Msg) -> VizierMessage {
    VizierMessage { msg: Some(msg) }
}

fn encode_upid(upid: Upid) -> UInt128 {
    let bytes = upid.to_be_bytes();
    let number = u128::from_be_bytes(bytes);
    UInt128 { low: number as u64, high: (number >> 64) as u64 }
}

fn encode_table(table: &TableSchema) -> TableInfo {
    let columns = table.columns.iter().map(|column| ColumnInfo {
        name: column.name.clone(),
        data_type: column.data_type.number(),
        pattern_type: column.pattern_type.number(),
        desc: column.text.clone(),
        semantic_type: column.semantic_type.number(),
    });
    TableInfo { name: table.name.clone(), desc: table.text.clone(), columns: columns.collect(), ..TableInfo::default() }
}

fn encode_collector(name: &str, collector: &Collector) -> WireCollector {
    let state = match collector.state {
        CollectorState::Running => WireState::Running,
        CollectorState::Off => WireState::Off,
        CollectorState::Failed => WireState::Failed,
    };
    WireCollector {
        collector: name.to_owned(),
        state: state.into(),
        way: collector.way.clone(),
        reason: collector.reason.clone(),
        remedy: collector.remedy.clone(),
    }
}

/// What the metadata service answered; `None` if the message is none of its answers.
///
/// # Errors
/// Which field is not as it must be.
pub fn decode(message: VizierMessage) -> Result<Option<Word>, &'static str> {
    let Some(msg) = message.msg else { return Err("msg: nothing is set") };
    let (incarnation, answer) = match msg {
        Msg::RegisterAgentResponse(response) => (response.incarnation, decode_registered(response)?),
        Msg::HeartbeatAck(ack) => (ack.incarnation, decode_ack(ack)?),
        Msg::HeartbeatNack(nack) => (nack.incarnation, decode_nack(nack)),
        Msg::RegisterAgentRequest(_)
        | Msg::Heartbeat(_)
        | Msg::ExecuteQueryRequest(_)
        | Msg::TracepointMessage(_)
        | Msg::ConfigUpdateMessage(_)
        | Msg::K8sMetadataMessage(_)
        | Msg::CancelQueryRequest(_) => return Ok(None),
    };
    Ok(Some(Word { incarnation: (incarnation != 0).then_some(Incarnation(incarnation)), answer }))
}

fn decode_registered(response: RegisterAgentResponse) -> Result<Answer, &'static str> {
    let refusal = decode_refusal(response.refusal_kind);
    if !response.refusal.is_empty() || refusal != Refusal::Unsaid {
        let text = said(response.refusal, refusal);
        return Ok(Answer::Refused { refusal, text });
    }
    if response.asid == 0 {
        return Err("register_agent_response.asid: 0 is nobody's");
    }
    let id = response.agent_id.map(|id| AgentId::from_halves(id.high_bits, id.low_bits));
    Ok(Answer::Registered { id, asid: Asid(response.asid) })
}

fn decode_ack(ack: HeartbeatAck) -> Result<Answer, &'static str> {
    let sequence = u64::try_from(ack.sequence_number).map_err(|_| "heartbeat_ack.sequence_number: negative")?;
    let cluster = ack.update_info.map(decode_cluster).transpose()?;
    Ok(Answer::Acknowledged { sequence, cluster })
}

fn decode_cluster(update: MetadataUpdateInfo) -> Result<Cluster, &'static str> {
    let decode_kelvin = |kelvin: KelvinAddress| -> Result<Kelvin, &'static str> {
        let id = kelvin.agent_id.ok_or("heartbeat_ack.update_info.kelvins.agent_id: missing")?;
        let id = AgentId::from_halves(id.high_bits, id.low_bits);
        Ok(Kelvin { id, address: kelvin.address, server_name: kelvin.tls_server_name })
    };
    let kelvins = update.kelvins.into_iter().map(decode_kelvin).collect::<Result<_, _>>()?;
    Ok(Cluster { service_cidr: update.service_cidr, pod_cidrs: update.pod_cidrs, kelvins })
}

fn decode_nack(nack: HeartbeatNack) -> Answer {
    let refusal = decode_refusal(nack.refusal_kind);
    let text = said(nack.reason, refusal);
    if nack.reregister { Answer::Unregistered { text } } else { Answer::Stop { refusal, text } }
}

fn decode_refusal(kind: i32) -> Refusal {
    match AgentRefusal::try_from(kind) {
        Ok(AgentRefusal::Superseded) => Refusal::Superseded,
        Ok(AgentRefusal::IdTaken) => Refusal::IdTaken,
        Ok(AgentRefusal::Full) => Refusal::Full,
        Ok(AgentRefusal::TooLarge) => Refusal::TooLarge,
        Ok(AgentRefusal::None) | Err(_) => Refusal::Unsaid,
    }
}

fn said(text: String, refusal: Refusal) -> String {
    if text.is_empty() { refusal.to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ids::UnixNs;
    use tables::{DataType, PatternType, SemanticType};

    use super::*;
    use crate::life::ColumnSchema;

    fn id() -> AgentId {
        AgentId::from_halves(7, 9)
    }

    fn answer(msg: Msg) -> Result<Option<Word>, &'static str> {
        decode(message(msg))
    }

    #[test]
    fn a_registration_says_who_asks_and_where_it_is() {
        let profile = Profile { hostname: "node-1".to_owned(), collects_data: true, profiler_period_ms: -1, ..Profile::default() };
        let word = Registration { id: id(), incarnation: Incarnation(5), asid: Some(Asid(3)), profile };
        let Some(Msg::RegisterAgentRequest(request)) = encode_registration(&word).msg else { panic!("a registration") };
        let info = request.info.unwrap();
        assert_eq!((request.asid, request.incarnation, info.agent_id), (3, 5, Some(Uuid { high_bits: 7, low_bits: 9 })));
        assert_eq!(info.host_info.unwrap().hostname, "node-1");
        assert!(info.capabilities.unwrap().collects_data);
    }

    #[test]
    fn a_beat_says_what_changed_and_nothing_else() {
        let column = ColumnSchema {
            name: "time_".to_owned(),
            data_type: DataType::Time64Ns,
            semantic_type: SemanticType::TimeNs,
            pattern_type: PatternType::MetricCounter,
            text: "when".to_owned(),
        };
        let table = TableSchema { name: "t".to_owned(), text: "a table".to_owned(), columns: vec![column] };
        let upid = Upid::new(Asid(1), 2, 3);
        let failed =
            Collector { state: CollectorState::Failed, way: String::new(), reason: "no BTF".to_owned(), remedy: "a kernel".to_owned() };
        let mut beat = Beat {
            id: id(),
            incarnation: Incarnation(5),
            sequence: 4,
            time: UnixNs(11),
            tables: Some(vec![table]),
            collectors: Some(BTreeMap::from([("socket data".to_owned(), failed)])),
            names: None,
            processes: vec![
                ProcessEvent::Created { upid, started: UnixNs(1), cmdline: "sh".to_owned(), container: String::new() },
                ProcessEvent::Terminated { upid, ended: UnixNs(2) },
            ],
        };
        let Some(Msg::Heartbeat(message)) = encode_beat(&beat).msg else { panic!("a heartbeat") };
        assert_eq!((message.sequence_number, message.time, message.incarnation), (4, 11, 5));
        let update = message.update_info.unwrap();
        assert_eq!((update.does_update_schema, update.schema[0].columns[0].data_type), (true, 6));
        assert_eq!(update.process_created[0].upid, Some(UInt128 { high: (1 << 32) | 2, low: 3 }));
        assert_eq!(update.process_terminated.len(), 1);
        assert_eq!(update.data.unwrap().collectors.unwrap().states[0].reason, "no BTF");
        (beat.tables, beat.collectors, beat.processes) = (None, None, vec![]);
        let Some(Msg::Heartbeat(message)) = encode_beat(&beat).msg else { panic!("a heartbeat") };
        assert_eq!(message.update_info, Some(AgentUpdateInfo::default()));
    }

    #[test]
    fn answers_are_read_and_wrong_ones_are_named() {
        let word = |answer| Ok(Some(Word { incarnation: Some(Incarnation(5)), answer }));
        let registered = RegisterAgentResponse { asid: 3, agent_id: Some(uuid(id())), incarnation: 5, ..Default::default() };
        assert_eq!(answer(Msg::RegisterAgentResponse(registered)), word(Answer::Registered { id: Some(id()), asid: Asid(3) }));
        let refused = RegisterAgentResponse { refusal_kind: AgentRefusal::Full.into(), incarnation: 5, ..Default::default() };
        let text = "there are too many agents".to_owned();
        assert_eq!(answer(Msg::RegisterAgentResponse(refused)), word(Answer::Refused { refusal: Refusal::Full, text }));
        let kelvin = KelvinAddress { agent_id: Some(uuid(id())), address: "k:1".to_owned(), tls_server_name: "kelvin".to_owned() };
        let update = MetadataUpdateInfo { kelvins: vec![kelvin], ..Default::default() };
        let ack = HeartbeatAck { sequence_number: 8, update_info: Some(update), incarnation: 5, ..Default::default() };
        let kelvins = vec![Kelvin { id: id(), address: "k:1".to_owned(), server_name: "kelvin".to_owned() }];
        let cluster = Some(Cluster { kelvins, ..Cluster::default() });
        assert_eq!(answer(Msg::HeartbeatAck(ack)), word(Answer::Acknowledged { sequence: 8, cluster }));
        let nack = HeartbeatNack { reregister: true, reason: "who?".to_owned(), incarnation: 0, ..Default::default() };
        let unregistered = Word { incarnation: None, answer: Answer::Unregistered { text: "who?".to_owned() } };
        assert_eq!(answer(Msg::HeartbeatNack(nack)), Ok(Some(unregistered)));

        assert!(answer(Msg::RegisterAgentResponse(RegisterAgentResponse::default())).is_err());
        assert!(answer(Msg::HeartbeatAck(HeartbeatAck { sequence_number: -1, ..Default::default() })).is_err());
        assert!(decode(VizierMessage::default()).is_err());
        assert_eq!(answer(Msg::CancelQueryRequest(api::vizier::messages::CancelQueryRequest::default())), Ok(None));
    }
}
