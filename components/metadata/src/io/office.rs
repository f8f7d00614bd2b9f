//! The leader's one task: takes messages and questions, has what changed kept, and answers.

use std::sync::Arc;
use std::time::Duration;

use api::vizier::messages::VizierMessage;
use api::vizier::messages::vizier_message::Msg;
use bus::{Bus, Received, Subscription, subject};
use futures::FutureExt as _;
use ids::AgentId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::agents::{Keeper, Version};
use crate::clock::Clock;
use crate::desk::Desk;
use crate::k8s::Ranges;
use crate::metrics::Metrics;
use crate::scripts::{ScriptKeeper, Shelf};
use crate::store::{Fence, Store};
use crate::tracepoints::TracepointKeeper;

/// Questions that wait for the leader. Whoever asks waits when there are more.
const JOBS_WAITING_MAX: usize = 256;
/// Messages that are kept with one write, so that a thousand agents that register together are some writes, not a thousand.
const MESSAGES_PER_WRITE_MAX: usize = 256;
/// How often time is looked at: agents that are silent, tracepoints whose time is over, what has to be said again.
const TICK: Duration = Duration::from_millis(500);

/// Told whether what was changed is kept.
type Release = Box<dyn FnOnce(bool) + Send>;
type Job = Box<dyn FnOnce(&mut Desk, &Clock) -> Release + Send>;

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It was asked too late.
    #[error("this metadata service is not the leader any more")]
    Stopped,
    /// The store does not take it now.
    #[error("the store does not take what changed: ask again later")]
    NotKept,
}

/// Asks the leader.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    jobs: mpsc::Sender<Job>,
    version: watch::Receiver<Version>,
    pub(crate) store: Arc<dyn Store>,
}

impl Handle {
    /// What the leader knows.
    pub(crate) async fn read<T: Send + 'static>(self, look: impl FnOnce(&mut Desk, &Clock) -> T + Send + 'static) -> Result<T, Refusal> {
        self.ask(look, |_| true).await
    }

    /// Changes it. The answer comes when it is kept.
    pub(crate) async fn change<T: Send + 'static>(
        self,
        change: impl FnOnce(&mut Desk, &Clock) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.ask(change, |kept| kept).await
    }

    async fn ask<T: Send + 'static>(
        self,
        does: impl FnOnce(&mut Desk, &Clock) -> T + Send + 'static,
        counts: impl FnOnce(bool) -> bool + Send + 'static,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |desk, clock| {
            let value = does(desk, clock);
            Box::new(move |kept| {
                // Whoever asked may be gone.
                let _gone = answer.send(counts(kept).then_some(value)).is_err();
            })
        });
        self.jobs.send(job).await.map_err(|_| Refusal::Stopped)?;
        answered.await.map_err(|_| Refusal::Stopped)?.ok_or(Refusal::NotKept)
    }

    /// Changes with every change of an agent. Closed when this process is not the leader any more.
    pub(crate) fn versions(&self) -> watch::Receiver<Version> {
        self.version.clone()
    }
}

/// What the leader's task works with.
pub(crate) struct Office {
    desk: Desk,
    kept_shelf: Shelf,
    keepers: Keepers,
    store: Arc<dyn Store>,
    bus: Bus,
    clock: Clock,
    metrics: Metrics,
    jobs: mpsc::Receiver<Job>,
    version: watch::Sender<Version>,
    ranges: watch::Receiver<Ranges>,
    failures: u64,
    malformed: u64,
}

struct Keepers {
    agents: Keeper,
    tracepoints: TracepointKeeper,
    scripts: ScriptKeeper,
}

impl Office {
    /// Reads what was kept.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        fence: Fence,
        bus: Bus,
        clock: Clock,
        metrics: Metrics,
        ranges: watch::Receiver<Ranges>,
    ) -> Result<(Office, Handle), Error> {
        let (agents, registry) = Keeper::load_fenced(store.as_ref(), fence.clone(), clock.now()).await?;
        let (tracepoints, book) = TracepointKeeper::load(store.as_ref(), fence.clone()).await?;
        let (scripts, shelf) = ScriptKeeper::load(store.as_ref(), fence).await?;
        let (sender, jobs) = mpsc::channel(JOBS_WAITING_MAX);
        let (version, receiver) = watch::channel(registry.version());
        let handle = Handle { jobs: sender, version: receiver, store: Arc::clone(&store) };
        let office = Office {
            kept_shelf: shelf.clone(),
            desk: Desk::new(registry, book, shelf),
            keepers: Keepers { agents, tracepoints, scripts },
            store,
            bus,
            clock,
            metrics,
            jobs,
            version,
            ranges,
            failures: 0,
            malformed: 0,
        };
        Ok((office, handle))
    }

    /// Works until it is told to stop.
    ///
    /// # Errors
    /// [`Error::Conflict`]: somebody else is the leader.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut messages = self.bus.subscribe(subject::update_agent()).await?;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut releases = Vec::new();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = tick.tick() => {
                    let ranges = self.ranges.borrow_and_update().clone();
                    self.desk.set_ranges(ranges);
                    self.desk.pass_time(self.clock.now());
                }
                Some(job) = self.jobs.recv() => {
                    releases.push(job(&mut self.desk, &self.clock));
                    while releases.len() < JOBS_WAITING_MAX && let Ok(job) = self.jobs.try_recv() {
                        releases.push(job(&mut self.desk, &self.clock));
                    }
                }
                received = messages.next() => match received {
                    Some(received) => self.take_all(received, &mut messages),
                    None => return Err(Error::Bus(bus::Error::Closed)),
                },
            }
            self.settle(releases).await?;
        }
    }

    fn take_all(&mut self, first: Received<VizierMessage>, messages: &mut Subscription<VizierMessage>) {
        let mut next = Some(first);
        for _ in 0..MESSAGES_PER_WRITE_MAX {
            let Some(received) = next.take() else { return };
            self.take(received);
            next = messages.next().now_or_never().flatten();
        }
        if let Some(received) = next {
            self.take(received);
        }
    }

    fn take(&mut self, received: Received<VizierMessage>) {
        let Received { message, sender, .. } = received;
        if let Err(reason) = self.desk.take(message, self.clock.now()) {
            self.malformed += 1;
            // Whoever sends garbage may send much of it: the log grows by its logarithm.
            if self.malformed.is_power_of_two() {
                let sender = sender.as_deref().unwrap_or("unknown");
                tracing::warn!(sender, %reason, count = self.malformed, "a message is dropped");
            }
        }
    }

    /// Has everything kept, and then says what is to be said.
    async fn settle(&mut self, releases: Vec<Release>) -> Result<(), Error> {
        let now = self.clock.now();
        self.desk.act(now);
        let kept = match self.keep().await {
            Ok(()) => true,
            Err(error @ Error::Conflict { .. }) => return Err(error),
            Err(error) => {
                self.failures += 1;
                if self.failures.is_power_of_two() {
                    tracing::warn!(error = &error as &dyn std::error::Error, count = self.failures, "the store does not take what changed");
                }
                false
            }
        };
        let outbox = self.desk.take_outbox();
        if kept {
            self.send(outbox).await;
            self.version.send_if_modified(|version| {
                let newest = self.desk.registry.version();
                std::mem::replace(version, newest) != newest
            });
        }
        for release in releases {
            release(kept);
        }
        self.count(now);
        Ok(())
    }

    async fn keep(&mut self) -> Result<(), Error> {
        let store = self.store.as_ref();
        if self.desk.shelf != self.kept_shelf {
            if let Err(error) = self.keepers.scripts.save(&self.kept_shelf, &self.desk.shelf, store).await {
                self.desk.shelf = self.kept_shelf.clone();
                return Err(error);
            }
            self.kept_shelf = self.desk.shelf.clone();
        }
        self.keepers.agents.save(&mut self.desk.registry, store).await?;
        self.keepers.tracepoints.save(&mut self.desk.book, store).await
    }

    async fn send(&mut self, outbox: Vec<(AgentId, Msg)>) {
        for (agent, message) in outbox {
            // What could not be sent is asked for again.
            if let Err(error) = self.bus.publish(&subject::agent(agent), &VizierMessage { msg: Some(message) }).await {
                self.desk.numbers.unsent += 1;
                tracing::debug!(%agent, %error, "an answer was not sent");
            }
        }
    }

    fn count(&mut self, now: crate::agents::Now) {
        self.desk.count(now);
        let (own, bus, unkept, malformed) = (self.desk.numbers, self.bus.counts(), self.failures, self.malformed);
        self.metrics.change(|numbers| {
            let shared = *numbers;
            *numbers = crate::metrics::Numbers {
                bus,
                unkept,
                malformed,
                k8s_updates: shared.k8s_updates,
                k8s_resumed: shared.k8s_resumed,
                k8s_watch_failures: shared.k8s_watch_failures,
                k8s_names: shared.k8s_names,
                k8s_log: shared.k8s_log,
                k8s_kept: shared.k8s_kept,
                k8s_malformed: shared.k8s_malformed,
                leader: shared.leader,
                elected: shared.elected,
                ..own
            };
        });
    }
}
