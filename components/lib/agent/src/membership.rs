//! The shell around [`Life`]: the bus, clocks and randomness.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{ConfigUpdateMessage, TracepointMessage, VizierMessage};
use bus::{Bus, Received, Subject, Subscription, subject};
use ids::{AgentId, MonoNs, UnixNs};
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::life::{
    self, Cluster, Collector, Effect, Event, Incarnation, Life, LifeCounts, Member, Now, ProcessEvent, Profile, Standing, TableSchema,
};

/// What others ask of the agent and is not done yet. They ask again: the newest goes when it is full.
const REQUESTS_MAX: usize = 256;
/// A deadline that is never reached; there is none when it has stopped.
const FAR: Duration = Duration::from_hours(1);

/// A server that did not confirm a subscription in time is asked again after this long.
const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);

/// Reads the wall clock.
pub type WallClock = Arc<dyn Fn() -> UnixNs + Send + Sync>;

/// Of this machine.
pub fn wall_clock() -> UnixNs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNs(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// How an agent belongs to its Vizier.
#[derive(Clone)]
pub struct MembershipArgs {
    /// What it says of itself.
    pub profile: Profile,
    /// Of its id, if its place has none yet, and of its pauses.
    pub seed: u64,
    /// Which run of its process this is; `None`: what the wall clock shows now.
    pub incarnation: Option<Incarnation>,
    /// What time it is for others.
    pub wall: WallClock,
}

impl std::fmt::Debug for MembershipArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MembershipArgs").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl MembershipArgs {
    /// On this machine.
    pub fn new(profile: Profile) -> Self {
        Self { profile, seed: rand::random(), incarnation: None, wall: Arc::new(wall_clock) }
    }
}

/// What others ask of the agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// About a tracepoint.
    Tracepoint(TracepointMessage),
    /// About a setting.
    Config(ConfigUpdateMessage),
}

/// Requests in the order in which they came.
#[derive(Debug)]
pub struct Requests {
    queue: mpsc::Receiver<Request>,
}

impl Requests {
    /// The next one; `None` when the membership is over.
    pub async fn next(&mut self) -> Option<Request> {
        self.queue.recv().await
    }
}

struct Shared {
    life: Mutex<(Life, StdRng)>,
    changed: Notify,
    wall: WallClock,
    began: Instant,
    /// Requests that did not fit.
    requests_dropped: AtomicU64,
    /// Messages that were not as they must be.
    malformed: AtomicU64,
}

impl Shared {
    fn now(&self) -> Now {
        let mono = MonoNs(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        Now { mono, wall: (self.wall)() }
    }

    fn instant(&self, at: MonoNs) -> Instant {
        self.began + Duration::from_nanos(at.0)
    }

    fn handle(&self, event: Event) -> Vec<Effect> {
        let now = self.now();
        let (life, random) = &mut *self.life.lock();
        life.handle(event, now, random)
    }
}

/// What a membership has seen beside [`LifeCounts`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MembershipCounts {
    /// Words said and heard.
    pub life: LifeCounts,
    /// What happened to processes and was never told.
    pub processes_dropped: u64,
    /// Tables that were never told.
    pub tables_cut: u64,
    /// Requests that did not fit the queue.
    pub requests_dropped: u64,
    /// Messages that were not as they must be.
    pub malformed: u64,
}

/// Tells a membership what changed, and how it stands. Cheap to clone.
#[derive(Clone)]
pub struct MemberHandle {
    shared: Arc<Shared>,
    standing: watch::Receiver<Standing>,
    cluster: watch::Receiver<Arc<Cluster>>,
}

impl std::fmt::Debug for MemberHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberHandle").field("standing", &*self.standing.borrow()).finish_non_exhaustive()
    }
}

impl MemberHandle {
    /// How it stands, now and from now on.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// What is known of the cluster, now and from now on.
    pub fn cluster(&self) -> watch::Receiver<Arc<Cluster>> {
        self.cluster.clone()
    }

    /// Waits until it belongs to the Vizier.
    ///
    /// # Errors
    /// It was told to stop, or nobody runs it any more.
    pub async fn member(&self) -> Result<Member, Error> {
        let mut standing = self.standing();
        let settled = standing.wait_for(|standing| !matches!(standing, Standing::Registering { .. })).await;
        match settled.as_deref() {
            Ok(Standing::Running(member)) => Ok(*member),
            Ok(Standing::Stopped { reason }) => Err(Error::Stopped { reason: reason.clone() }),
            Ok(Standing::Registering { .. }) | Err(_) => Err(Error::Ended),
        }
    }

    /// These are all its tables. What is new is told at once.
    pub fn set_tables(&self, tables: Vec<TableSchema>) {
        if self.shared.life.lock().0.news().set_tables(tables) {
            self.hurry();
        }
    }

    /// These are all its collectors. What is new is told at once.
    pub fn set_collectors(&self, collectors: BTreeMap<String, Collector>) {
        if self.shared.life.lock().0.news().set_collectors(collectors) {
            self.hurry();
        }
    }

    /// The names that its rows can have: an encoded `MetadataInfo`.
    pub fn set_names(&self, names: Vec<u8>) {
        self.shared.life.lock().0.news().set_names(names);
    }

    /// Something happened to a process.
    pub fn push_process(&self, event: ProcessEvent) {
        self.shared.life.lock().0.news().push_process(event);
    }

    /// What it has seen.
    pub fn counts(&self) -> MembershipCounts {
        let Shared { life, requests_dropped, malformed, .. } = &*self.shared;
        let life = &mut life.lock().0;
        MembershipCounts {
            life: life.counts(),
            processes_dropped: life.news().processes_dropped(),
            tables_cut: life.news().tables_cut(),
            requests_dropped: requests_dropped.load(Ordering::Relaxed),
            malformed: malformed.load(Ordering::Relaxed),
        }
    }

    fn hurry(&self) {
        self.shared.handle(Event::Hurry);
        self.shared.changed.notify_one();
    }
}

/// Registers an agent, says that it lives, hears what is asked of it. Runs in [`Self::run`].
pub struct Membership {
    bus: Bus,
    shared: Arc<Shared>,
    standing: watch::Sender<Standing>,
    cluster: watch::Sender<Arc<Cluster>>,
    requests: mpsc::Sender<Request>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership").finish_non_exhaustive()
    }
}

impl Membership {
    /// Says nothing before it runs.
    pub fn new(bus: Bus, args: MembershipArgs) -> (Membership, MemberHandle, Requests) {
        let mut random = StdRng::seed_from_u64(args.seed);
        let id = random_id(&mut random);
        let wall = (args.wall)();
        let incarnation = args.incarnation.unwrap_or(Incarnation(wall.0.unsigned_abs()));
        let life = Life::new(args.profile, incarnation, id, Now { mono: MonoNs(0), wall }, &mut random);
        let (standing, standing_seen) = watch::channel(life.standing());
        let (cluster, cluster_seen) = watch::channel(Arc::default());
        let (requests, queue) = mpsc::channel(REQUESTS_MAX);
        let shared = Arc::new(Shared {
            life: Mutex::new((life, random)),
            changed: Notify::new(),
            wall: args.wall,
            began: Instant::now(),
            requests_dropped: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
        });
        let handle = MemberHandle { shared: Arc::clone(&shared), standing: standing_seen, cluster: cluster_seen };
        (Membership { bus, shared, standing, cluster, requests }, handle, Requests { queue })
    }

    /// Until the stop, or until the metadata service says that it must not go on.
    ///
    /// # Errors
    /// [`Error::Stopped`] in that case; [`Error::Bus`] if the bus is closed.
    pub async fn run(self, stop: &CancellationToken) -> Result<(), Error> {
        let id = self.shared.life.lock().0.id();
        let mut answers = subscribe(&self.bus, &subject::agent(id)).await?;
        let mut link = self.bus.link();
        let mut connected = link.borrow_and_update().is_connected();
        loop {
            let deadline = self.shared.life.lock().0.deadline();
            let deadline = deadline.map_or_else(|| Instant::now() + FAR, |at| self.shared.instant(at));
            let effects = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                received = answers.next() => match received {
                    Some(received) => self.hear(received),
                    None => return Err(Error::Bus(bus::Error::Closed)),
                },
                changed = link.changed() => {
                    changed.map_err(|_| Error::Bus(bus::Error::Closed))?;
                    let was = std::mem::replace(&mut connected, link.borrow_and_update().is_connected());
                    if connected && !was { self.shared.handle(Event::Connected) } else { vec![] }
                }
                () = self.shared.changed.notified() => vec![],
                () = tokio::time::sleep_until(deadline) => self.shared.handle(Event::Tick),
            };
            for effect in effects {
                self.perform(effect, &mut answers).await?;
            }
            let now = self.shared.life.lock().0.standing();
            self.standing.send_if_modified(|seen| {
                *seen != now && {
                    *seen = now;
                    true
                }
            });
        }
    }

    async fn perform(&self, effect: Effect, answers: &mut Subscription<VizierMessage>) -> Result<(), Error> {
        match effect {
            Effect::Listen(id) => *answers = subscribe(&self.bus, &subject::agent(id)).await?,
            Effect::Register(registration) => {
                tracing::debug!(id = %registration.id, asid = registration.asid.map(|asid| asid.0), "registering");
                self.say(&life::encode_registration(&registration)).await;
            }
            Effect::Beat(beat) => self.say(&life::encode_beat(&beat)).await,
            Effect::Joined(member) => tracing::info!(id = %member.id, asid = member.asid.0, "registered"),
            Effect::Cluster(cluster) => {
                self.cluster.send_if_modified(|seen| {
                    **seen != cluster && {
                        *seen = Arc::new(cluster);
                        true
                    }
                });
            }
            Effect::Stop(reason) => {
                tracing::error!(reason, "the metadata service says that this agent must not go on");
                self.standing.send_replace(Standing::Stopped { reason: reason.clone() });
                return Err(Error::Stopped { reason });
            }
        }
        Ok(())
    }

    /// What is not said now is said later: all of it is repeated.
    async fn say(&self, message: &VizierMessage) {
        match self.bus.publish(&subject::update_agent(), message).await {
            Ok(()) => {}
            Err(error @ bus::Error::Disconnected { .. }) => tracing::debug!(%error, "not said"),
            Err(error) => tracing::error!(%error, "cannot be said"),
        }
    }

    fn hear(&self, received: Received<VizierMessage>) -> Vec<Effect> {
        let sender = received.sender;
        let request = match received.message.msg {
            Some(Msg::TracepointMessage(message)) => Request::Tracepoint(message),
            Some(Msg::ConfigUpdateMessage(message)) => Request::Config(message),
            msg => return self.hear_answer(VizierMessage { msg }, sender.as_deref()),
        };
        if self.requests.try_send(request).is_err() {
            self.shared.requests_dropped.fetch_add(1, Ordering::Relaxed);
        }
        vec![]
    }

    fn hear_answer(&self, message: VizierMessage, sender: Option<&str>) -> Vec<Effect> {
        match life::decode(message) {
            Ok(Some(word)) => self.shared.handle(Event::Heard(word)),
            Ok(None) => self.count_malformed("nobody sends this to an agent", sender),
            Err(reason) => self.count_malformed(reason, sender),
        }
    }

    /// Whoever sends garbage may send much of it: the log grows by its logarithm.
    fn count_malformed(&self, reason: &str, sender: Option<&str>) -> Vec<Effect> {
        let count = self.shared.malformed.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(sender = sender.unwrap_or("unknown"), reason, count, "a message to this agent is dropped");
        }
        vec![]
    }
}

/// Subscribes, however long a server takes to confirm it.
pub(crate) async fn subscribe<T>(bus: &Bus, subject: &Subject<T>) -> Result<Subscription<T>, Error> {
    loop {
        match bus.subscribe(subject).await {
            Ok(subscription) => return Ok(subscription),
            Err(error) if matches!(error, bus::Error::Deadline { .. }) => {
                tracing::warn!(%error, "the bus is slow");
                tokio::time::sleep(SUBSCRIBE_PAUSE).await;
            }
            Err(error) => return Err(Error::Bus(error)),
        }
    }
}

fn random_id(random: &mut StdRng) -> AgentId {
    use rand::RngCore as _;
    AgentId::from_halves(random.next_u64(), random.next_u64())
}

/// Who it is, once that is another one than before; `None` at the stop, and when it must not go on.
pub async fn next_member(standing: &mut watch::Receiver<Standing>, before: Option<Member>, stop: &CancellationToken) -> Option<Member> {
    let another = |standing: &Standing| match standing {
        Standing::Running(member) => Some(*member) != before,
        Standing::Stopped { .. } => true,
        Standing::Registering { .. } => false,
    };
    tokio::select! {
        () = stop.cancelled() => None,
        seen = standing.wait_for(another) => match seen.as_deref() {
            Ok(Standing::Running(member)) => Some(*member),
            Ok(Standing::Stopped { .. } | Standing::Registering { .. }) | Err(_) => None,
        },
    }
}
