use std::fmt;
use std::sync::Arc;

use ids::ClusterId;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::counters::Counters;
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
    /// Some of it is not: which, and what to do about it.
    Degraded(String),
    /// None of it is: why, and what to do about it.
    Unhealthy(String),
}

/// Runs scripts for clients. A cheap handle: clones are the same broker.
#[derive(Clone)]
pub struct Broker {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Arc<dyn QueryEngine>,
    pub(crate) identity: ClusterIdentity,
    pub(crate) state: watch::Sender<ClusterState>,
    pub(crate) health: watch::Sender<Health>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) counters: Counters,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Broker {
    /// A broker over `engine`. Its queries are tasks of `tasks`, and end when `stop` is cancelled.
    pub fn new(engine: Arc<dyn QueryEngine>, identity: ClusterIdentity, stop: CancellationToken, tasks: TaskTracker) -> Broker {
        let inner = Inner {
            engine,
            identity,
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
