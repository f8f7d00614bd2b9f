//! What the leader knows and decides. It does no IO: what is to be kept goes to the keepers, what is to be said lies in the outbox until it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::statuspb;
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{
    ConfigUpdateMessage, ConfigUpdateRequest, ConfigUpdateResponse, MetadataUpdateInfo, VizierMessage, config_update_message,
    tracepoint_message,
};
use ids::{AgentId, MonoNs};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::agents::{AgentKind, AgentState, Now, Registry, Reply, SchemaInfo};
use crate::k8s::Ranges;
use crate::metrics::Numbers;
use crate::scripts::Shelf;
use crate::tracepoints::{Action, Book, Node, Report, Reported, plan};
use crate::wire::agents::{Asks, decode_heartbeat, decode_registration, encode_kelvins, encode_reply};
use crate::wire::tracepoints::{decode_report, encode_register, encode_remove};
use crate::wire::{Malformed, uuid};

/// Settings on their way to agents. Somebody types them.
const SETTINGS_WAITING_MAX: usize = 256;
/// How long an agent has to answer to a setting before it is told again.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A setting on its way to an agent.
#[derive(Debug)]
struct Setting {
    agent: AgentId,
    key: String,
    value: String,
    told: Option<MonoNs>,
    answer: oneshot::Sender<statuspb::Status>,
}

/// What the leader knows.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) registry: Registry,
    pub(crate) book: Book,
    pub(crate) shelf: Shelf,
    pub(crate) numbers: Numbers,
    schemas: Arc<Vec<SchemaInfo>>,
    schemas_of: Option<crate::agents::Version>,
    ranges: Ranges,
    update: Arc<MetadataUpdateInfo>,
    update_of: Option<crate::agents::Version>,
    settings: BTreeMap<u128, Setting>,
    outbox: Vec<(AgentId, Msg)>,
    /// Whether something happened that the plan of the tracepoints depends on.
    unplanned: bool,
}

impl Desk {
    pub(crate) fn new(registry: Registry, book: Book, shelf: Shelf) -> Desk {
        Desk {
            registry,
            book,
            shelf,
            numbers: Numbers::default(),
            schemas: Arc::default(),
            schemas_of: None,
            ranges: Ranges::default(),
            update: Arc::default(),
            update_of: None,
            settings: BTreeMap::new(),
            outbox: Vec::new(),
            unplanned: true,
        }
    }

    /// Takes an agent's message.
    pub(crate) fn take(&mut self, message: VizierMessage, now: Now) -> Result<(), Malformed> {
        match message.msg.ok_or(Malformed::Empty)? {
            Msg::RegisterAgentRequest(request) => {
                let reply = self.registry.register(decode_registration(request)?, now);
                self.unplanned = true;
                self.reply(&reply, Asks::ToRegister, now);
            }
            Msg::Heartbeat(heartbeat) => {
                let reply = self.registry.heartbeat(decode_heartbeat(heartbeat)?, now);
                self.reply(&reply, Asks::ToBeHeard, now);
            }
            Msg::TracepointMessage(message) => match message.msg.ok_or(Malformed::Empty)? {
                tracepoint_message::Msg::TracepointInfoUpdate(update) => self.take_report(update)?,
                tracepoint_message::Msg::RemoveTracepointRequest(_) | tracepoint_message::Msg::RegisterTracepointRequest(_) => {
                    return Err(Malformed::Misdirected);
                }
            },
            Msg::ConfigUpdateMessage(message) => match message.msg.ok_or(Malformed::Empty)? {
                config_update_message::Msg::ConfigUpdateResponse(response) => self.take_setting(response)?,
                config_update_message::Msg::ConfigUpdateRequest(_) => return Err(Malformed::Misdirected),
            },
            Msg::RegisterAgentResponse(_)
            | Msg::HeartbeatAck(_)
            | Msg::HeartbeatNack(_)
            | Msg::ExecuteQueryRequest(_)
            | Msg::K8sMetadataMessage(_)
            | Msg::CancelQueryRequest(_) => return Err(Malformed::Misdirected),
        }
        Ok(())
    }

    fn reply(&mut self, reply: &Reply, asks: Asks, now: Now) {
        let update = self.update();
        self.outbox.push((reply.to, encode_reply(reply, asks, &update, now.wall)));
    }

    fn take_report(&mut self, update: api::vizier::messages::TracepointInfoUpdate) -> Result<(), Malformed> {
        let (id, agent, state, status) = decode_report(update)?;
        // Whoever is not registered says it again when it is.
        let Some(incarnation) = self.registry.agent(agent).map(|agent| agent.incarnation) else { return Ok(()) };
        match self.book.report(id, agent, Report { incarnation, state, status }) {
            Reported::Taken => {
                tracing::info!(tracepoint = %id, %agent, %state, "a tracepoint changed on an agent");
                self.unplanned = true;
            }
            Reported::Known => {}
            Reported::Unknown => self.outbox.push((agent, encode_remove(id))),
        }
        Ok(())
    }

    fn take_setting(&mut self, response: ConfigUpdateResponse) -> Result<(), Malformed> {
        let id = response.request_id.ok_or(Malformed::Field("it names no request"))?;
        let id = Uuid::from_u64_pair(id.high_bits, id.low_bits).as_u128();
        // One that is not known was answered before.
        if let Some(setting) = self.settings.remove(&id) {
            // Whoever asked may be gone.
            let _gone = setting.answer.send(response.status.unwrap_or_default()).is_err();
        }
        Ok(())
    }

    /// Sends a setting to the agent in this pod, again and again until it answers or `answer` is dropped at its other end. Says whether there is one.
    pub(crate) fn set(&mut self, id: Uuid, pod: &str, key: String, value: String, answer: oneshot::Sender<statuspb::Status>) -> bool {
        let named = |name: &str| name == pod || name.rsplit_once('/').is_some_and(|(_, name)| name == pod);
        let agent = self.registry.agents().find(|agent| named(&agent.info.pod_name)).map(|agent| agent.id);
        let Some(agent) = agent.filter(|_| self.settings.len() < SETTINGS_WAITING_MAX) else { return false };
        self.settings.insert(id.as_u128(), Setting { agent, key, value, told: None, answer });
        true
    }

    /// What time brings: agents that are silent, tracepoints whose time is over, answers that are due.
    pub(crate) fn pass_time(&mut self, now: Now) {
        for agent in self.registry.expire(now) {
            tracing::info!(%agent, "an agent was silent for too long");
        }
        self.unplanned = true;
        self.settings.retain(|_, setting| !setting.answer.is_closed());
    }

    /// Does what is to be done about tracepoints and settings.
    pub(crate) fn act(&mut self, now: Now) {
        if std::mem::take(&mut self.unplanned) && self.book.all().next().is_some() {
            let nodes = self.nodes();
            for action in plan(&self.book, &nodes, now) {
                self.apply(action, &nodes, now);
            }
        }
        for (id, setting) in &mut self.settings {
            if setting.told.is_none_or(|told| now.mono.since(told) >= TELL_AGAIN_AFTER) {
                setting.told = Some(now.mono);
                self.outbox.push((setting.agent, setting_message(*id, setting)));
            }
        }
    }

    fn apply(&mut self, action: Action, nodes: &[Node], now: Now) {
        tracing::debug!(%action, "tracepoints");
        self.book.apply(&action, now);
        match action {
            Action::Deploy { id, agent, .. } => {
                let node = nodes.iter().find(|node| node.agent == agent);
                let told = node.and_then(|node| self.book.programs_for(id, node));
                if let Some((tracepoint, deployment)) = told {
                    let message = encode_register(tracepoint, &deployment);
                    self.outbox.push((agent, message));
                }
            }
            Action::Remove { id, agent, .. } => self.outbox.push((agent, encode_remove(id))),
            Action::Expire { .. } | Action::ForgetReport { .. } | Action::Forget { .. } => {}
        }
    }

    /// What somebody else changed about the tracepoints.
    pub(crate) fn replan(&mut self) {
        self.unplanned = true;
    }

    pub(crate) fn set_ranges(&mut self, ranges: Ranges) {
        if self.ranges != ranges {
            self.ranges = ranges;
            self.update_of = None;
        }
    }

    /// What is to be said, now that what it says is kept.
    pub(crate) fn take_outbox(&mut self) -> Vec<(AgentId, Msg)> {
        std::mem::take(&mut self.outbox)
    }

    /// Every table and who has it: the same copy as long as nothing changed.
    pub(crate) fn schemas(&mut self) -> Arc<Vec<SchemaInfo>> {
        if self.schemas_of != Some(self.registry.version()) {
            let schemas = self.registry.schemas();
            if *self.schemas != schemas {
                self.schemas = Arc::new(schemas);
            }
            self.schemas_of = Some(self.registry.version());
        }
        Arc::clone(&self.schemas)
    }

    pub(crate) fn count(&mut self, now: Now) {
        let count = |kind| self.registry.agents().filter(|agent| agent.place.kind == kind).count() as u64;
        let (pems, kelvins) = (count(AgentKind::Pem), count(AgentKind::Kelvin));
        let unresponsive = self.registry.agents().filter(|agent| Registry::state(agent, now) == AgentState::Unresponsive).count();
        self.numbers = Numbers {
            agents: self.registry.metrics(),
            pems,
            kelvins,
            unresponsive: unresponsive as u64,
            tracepoints: self.book.all().count() as u64,
            scripts: self.shelf.scripts().len() as u64,
            ..self.numbers
        };
    }

    fn update(&mut self) -> Arc<MetadataUpdateInfo> {
        if self.update_of != Some(self.registry.version()) {
            self.update = Arc::new(MetadataUpdateInfo {
                service_cidr: self.ranges.service.clone(),
                pod_cidrs: self.ranges.pods.clone(),
                kelvins: encode_kelvins(self.registry.agents()),
            });
            self.update_of = Some(self.registry.version());
        }
        Arc::clone(&self.update)
    }

    fn nodes(&self) -> Vec<Node> {
        let pems = self.registry.agents().filter(|agent| agent.place.kind == AgentKind::Pem);
        pems.map(|agent| Node {
            agent: agent.id,
            incarnation: agent.incarnation,
            kernel: agent.info.kernel,
            hostname: agent.info.hostname.clone(),
        })
        .collect()
    }
}

fn setting_message(id: u128, setting: &Setting) -> Msg {
    let request = ConfigUpdateRequest {
        key: setting.key.clone(),
        value: setting.value.clone(),
        request_id: Some(uuid(Uuid::from_u128(id).as_u64_pair())),
    };
    Msg::ConfigUpdateMessage(ConfigUpdateMessage { msg: Some(config_update_message::Msg::ConfigUpdateRequest(request)) })
}
