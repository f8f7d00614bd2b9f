use ::service::Shell;
use bus::Bus;
use tokio::sync::{oneshot, watch};
use tonic::service::{Interceptor, Routes};

use crate::Error;
use crate::clock::Clock;
use crate::election::Candidate;
use crate::io::{Campaign, Handle, Kubernetes, StoreSource, Told, grpc};
use crate::metrics::Metrics;

/// What the service works with.
#[derive(Debug)]
pub struct Parts {
    /// Where state rests.
    pub store: StoreSource,
    /// This replica.
    pub candidate: Candidate,
    /// Where agents are.
    pub bus: Bus,
    /// What time it is.
    pub clock: Clock,
}

/// A running metadata service: for the binary, and for whoever has it in the same process.
#[derive(Debug)]
pub struct Service {
    desk: grpc::Desk,
    metrics: Metrics,
    ended: oneshot::Receiver<Result<(), Error>>,
}

impl Service {
    /// Starts it. It leads when it can, and ends with the shell.
    pub fn start(parts: Parts, shell: &Shell) -> Service {
        Service::start_in(None, parts, shell)
    }

    /// Starts it in a cluster, if there is one: agents are fed its names, and replicas share a lease of its.
    pub fn start_in(cluster: Option<Kubernetes>, parts: Parts, shell: &Shell) -> Service {
        let metrics = Metrics::default();
        let (snapshot, kubernetes) = watch::channel(None);
        let (leader, led) = watch::channel::<Option<Handle>>(None);
        let campaign = Campaign {
            source: parts.store,
            candidate: parts.candidate,
            bus: parts.bus,
            clock: parts.clock,
            metrics: metrics.clone(),
            leader,
            kubernetes: cluster,
            told: Told { ranges: watch::Sender::default(), snapshot },
            stop: shell.stop.clone(),
        };
        let (end, ended) = oneshot::channel();
        shell.tasks.spawn(async move {
            // Nobody listens any more where the service is dropped.
            let _gone = end.send(Box::pin(campaign.run()).await).is_err();
        });
        let desk = grpc::Desk { leader: led, kubernetes, tasks: shell.tasks.clone(), stop: shell.stop.clone() };
        Service { desk, metrics, ended }
    }

    /// What it is called by, for calls that `guard` lets through.
    pub fn routes<G: Interceptor + Clone + Send + Sync + 'static>(&self, guard: &G) -> Routes {
        grpc::routes(&self.desk, guard)
    }

    /// What it counts.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Changes when it begins and when it ceases to lead.
    pub fn leads(&self) -> Leads {
        Leads { leader: self.desk.leader.clone() }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The store cannot be used, and waiting does not heal it.
    pub async fn ended(self) -> Result<(), Error> {
        self.ended.await.unwrap_or(Ok(()))
    }
}

/// Whether a service leads.
#[derive(Debug, Clone)]
pub struct Leads {
    leader: watch::Receiver<Option<Handle>>,
}

impl Leads {
    /// Now.
    pub fn now(&self) -> bool {
        self.leader.borrow().is_some()
    }

    /// Waits until it does, or does no longer. Says whether that can come.
    pub async fn until(&mut self, leads: bool) -> bool {
        self.leader.wait_for(|leader| leader.is_some() == leads).await.is_ok()
    }
}
