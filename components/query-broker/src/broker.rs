use std::fmt;
use std::sync::{Arc, OnceLock};

use bus::Bus;
use ids::ClusterId;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Access;
use crate::counters::Counters;
use crate::delivery::{Deliveries, ReattachArgs};
use crate::engine::QueryEngine;
use crate::health::Health;
use crate::limits::CONCURRENT_QUERIES_MAX;

/// Who this Vizier is, as it lists itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// The same for as long as its state is kept.
    pub id: ClusterId,
    /// For people; the host's name where there is no Kubernetes.
    pub name: String,
    /// Of the product.
    pub vizier_version: String,
    /// Of Kubernetes, or of the kernel where there is none.
    pub cluster_version: String,
}

/// How this Vizier does, as it lists itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClusterState {
    /// Not everything runs yet.
    #[default]
    Starting,
    /// Data is captured.
    Healthy,
    /// Scripts are answered, and some data, or all of it, is not captured: which, and what to do about it.
    Degraded(String),
    /// There is nothing to ask: why, and what to do about it.
    Unhealthy(String),
}

impl ClusterState {
    /// What is not as it should be; empty where all is, or nothing is known yet.
    pub(crate) fn reason(&self) -> &str {
        match self {
            ClusterState::Starting | ClusterState::Healthy => "",
            ClusterState::Degraded(why) | ClusterState::Unhealthy(why) => why,
        }
    }
}

/// The nodes of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nodes {
    /// That have an agent.
    pub all: i32,
    /// On which something is captured.
    pub instrumented: i32,
}

/// What a broker is made of, beside its engine and who it is.
#[derive(Debug, Clone)]
pub struct BrokerArgs {
    /// Who may call.
    pub access: Access,
    /// How long queries wait for clients that come back.
    pub reattach: ReattachArgs,
}

impl Default for BrokerArgs {
    /// Whoever reaches the listener; a query ends with its call.
    fn default() -> BrokerArgs {
        BrokerArgs { access: Access::anyone(), reattach: ReattachArgs::default() }
    }
}

/// Runs scripts for clients. A cheap handle: clones are the same broker.
#[derive(Clone)]
pub struct Broker {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Arc<dyn QueryEngine>,
    pub(crate) identity: ClusterIdentity,
    pub(crate) access: Access,
    pub(crate) deliveries: Arc<Deliveries>,
    /// Set where the parts of a Vizier are processes.
    pub(crate) bus: OnceLock<Bus>,
    pub(crate) state: watch::Sender<ClusterState>,
    pub(crate) nodes: watch::Sender<Option<Nodes>>,
    pub(crate) health: watch::Sender<Health>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) counters: Counters,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Broker {
    /// A broker over `engine`. Its queries are tasks of `tasks`, and end when `stop` is cancelled.
    pub fn new(engine: Arc<dyn QueryEngine>, identity: ClusterIdentity, stop: CancellationToken, tasks: TaskTracker) -> Broker {
        Broker::with(BrokerArgs::default(), (engine, identity), stop, tasks)
    }

    /// The same, otherwise than by default.
    pub fn with(
        args: BrokerArgs,
        (engine, identity): (Arc<dyn QueryEngine>, ClusterIdentity),
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Broker {
        let inner = Inner {
            engine,
            identity,
            access: args.access,
            deliveries: Arc::new(Deliveries::new(args.reattach)),
            bus: OnceLock::new(),
            nodes: watch::Sender::new(None),
            state: watch::Sender::new(ClusterState::default()),
            health: watch::Sender::new(Health::default()),
            permits: Arc::new(Semaphore::new(CONCURRENT_QUERIES_MAX)),
            counters: Counters::default(),
            stop,
            tasks,
        };
        Broker { inner: Arc::new(inner) }
    }

    /// Says how this Vizier does.
    pub fn set_state(&self, state: ClusterState) {
        self.inner.state.send_replace(state);
    }

    /// Answers calls that come by the bus, and asks there what others know. Once.
    pub fn connect(&self, bus: Bus) {
        if self.inner.bus.set(bus.clone()).is_ok() {
            self.inner.tasks.spawn(crate::passthrough::serve(self.clone(), bus));
        }
    }

    /// Says how many nodes there are. Until then it is the one that captures, if it does.
    pub fn set_nodes(&self, nodes: Nodes) {
        self.inner.nodes.send_replace(Some(nodes));
    }

    /// What it did and refused so far.
    pub fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Queries that run now.
    pub fn queries_running(&self) -> usize {
        CONCURRENT_QUERIES_MAX - self.inner.permits.available_permits()
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("identity", &self.inner.identity).field("queries_running", &self.queries_running()).finish()
    }
}
