use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use api::uuidpb::Uuid;
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{
    AgentDataInfo, AgentUpdateInfo, CollectorState, CollectorStates, Heartbeat, HeartbeatAck, RegisterAgentRequest, RegisterAgentResponse,
    VizierMessage, collector_state,
};
use api::vizier::services::metadata::cron_script_store_service_client::CronScriptStoreServiceClient;
use api::vizier::services::metadata::metadata_config_service_client::MetadataConfigServiceClient;
use api::vizier::services::metadata::metadata_service_client::MetadataServiceClient;
use api::vizier::services::metadata::metadata_tracepoint_service_client::MetadataTracepointServiceClient;
use api::vizier::services::metadata::{TableInfo, table_info};
use api::vizier::services::shared::agent::{AgentCapabilities, AgentInfo, AgentParameters, HostInfo, KernelVersion};
use bus::{Bus, Hub, Subscription, subject};
use ids::{AgentId, UnixNs};
use metadata::election::Candidate;
use metadata::store::{Memory, Store};
use metadata::{Clock, Parts, Service, StoreSource};
use service::Shell;
use tonic::service::Routes;
use tonic::{Request, Status};

/// No answer takes longer, in paused time.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A wall clock's start.
pub(crate) const START: UnixNs = UnixNs(1_700_000_000_000_000_000);

pub(crate) fn uuid(id: AgentId) -> Uuid {
    let (high_bits, low_bits) = id.to_halves();
    Uuid { high_bits, low_bits }
}

type Pass = fn(Request<()>) -> Result<Request<()>, Status>;

/// A metadata service, and the bus around it.
pub(crate) struct World {
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) service: Service,
    pub(crate) shell: Shell,
}

impl World {
    pub(crate) async fn new() -> World {
        World::with_store(Arc::new(Memory::default())).await
    }

    pub(crate) async fn with_store(store: Arc<dyn Store>) -> World {
        World::replica(Arc::new(Hub::new()), store, "one", false).await
    }

    /// One of those that share a store, or the only one, which leads when this returns.
    pub(crate) async fn replica(hub: Arc<Hub>, store: Arc<dyn Store>, name: &str, shared: bool) -> World {
        let shell = Shell::default();
        let parts = Parts {
            store: StoreSource::Ready { store: Arc::clone(&store), shared },
            candidate: Candidate::new(name, true),
            bus: hub.connect(name).unwrap(),
            clock: Clock::starting_at(START),
        };
        let world = World { hub, store, service: Service::start(parts, &shell), shell };
        if !shared {
            assert!(world.service.leads().until(true).await);
            world.settle().await;
        }
        world
    }

    /// As after a crash and a start, with the same store and the same bus.
    pub(crate) async fn restarted(self) -> World {
        let (hub, store) = (Arc::clone(&self.hub), Arc::clone(&self.store));
        self.stop().await;
        World::replica(hub, store, "one", false).await
    }

    pub(crate) async fn stop(self) {
        self.shell.stop.cancel();
        self.shell.tasks.close();
        self.shell.tasks.wait().await;
    }

    /// Lets everything that can happen now happen: in paused time that is at once.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// Waits until it is so.
    pub(crate) async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let waited = tokio::time::timeout(ANSWER_MAX, async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "{what}");
    }

    fn routes(&self) -> Routes {
        let pass: Pass = Ok;
        self.service.routes(&pass)
    }

    pub(crate) fn agents(&self) -> MetadataServiceClient<Routes> {
        MetadataServiceClient::new(self.routes())
    }

    pub(crate) fn tracepoints(&self) -> MetadataTracepointServiceClient<Routes> {
        MetadataTracepointServiceClient::new(self.routes())
    }

    pub(crate) fn settings(&self) -> MetadataConfigServiceClient<Routes> {
        MetadataConfigServiceClient::new(self.routes())
    }

    pub(crate) fn scripts(&self) -> CronScriptStoreServiceClient<Routes> {
        CronScriptStoreServiceClient::new(self.routes())
    }

    /// A PEM on its node; it speaks when it is told to.
    pub(crate) async fn pem(&self, number: u8) -> Peer {
        Peer::new(self.hub.connect(&format!("pem-{number}")).unwrap(), pem_info(number), 10).await
    }

    pub(crate) async fn kelvin(&self, number: u8) -> Peer {
        let mut info = pem_info(number);
        info.capabilities = Some(AgentCapabilities { collects_data: false });
        info.rpc_address = format!("10.0.1.{number}:51211");
        info.query_address = format!("10.0.1.{number}:51210");
        "kelvin.pl.svc".clone_into(&mut info.tls_server_name);
        Peer::new(self.hub.connect(&format!("kelvin-{number}")).unwrap(), info, 10).await
    }
}

pub(crate) fn pem_info(number: u8) -> AgentInfo {
    AgentInfo {
        agent_id: Some(uuid(AgentId::from_halves(7, u64::from(number)))),
        host_info: Some(HostInfo {
            hostname: format!("node-{number}"),
            pod_name: format!("pl/vizier-pem-{number}"),
            host_ip: format!("10.0.0.{number}"),
            kernel: Some(KernelVersion { version: 6, major_rev: 1, minor_rev: u32::from(number) }),
            kernel_headers_installed: true,
            kernel_release: "6.1.0-amd64".to_owned(),
            boot_id: "boot".to_owned(),
        }),
        ip_address: format!("10.0.0.{number}"),
        capabilities: Some(AgentCapabilities { collects_data: true }),
        parameters: Some(AgentParameters { profiler_stack_trace_sample_period_ms: 11 }),
        version: "0.1.0".to_owned(),
        ..AgentInfo::default()
    }
}

/// An agent that says what it is told to say.
pub(crate) struct Peer {
    pub(crate) bus: Bus,
    pub(crate) info: AgentInfo,
    pub(crate) incarnation: u64,
    pub(crate) sequence: i64,
    pub(crate) asid: u32,
    heard: Subscription<VizierMessage>,
    /// What came before what was waited for.
    pub(crate) aside: VecDeque<Msg>,
}

impl Peer {
    pub(crate) async fn new(bus: Bus, info: AgentInfo, incarnation: u64) -> Peer {
        let id = info.agent_id.unwrap();
        let heard = bus.subscribe(subject::agent(AgentId::from_halves(id.high_bits, id.low_bits))).await.unwrap();
        Peer { bus, info, incarnation, sequence: 0, asid: 0, heard, aside: VecDeque::new() }
    }

    pub(crate) fn id(&self) -> AgentId {
        let id = self.info.agent_id.unwrap();
        AgentId::from_halves(id.high_bits, id.low_bits)
    }

    pub(crate) async fn say(&self, msg: Msg) {
        self.bus.publish(&subject::update_agent(), &VizierMessage { msg: Some(msg) }).await.unwrap();
    }

    /// The next message that `pick` makes something of; the others are put aside.
    pub(crate) async fn hear<T>(&mut self, mut pick: impl FnMut(&Msg) -> Option<T>) -> T {
        if let Some(place) = self.aside.iter().position(|msg| pick(msg).is_some()) {
            return self.aside.remove(place).and_then(|msg| pick(&msg)).unwrap();
        }
        let heard = async {
            loop {
                let msg = self.heard.next().await.unwrap().message.msg.unwrap();
                match pick(&msg) {
                    Some(picked) => return picked,
                    None => self.aside.push_back(msg),
                }
            }
        };
        tokio::time::timeout(ANSWER_MAX, heard).await.expect("an answer comes")
    }

    /// Whether it was told nothing else than what it heard.
    pub(crate) async fn hears_nothing_for(&mut self, time: Duration) -> bool {
        self.aside.is_empty() && tokio::time::timeout(time, self.heard.next()).await.is_err()
    }

    pub(crate) async fn ask_to_register(&mut self) -> RegisterAgentResponse {
        let request = RegisterAgentRequest { info: Some(self.info.clone()), asid: self.asid, incarnation: self.incarnation };
        self.say(Msg::RegisterAgentRequest(request)).await;
        self.hear(|msg| if let Msg::RegisterAgentResponse(response) = msg { Some(response.clone()) } else { None }).await
    }

    /// Registers, and says everything in a first heartbeat.
    pub(crate) async fn join(&mut self) -> HeartbeatAck {
        let response = self.ask_to_register().await;
        assert_eq!((response.refusal.as_str(), response.incarnation), ("", self.incarnation));
        self.asid = response.asid;
        if response.agent_id != self.info.agent_id {
            self.info.agent_id = response.agent_id;
            self.heard = self.bus.subscribe(subject::agent(self.id())).await.unwrap();
        }
        self.beat(Some(everything("http_events"))).await
    }

    pub(crate) fn heartbeat(&self, update_info: Option<AgentUpdateInfo>) -> Msg {
        Msg::Heartbeat(Heartbeat {
            agent_id: self.info.agent_id,
            time: 0,
            update_info,
            sequence_number: self.sequence,
            incarnation: self.incarnation,
        })
    }

    /// The next heartbeat, which is acknowledged.
    pub(crate) async fn beat(&mut self, update_info: Option<AgentUpdateInfo>) -> HeartbeatAck {
        self.sequence += 1;
        self.say(self.heartbeat(update_info)).await;
        let sequence = self.sequence;
        self.hear(|msg| {
            assert!(!matches!(msg, Msg::HeartbeatNack(_)), "{msg:?}");
            let Msg::HeartbeatAck(ack) = msg else { return None };
            (ack.sequence_number == sequence).then(|| ack.clone())
        })
        .await
    }
}

pub(crate) fn everything(table: &str) -> AgentUpdateInfo {
    let column = table_info::ColumnInfo {
        name: "time_".to_owned(),
        data_type: api::types::DataType::Time64ns.into(),
        pattern_type: api::types::PatternType::MetricCounter.into(),
        desc: "when".to_owned(),
        semantic_type: api::types::SemanticType::StTimeNs.into(),
    };
    let table = TableInfo { name: table.to_owned(), desc: "for people".to_owned(), columns: vec![column], ..TableInfo::default() };
    let collector = CollectorState {
        collector: "socket_tracer".to_owned(),
        state: collector_state::State::Failed.into(),
        way: "tracepoints".to_owned(),
        reason: "no BTF".to_owned(),
        remedy: "a kernel with BTF".to_owned(),
    };
    let data = AgentDataInfo { metadata_info: None, collectors: Some(CollectorStates { states: vec![collector] }) };
    AgentUpdateInfo { schema: vec![table], does_update_schema: true, data: Some(data), ..AgentUpdateInfo::default() }
}
