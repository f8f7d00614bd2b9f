//! The shell around [`Feed`] and [`Mirror`]: the bus and clocks.

use std::sync::Arc;
use std::time::Duration;

use api::shared::k8s::metadatapb::{MissingK8sMetadataRequest, MissingK8sMetadataResponse, ResourceUpdate};
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{K8sMetadataMessage, VizierMessage, k8s_metadata_message};
use bus::{Bus, Selector, subject};
use funcs::Kubernetes;
use ids::{MonoNs, Upid};
use k8s_state::{ContainerId, Limits, Snapshot};
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::feed::{Feed, FeedCounts, FeedEffect, FeedEvent, Sequenced};
use super::mirror::{Mirror, MirrorCounts};
use crate::life::Cluster;
use crate::membership::subscribe;
use crate::{Error, WallClock};

/// How often what is gone for long is forgotten.
const EXPIRE_PERIOD: Duration = Duration::from_mins(1);

/// What became of the names' updates.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct NamesCounts {
    /// On their way.
    pub feed: FeedCounts,
    /// As changes.
    pub mirror: MirrorCounts,
    /// Messages that are not about names.
    pub malformed: u64,
    /// Whether everything that there was has come.
    pub complete: bool,
}

#[derive(Debug, Default)]
struct Known {
    snapshot: Snapshot,
    counts: NamesCounts,
}

/// The names that are known. Cheap to clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub struct NamesHandle {
    known: Arc<RwLock<Known>>,
}

impl NamesHandle {
    /// All that is known now.
    pub fn snapshot(&self) -> Snapshot {
        self.known.read().snapshot.clone()
    }

    /// What became of updates.
    pub fn counts(&self) -> NamesCounts {
        self.known.read().counts
    }
}

/// Finds the container that a process of this agent runs in.
pub type ContainerOf = Arc<dyn Fn(Upid) -> Option<ContainerId> + Send + Sync>;

/// Names as functions ask for them.
#[derive(Clone)]
pub struct ClusterNames {
    names: NamesHandle,
    cluster: watch::Receiver<Arc<Cluster>>,
    container_of: Option<ContainerOf>,
}

impl ClusterNames {
    /// `container_of`: on an agent that has processes.
    pub fn new(names: NamesHandle, cluster: watch::Receiver<Arc<Cluster>>, container_of: Option<ContainerOf>) -> Self {
        Self { names, cluster, container_of }
    }
}

impl std::fmt::Debug for ClusterNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterNames").finish_non_exhaustive()
    }
}

impl Kubernetes for ClusterNames {
    fn snapshot(&self) -> Snapshot {
        self.names.snapshot()
    }

    fn container(&self, upid: Upid) -> Option<ContainerId> {
        self.container_of.as_ref().and_then(|container_of| container_of(upid))
    }

    fn service_ranges(&self) -> Vec<String> {
        let range = self.cluster.borrow().service_cidr.clone();
        if range.is_empty() { vec![] } else { vec![range] }
    }

    fn pod_ranges(&self) -> Vec<String> {
        self.cluster.borrow().pod_cidrs.clone()
    }
}

/// Follows the names of a part of the cluster until the stop. Without anybody who tells them there are none, and nobody waits.
///
/// # Errors
/// The bus is closed.
pub async fn run_names(
    bus: &Bus,
    selector: Selector,
    handle: &NamesHandle,
    wall: &WallClock,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let began = Instant::now();
    let now = || MonoNs(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut updates = subscribe(bus, &subject::k8s_updates(selector)).await?;
    let mut link = bus.link();
    let mut connected = link.borrow_and_update().is_connected();
    let (mut feed, mut mirror, mut malformed) = (Feed::new(now()), Mirror::new(Limits::default()), 0_u64);
    let mut expire = tokio::time::interval(EXPIRE_PERIOD);
    loop {
        let effects = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            changed = link.changed() => {
                changed.map_err(|_| Error::Bus(bus::Error::Closed))?;
                let was = std::mem::replace(&mut connected, link.borrow_and_update().is_connected());
                if connected && !was { feed.handle(FeedEvent::Connected, now()) } else { vec![] }
            }
            received = updates.next() => match received.map(|received| (decode(received.message), received.sender)) {
                None => return Err(Error::Bus(bus::Error::Closed)),
                Some((Some(event), _)) => feed.handle(event, now()),
                Some((None, sender)) => {
                    malformed += 1;
                    if malformed.is_power_of_two() {
                        tracing::warn!(sender = sender.as_deref().unwrap_or("unknown"), count = malformed, "a message says no names: dropped");
                    }
                    vec![]
                }
            },
            _ = expire.tick() => {
                mirror.expire(wall());
                vec![]
            }
            () = tokio::time::sleep_until(began + Duration::from_nanos(feed.deadline().0)) => feed.handle(FeedEvent::Tick, now()),
        };
        for effect in effects {
            match effect {
                FeedEffect::Apply(update) => mirror.apply(update, wall()),
                FeedEffect::Reset => mirror.reset(),
                FeedEffect::Request { from } => ask(bus, selector, from).await,
            }
        }
        let counts = NamesCounts { feed: feed.counts(), mirror: mirror.counts(), malformed, complete: feed.is_complete() };
        *handle.known.write() = Known { snapshot: mirror.snapshot(), counts };
    }
}

/// `None` if it is not about names.
fn decode(message: VizierMessage) -> Option<FeedEvent<ResourceUpdate>> {
    let Some(Msg::K8sMetadataMessage(message)) = message.msg else { return None };
    match message.msg? {
        k8s_metadata_message::Msg::K8sMetadataUpdate(update) => Some(FeedEvent::Update(sequenced(update))),
        k8s_metadata_message::Msg::MissingK8sMetadataResponse(response) => {
            let MissingK8sMetadataResponse { updates, first_update_available, last_update_available } = response;
            Some(FeedEvent::Missing {
                updates: updates.into_iter().map(sequenced).collect(),
                first_available: first_update_available,
                last_available: last_update_available,
            })
        }
        k8s_metadata_message::Msg::MissingK8sMetadataRequest(_) => None,
    }
}

fn sequenced(update: ResourceUpdate) -> Sequenced<ResourceUpdate> {
    Sequenced { version: update.update_version, previous: update.prev_update_version, update }
}

/// Asked again after five seconds.
async fn ask(bus: &Bus, selector: Selector, from: i64) {
    let request = MissingK8sMetadataRequest {
        selector: selector.to_string(),
        from_update_version: from,
        to_update_version: 0,
        custom_topic: String::new(),
    };
    let message = K8sMetadataMessage { msg: Some(k8s_metadata_message::Msg::MissingK8sMetadataRequest(request)) };
    let message = VizierMessage { msg: Some(Msg::K8sMetadataMessage(message)) };
    if let Err(error) = bus.publish(&subject::missing_metadata_requests(), &message).await {
        tracing::debug!(%error, "missing names were not asked for");
    }
}
