use std::collections::BTreeSet;
use std::sync::Arc;

use agent::life::{ColumnSchema, Member, Profile, Standing, TableSchema};
use agent::{DialSet, Dialer, MemberHandle, Membership, Request, Requests};
use api::statuspb::{LifeCycleState, Status};
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{TracepointInfoUpdate, TracepointMessage, VizierMessage, tracepoint_message};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use bus::{Bus, subject};
use engine::AgentFacts;
use engine::distributed::{AgentWorker, AgentWorkerArgs};
use ids::AgentId;
use parking_lot::Mutex;
use service::Shell;
use table_store::TableStore;
use tables::{ColumnDef, DataType, PatternType, Relation, SemanticType};
use tokio::runtime::Handle;

use super::broker::Row;
use super::{Process, membership};
use crate::net::Dialling;
use crate::world::{World, WrongClock};

/// The table that every node has.
pub(crate) const TABLE: &str = "events";
const TABLE_BYTES_MAX: u64 = 64 << 20;

/// Tracepoints on one node.
type Tracepoints = Arc<Mutex<BTreeSet<(u64, u64)>>>;

/// A node's agent, with rows that are known to the checks.
#[derive(Debug)]
pub(crate) struct PemPart {
    /// As a process.
    pub(crate) process: Process,
    /// Of its node.
    pub(crate) clock: WrongClock,
    /// What it deployed.
    pub(crate) tracepoints: Tracepoints,
    rows: BTreeSet<Row>,
    store: Arc<TableStore>,
    member: MemberHandle,
    worker: Arc<Mutex<Option<AgentWorker>>>,
    number: u64,
}

impl PemPart {
    /// Starts it, without rows.
    ///
    /// # Errors
    /// It has no bus.
    pub(crate) fn start(world: &Arc<World>, index: usize, clock: WrongClock) -> anyhow::Result<PemPart> {
        let name = format!("pem-{index}");
        let process = Process::new(world, &name);
        let profile = Profile {
            hostname: name.clone(),
            pod_name: format!("pl/{}", process.bus_name),
            host_ip: format!("10.0.0.{index}"),
            ip_address: format!("10.0.0.{index}"),
            collects_data: true,
            profiler_period_ms: -1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Profile::default()
        };
        let bus = process.bus()?;
        let (life, member, requests) = Membership::new(bus.clone(), membership(world, profile, &clock));
        let store = Arc::new(TableStore::empty(TABLE_BYTES_MAX));
        store.create(TABLE, relation())?;
        member.set_tables(vec![schema()]);
        let stop = process.shell.stop.clone();
        process.shell.tasks.spawn(async move {
            if let Err(error) = life.run(&stop).await {
                tracing::debug!(%error, "a membership is over");
            }
        });
        let worker = Arc::new(Mutex::new(None));
        let serving = Serving {
            store: Arc::clone(&store),
            worker: Arc::clone(&worker),
            dialling: Arc::new(Dialling { net: world.net.clone(), from: name.clone() }),
            seed: world.draw(),
            shell: process.shell.clone(),
        };
        process.shell.tasks.spawn(serving.run(member.clone()));
        let tracepoints = Tracepoints::default();
        let deployed = Arc::clone(&tracepoints);
        let (stop, asked) = (process.shell.stop.clone(), member.clone());
        process.shell.tasks.spawn(async move {
            stop.run_until_cancelled(answer(bus, requests, asked, deployed)).await;
        });
        let number = world.process_number();
        Ok(PemPart { process, clock, tracepoints, rows: BTreeSet::new(), store, member, worker, number })
    }

    /// Its table gets rows that no other process ever has.
    ///
    /// # Errors
    /// The table does not take them.
    pub(crate) fn append(&mut self, count: usize) -> anyhow::Result<()> {
        let first = self.rows.len();
        let numbers = (first..first + count).map(|at| (self.number * 1_000_000 + at as u64) as i64).collect::<Vec<_>>();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from_iter_values(numbers.iter().map(|_| self.clock.now().0))),
            Arc::new(StringArray::from_iter_values(numbers.iter().map(|_| &self.process.name))),
            Arc::new(Int64Array::from(numbers.clone())),
        ];
        if let Some(table) = self.store.table(TABLE) {
            table.append(RecordBatch::try_new(Arc::new(relation().arrow_schema()), columns)?)?;
        }
        self.rows.extend(numbers.into_iter().map(|number| Row { node: self.process.name.clone(), number }));
        Ok(())
    }

    /// All rows that it has.
    pub(crate) fn rows(&self) -> &BTreeSet<Row> {
        &self.rows
    }

    /// Which process this is.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// How it stands.
    pub(crate) fn standing(&self) -> Standing {
        self.member.standing().borrow().clone()
    }

    /// Scans that run.
    pub(crate) fn scans(&self) -> usize {
        self.worker.lock().as_ref().map_or(0, |worker| *worker.queries().leaves().borrow())
    }

    /// From one moment to the next.
    pub(crate) fn crash(self) -> WrongClock {
        self.process.crash();
        self.clock
    }

    /// As it should. False if it does not end.
    pub(crate) async fn stop(self) -> bool {
        self.process.stop().await
    }
}

/// What offers the tables to Kelvins.
struct Serving {
    store: Arc<TableStore>,
    worker: Arc<Mutex<Option<AgentWorker>>>,
    dialling: Arc<Dialling>,
    seed: u64,
    shell: Shell,
}

impl Serving {
    /// Under the id that the metadata service has given, and anew when that changes.
    async fn run(self, member: MemberHandle) {
        let stop = self.shell.stop.clone();
        let mut standing = member.standing();
        loop {
            let running = standing.wait_for(|standing| matches!(standing, Standing::Running(_)));
            let Some(Ok(now)) = stop.run_until_cancelled(running).await.map(|found| found.map(|now| now.clone())) else { return };
            let Standing::Running(Member { id, asid }) = now else { return };
            let facts = AgentFacts { asid, ..AgentFacts::default() };
            let functions = Arc::new(funcs::registry(&funcs::Environment { asid, ..funcs::Environment::default() }));
            let worker = AgentWorker::of_agent(id, Arc::clone(&self.store), functions, facts, AgentWorkerArgs::default());
            *self.worker.lock() = Some(worker.clone());
            let dialer = Dialer::over(id, worker, Handle::current(), (Arc::clone(&self.dialling) as _, self.seed));
            let (dials, _states) = DialSet::new(dialer, self.shell.tasks.clone());
            let changed = stop.child_token();
            let other = standing.wait_for(|standing| matches!(standing, Standing::Running(other) if (other.id, other.asid) != (id, asid)));
            tokio::select! {
                () = dials.run(member.cluster(), &changed) => return,
                other = other => if other.is_err() { return },
            }
            changed.cancel();
        }
    }
}

/// A node that deploys whatever it is asked to.
async fn answer(bus: Bus, mut requests: Requests, member: MemberHandle, deployed: Tracepoints) {
    while let Some(request) = requests.next().await {
        let Request::Tracepoint(TracepointMessage { msg: Some(message) }) = request else { continue };
        let (id, state) = match message {
            tracepoint_message::Msg::RegisterTracepointRequest(request) => (request.id, LifeCycleState::RunningState),
            tracepoint_message::Msg::RemoveTracepointRequest(request) => (request.id, LifeCycleState::TerminatedState),
            tracepoint_message::Msg::TracepointInfoUpdate(_) => continue,
        };
        let (Some(id), Standing::Running(member)) = (id, member.standing().borrow().clone()) else { continue };
        let key = (id.high_bits, id.low_bits);
        if state == LifeCycleState::RunningState {
            deployed.lock().insert(key);
        } else {
            deployed.lock().remove(&key);
        }
        let update =
            TracepointInfoUpdate { id: Some(id), state: state.into(), status: Some(Status::default()), agent_id: Some(uuid_of(member.id)) };
        let message = TracepointMessage { msg: Some(tracepoint_message::Msg::TracepointInfoUpdate(update)) };
        let message = VizierMessage { msg: Some(Msg::TracepointMessage(message)) };
        // It is asked again until it is heard.
        if let Err(error) = bus.publish(&subject::update_agent(), &message).await {
            tracing::debug!(%error, "a tracepoint's state was not said");
        }
    }
}

fn uuid_of(agent: AgentId) -> api::uuidpb::Uuid {
    let (high_bits, low_bits) = agent.to_halves();
    api::uuidpb::Uuid { high_bits, low_bits }
}

fn relation() -> Relation {
    let column = |name: &str, data_type| ColumnDef { name: name.to_owned(), data_type, semantic_type: SemanticType::None };
    Relation { columns: vec![column("time_", DataType::Time64Ns), column("node", DataType::String), column("number", DataType::Int64)] }
}

fn schema() -> TableSchema {
    let column = |column: ColumnDef| ColumnSchema {
        name: column.name,
        data_type: column.data_type,
        semantic_type: column.semantic_type,
        pattern_type: PatternType::General,
        text: String::new(),
    };
    TableSchema { name: TABLE.to_owned(), text: String::new(), columns: relation().columns.into_iter().map(column).collect() }
}
