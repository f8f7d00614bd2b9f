use std::sync::Arc;
use std::time::Duration;

use api::vizier::services::metadata::AgentUpdatesRequest;
use bus::Backoff;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::assembly::Assembly;
use super::view::ClusterView;
use crate::metadata::Metadata;

/// How long the metadata service may keep updates back. Reference: vizier.md §7.1.
const UPDATE_INTERVAL: prost_types::Duration = prost_types::Duration { seconds: 5, nanos: 0 };
/// The same, with room for a busy machine: a stream that is silent for longer is dead, and begun anew.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Updates in one message. Reference: vizier.md §7.1.
const UPDATES_PER_RESPONSE_MAX: i32 = 100;
/// The first wait before the stream is begun anew.
const RECONNECT_FIRST: Duration = Duration::from_millis(200);
/// No wait is longer. Reference: 5 s.
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// What the tracker knows, and whether it is up to date.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) view: Option<Arc<ClusterView>>,
    /// Why it may be out of date; none while it is fed.
    pub(crate) stale: Option<String>,
    /// Updates that made no sense.
    pub(crate) ignored: u64,
}

/// Follows the metadata service.
#[derive(Debug)]
pub struct Tracker {
    metadata: Metadata,
    known: watch::Sender<Known>,
    /// Of the pauses.
    seed: u64,
}

/// What the tracker knows. A cheap handle.
#[derive(Debug, Clone)]
pub struct TrackerHandle {
    known: watch::Receiver<Known>,
}

impl Tracker {
    /// Knows nothing until it runs.
    pub fn new(metadata: Metadata) -> (Tracker, TrackerHandle) {
        Tracker::seeded(metadata, rand::random())
    }

    /// As [`Self::new`], with pauses that come from a seed.
    pub fn seeded(metadata: Metadata, seed: u64) -> (Tracker, TrackerHandle) {
        let starting = Known { stale: Some("the metadata service was not heard yet".to_owned()), ..Known::default() };
        let (known, receiver) = watch::channel(starting);
        (Tracker { metadata, known, seed }, TrackerHandle { known: receiver })
    }

    /// Follows until it is told to stop. What it knew stays while the metadata service is away.
    pub async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::new(RECONNECT_FIRST, RECONNECT_MAX, self.seed);
        loop {
            let Some(ended) = stop.run_until_cancelled(self.follow(&mut backoff)).await else { return };
            let why = ended.message().to_owned();
            self.known.send_if_modified(|known| {
                if known.stale.is_none() {
                    tracing::warn!(why, "the metadata service is away; agents are as they were");
                }
                known.stale.replace(why.clone()) != Some(why)
            });
            if stop.run_until_cancelled(tokio::time::sleep(backoff.next_delay())).await.is_none() {
                return;
            }
        }
    }

    /// One stream, to its end.
    async fn follow(&self, backoff: &mut Backoff) -> Status {
        let request =
            AgentUpdatesRequest { max_update_interval: Some(UPDATE_INTERVAL), max_updates_per_response: UPDATES_PER_RESPONSE_MAX };
        let mut stream = match timeout(SILENCE_MAX, self.metadata.agents().get_agent_updates(request)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return status,
            Err(_) => return silent(),
        };
        let mut assembly = Assembly::default();
        loop {
            let response = match timeout(SILENCE_MAX, stream.message()).await {
                Ok(Ok(Some(response))) => response,
                Ok(Ok(None)) => return Status::unavailable("the stream of agents ended"),
                Ok(Err(status)) => return status,
                Err(_) => return silent(),
            };
            let before = assembly.ignored;
            let view = assembly.apply(response);
            if assembly.ignored > before {
                tracing::warn!(count = assembly.ignored - before, "updates of agents or tables make no sense and are left out");
            }
            if let Some(view) = view {
                backoff.reset();
                self.publish(view, assembly.ignored - before);
            }
        }
    }

    fn publish(&self, view: ClusterView, ignored: u64) {
        let (agents, tables) = (view.agents.len(), view.tables.len());
        self.known.send_modify(|known| {
            if known.stale.take().is_some() {
                tracing::info!(agents, tables, "agents are known");
            }
            known.view = Some(Arc::new(view));
            known.ignored += ignored;
        });
        tracing::debug!(agents, tables, "a version of the agents");
    }
}

fn silent() -> Status {
    Status::unavailable(format!("the metadata service said nothing for {} s", SILENCE_MAX.as_secs()))
}

impl TrackerHandle {
    /// That never changes: for tests of what stands on it.
    pub fn fixed(view: ClusterView) -> TrackerHandle {
        let (_, known) = watch::channel(Known { view: Some(Arc::new(view)), ..Known::default() });
        TrackerHandle { known }
    }

    /// The last whole version; none before the first.
    pub fn view(&self) -> Option<Arc<ClusterView>> {
        self.known.borrow().view.clone()
    }

    /// Why what is known may be out of date.
    pub fn stale(&self) -> Option<String> {
        self.known.borrow().stale.clone()
    }

    /// Updates that made no sense.
    pub fn ignored(&self) -> u64 {
        self.known.borrow().ignored
    }

    /// Waits for news. False when there will be none.
    pub async fn changed(&mut self) -> bool {
        self.known.changed().await.is_ok()
    }
}
