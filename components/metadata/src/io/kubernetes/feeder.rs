use std::sync::Arc;
use std::time::Duration;

use api::vizier::messages::VizierMessage;
use api::vizier::messages::vizier_message::Msg;
use bus::{Bus, Received, Selector, subject};
use k8s_state::{Limits, Snapshot};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Kubernetes;
use super::watches::News;
use crate::Error;
use crate::clock::Clock;
use crate::k8s::{ClusterFeed, LogKeeper, Published, Ranges, Topic};
use crate::metrics::Metrics;
use crate::store::{Fence, Store};
use crate::wire::Malformed;
use crate::wire::k8s::{decode_missing, encode_missing, encode_update};

/// News that are kept with one write.
const NEWS_PER_WRITE_MAX: usize = 256;
/// Updates in one answer to an agent that missed some. Reference: 128.
const UPDATES_PER_ANSWER_MAX: usize = 128;
/// The same in bytes, well within a message of the bus.
const ANSWER_BYTES_MAX: usize = 512 * 1024;
/// How often what is old is forgotten, and agents' addresses are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long what could not be kept waits.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Ticks between two looks at what is old.
const TICKS_PER_EXPIRY: u64 = 60;

/// Where others of this process learn what the feeder knows.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) ranges: watch::Sender<Ranges>,
    pub(crate) snapshot: watch::Sender<Option<Snapshot>>,
}

/// The leader's task that watches Kubernetes and feeds agents.
pub(crate) struct Feeder {
    kubernetes: Kubernetes,
    feed: ClusterFeed,
    keeper: LogKeeper,
    store: Arc<dyn Store>,
    bus: Bus,
    clock: Clock,
    metrics: Metrics,
    told: Told,
    changed: bool,
    malformed: u64,
}

impl Feeder {
    /// Reads what agents were told before.
    pub(crate) async fn open(
        kubernetes: Kubernetes,
        store: Arc<dyn Store>,
        fence: Fence,
        bus: Bus,
        (clock, metrics, told): (Clock, Metrics, Told),
    ) -> Result<Feeder, Error> {
        let (keeper, log) = LogKeeper::load(store.as_ref(), fence).await?;
        tracing::info!(updates = log.len(), version = log.version(), "watching Kubernetes");
        let feed = ClusterFeed::new(Limits::default(), log);
        Ok(Feeder { kubernetes, feed, keeper, store, bus, clock, metrics, told, changed: false, malformed: 0 })
    }

    /// Works until it is told to stop.
    ///
    /// # Errors
    /// [`Error::Conflict`]: somebody else is the leader.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut requests = self.bus.subscribe(subject::missing_metadata_requests()).await?;
        let (mut news, watches) = self.kubernetes.watch(&self.metrics);
        let mut watches = std::pin::pin!(watches);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0_u64;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(first) = news.recv() => self.take_all(first, &mut news).await?,
                received = requests.next() => match received {
                    Some(received) => self.answer_to(received).await,
                    None => return Err(Error::Bus(bus::Error::Closed)),
                },
                () = &mut watches => return Ok(()),
                _ = tick.tick() => {
                    ticks += 1;
                    if ticks.is_multiple_of(TICKS_PER_EXPIRY) {
                        self.feed.expire(self.clock.now().wall);
                        self.keep().await?;
                    }
                    self.tell();
                }
            }
        }
    }

    async fn take_all(&mut self, first: News, news: &mut mpsc::Receiver<News>) -> Result<(), Error> {
        let mut published = self.take(first);
        for _ in 1..NEWS_PER_WRITE_MAX {
            let Ok(next) = news.try_recv() else { break };
            published.extend(self.take(next));
        }
        self.changed = true;
        self.keep().await?;
        self.metrics.change(|numbers| numbers.k8s_updates += published.len() as u64);
        for update in published {
            for (topic, previous) in &update.previous {
                self.send(*topic, encode_update(&update.entry, *previous)).await;
            }
        }
        Ok(())
    }

    fn take(&mut self, news: News) -> Vec<Published> {
        let at = self.clock.now().wall;
        match news {
            News::Listed(scope, objects) => self.feed.listed(&scope, objects, at),
            News::Put(object) => self.feed.put(*object, at),
            News::Gone(object) => self.feed.gone(&object, at),
        }
    }

    /// Until it is kept, nobody is told.
    async fn keep(&mut self) -> Result<(), Error> {
        loop {
            match self.keeper.save(self.feed.log_mut(), self.store.as_ref()).await {
                Ok(()) => return Ok(()),
                Err(error @ Error::Conflict { .. }) => return Err(error),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the store does not take names of Kubernetes: trying again");
                }
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    }

    async fn answer_to(&mut self, received: Received<VizierMessage>) {
        if let Err(reason) = self.answer(received.message.msg).await {
            self.malformed += 1;
            self.metrics.change(|numbers| numbers.k8s_malformed += 1);
            if self.malformed.is_power_of_two() {
                let sender = received.sender.as_deref().unwrap_or("unknown");
                tracing::warn!(sender, %reason, count = self.malformed, "a request for names of Kubernetes is dropped");
            }
        }
    }

    async fn answer(&self, request: Option<Msg>) -> Result<(), Malformed> {
        let request = decode_missing(request)?;
        let log = self.feed.log();
        let (updates, available) = (log.between(request.topic, request.from, request.to), log.available(request.topic));
        self.metrics.change(|numbers| numbers.k8s_resumed += 1);
        let mut rest = updates.as_slice();
        loop {
            let mut bytes = 0;
            let fits = |update: &&(u64, &crate::k8s::Entry)| {
                bytes += update.1.body.len();
                bytes <= ANSWER_BYTES_MAX
            };
            // One always goes, however large.
            let count = rest.iter().take(UPDATES_PER_ANSWER_MAX).take_while(fits).count().max(1).min(rest.len());
            let (part, others) = rest.split_at(count);
            self.send(request.topic, encode_missing(part, available)).await;
            if others.is_empty() {
                return Ok(());
            }
            rest = others;
        }
    }

    async fn send(&self, topic: Topic, message: Msg) {
        let selector = match topic {
            Topic::All => Selector::All,
            Topic::Host(address) => Selector::Host(address),
        };
        // Who misses it asks for it.
        if let Err(error) = self.bus.publish(&subject::k8s_updates(selector), &VizierMessage { msg: Some(message) }).await {
            tracing::debug!(%topic, %error, "names of Kubernetes were not sent");
        }
    }

    fn tell(&mut self) {
        let (names, log) = (self.feed.metrics(), self.feed.log());
        let (kept, forgotten) = (log.len() as u64, log.forgotten());
        self.metrics.change(|numbers| (numbers.k8s_names, numbers.k8s_log, numbers.k8s_kept) = (names, forgotten, kept));
        if std::mem::take(&mut self.changed) {
            self.told.ranges.send_replace(self.feed.ranges());
            self.told.snapshot.send_replace(Some(self.feed.snapshot()));
        }
    }
}
