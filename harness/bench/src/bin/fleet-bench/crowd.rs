//! Many agents as tasks of this process. On the bus and towards Kelvin each is what a `vizier-pem` is, made of the same parts: a connection of its
//! own to the bus, registration, beats, the names of its node, metrics, a channel that it dials, a worker with tables of its own. None captures.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::life::{Member, Profile};
use agent::names::{ClusterNames, NamesHandle, names_filter, run_names};
use agent::{Compute, DIAL_PROTOCOL, DialSet, DialStates, Dialer, MemberHandle, Membership, MembershipArgs, WallClock, schema};
use anyhow::{Context as _, Result, ensure};
use bus::{Bus, Nats, Selector, TlsFiles};
use client::Script;
use engine::distributed::{AgentWorker, AgentWorkerArgs};
use engine::{AgentFacts, Functions};
use fleet::{Fleet, Way};
use funcs::Environment;
use harness_bench::with_http_events;
use rpc::{MutualTls, PeerIdentity};
use rustls::ClientConfig;
use service::Metrics;
use table_store::TableStore;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ask::{Asker, http_data};

/// The host of the agent with the number 0; the others follow.
const FIRST_HOST: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
/// As `vizier-pem` does it.
const NAMES_PERIOD: Duration = Duration::from_secs(5);
/// A crowd that is not complete by then never is.
const JOIN_MAX: Duration = Duration::from_mins(5);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Ending takes no longer.
const STOP_MAX: Duration = Duration::from_secs(30);

/// The address of an agent's machine, which is nowhere.
pub(crate) fn host(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST_HOST.to_bits() + number)
}

/// Agents that run until it is stopped or dropped.
pub(crate) struct Crowd {
    agents: Vec<Agent>,
    began: Instant,
    stop: CancellationToken,
    tasks: TaskTracker,
    _compute: Compute,
}

/// One of them.
struct Agent {
    bus: Bus,
    names: NamesHandle,
    dials: watch::Receiver<DialStates>,
}

/// What they have in common.
struct Shared {
    url: String,
    files: TlsFiles,
    tls: Arc<ClientConfig>,
    compute: Handle,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Crowd {
    /// So many agents with so many rows each. They register when this returns.
    pub(crate) async fn start(fleet: &Fleet, size: u32, rows: u32) -> Result<Crowd> {
        let stores: Vec<_> = (0..size).map(|number| with_http_events(number.into(), rows)).collect::<Result<_>>()?;
        let files = fleet.certify("crowd")?;
        let identity = PeerIdentity::read(&files.ca, &files.certificate, &files.key)?;
        let compute = Compute::new(2)?;
        let shared = Shared {
            url: fleet.nats_url(),
            files: TlsFiles { ca: files.ca, certificate: files.certificate, key: files.key },
            tls: MutualTls::new(&identity, DIAL_PROTOCOL)?.client(),
            compute: compute.handle().clone(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let began = Instant::now();
        let mut agents = Vec::new();
        for (number, store) in (0..size).zip(stores) {
            agents.push(shared.agent(number, store).await.with_context(|| format!("starting agent {number} of {size}"))?);
        }
        Ok(Crowd { agents, began, stop: shared.stop, tasks: shared.tasks, _compute: compute })
    }

    /// Waits until all are registered and connected to the Kelvin, and none is missing in an answer. Since the first of them was started.
    pub(crate) async fn joined(&self, fleet: &Fleet) -> Result<Duration> {
        let mut asker = Asker::new(fleet, Way::Direct).await?;
        let script = http_data(true)?;
        loop {
            let Err(why) = self.lacks(&mut asker, &script).await? else { return Ok(self.began.elapsed()) };
            ensure!(self.began.elapsed() < JOIN_MAX, "{} agents do not join within {JOIN_MAX:?}: {why}", self.agents.len());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// What is lacking until all have joined.
    async fn lacks(&self, asker: &mut Asker, script: &Script) -> Result<Result<(), String>> {
        let connected = self.agents.iter().filter(|agent| agent.dials.borrow().connected() > 0).count();
        if connected < self.agents.len() {
            return Ok(Err(format!("{connected} agents are connected to Kelvin")));
        }
        // Kelvin is one of them.
        let healthy = asker.healthy().await?.saturating_sub(1);
        if healthy < self.agents.len() {
            return Ok(Err(format!("{healthy} agents are healthy")));
        }
        Ok(match asker.ask(script).await {
            Ok(answer) if answer.missing == 0 && answer.rows > 0 => Ok(()),
            Ok(answer) => Err(format!("{} agents are missing in an answer of {} rows", answer.missing, answer.rows)),
            Err(error) => Err(format!("{error:#}")),
        })
    }

    /// The names that each of them knows, in their order.
    pub(crate) fn names(&self) -> Vec<NamesHandle> {
        self.agents.iter().map(|agent| agent.names.clone()).collect()
    }

    /// Changes of names that were lost on the bus or found no room, and messages of the bus that a slow agent lost.
    pub(crate) fn dropped(&self) -> u64 {
        let of = |agent: &Agent| {
            let names = agent.names.counts();
            names.feed.dropped + names.mirror.refused + names.malformed + agent.bus.counts().dropped_messages
        };
        self.agents.iter().map(of).sum()
    }

    /// Those that know all names that there are.
    pub(crate) fn complete(&self) -> usize {
        self.agents.iter().filter(|agent| agent.names.counts().complete).count()
    }

    /// Ends them.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(STOP_MAX, self.tasks.wait()).await.with_context(|| format!("agents do not end within {STOP_MAX:?}"))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    async fn agent(&self, number: u32, store: Arc<TableStore>) -> Result<Agent> {
        let (hostname, address) = (format!("crowd-{number}"), host(number).to_string());
        let profile = Profile {
            hostname: hostname.clone(),
            pod_name: format!("pl/{hostname}"),
            host_ip: address.clone(),
            ip_address: address,
            kernel: agent::host::kernel(),
            collects_data: true,
            profiler_period_ms: -1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Profile::default()
        };
        let mut nats = Nats::new(&self.url, &hostname);
        nats.tls = Some(self.files.clone());
        let bus = nats.connect().await?;
        let (membership, member, mut requests) = Membership::new(bus.clone(), MembershipArgs::new(profile));
        member.set_tables(schema::of_store(&store));
        let (dials, dials_seen) = watch::channel(DialStates::default());
        let names = NamesHandle::default();
        let metrics = Metrics::new();
        agent::register_metrics(&metrics, bus.clone(), (member.clone(), names.clone()), Some(dials_seen.clone()));

        let stop = self.stop.clone();
        self.spawn(&hostname, async move { Ok(membership.run(&stop).await?) });
        let (followed, names_bus, stop) = (names.clone(), bus.clone(), self.stop.clone());
        let (selector, wall) = (Selector::Host(IpAddr::V4(host(number))), Arc::new(agent::wall_clock) as WallClock);
        self.spawn(&hostname, async move { Ok(run_names(&names_bus, selector, &followed, &wall, &stop).await?) });
        self.tasks.spawn(tell_names(names.clone(), member.clone(), self.stop.clone()));
        let (pushed_bus, pod_name, stop) = (bus.clone(), format!("pl/{hostname}"), self.stop.clone());
        self.tasks.spawn(async move { agent::push_metrics(&pushed_bus, &metrics, &pod_name, &stop).await });
        // Nothing is asked of it.
        let stop = self.stop.clone();
        self.tasks.spawn(async move { while let Some(Some(_)) = stop.run_until_cancelled(requests.next()).await {} });
        let serving = Serving {
            hostname: hostname.clone(),
            store,
            names: names.clone(),
            compute: self.compute.clone(),
            tls: Arc::clone(&self.tls),
            dials,
            stop: self.stop.clone(),
            tasks: self.tasks.clone(),
        };
        self.spawn(&hostname, serving.run(member));
        Ok(Agent { bus, names, dials: dials_seen })
    }

    fn spawn(&self, hostname: &str, task: impl Future<Output = Result<()>> + Send + 'static) {
        let (hostname, stop) = (hostname.to_owned(), self.stop.clone());
        self.tasks.spawn(async move {
            if let Some(Err(error)) = stop.run_until_cancelled(task).await {
                eprintln!("fleet-bench: {hostname}: {error:#}");
            }
        });
    }
}

/// What offers an agent's tables to Kelvins.
struct Serving {
    hostname: String,
    store: Arc<TableStore>,
    names: NamesHandle,
    compute: Handle,
    tls: Arc<ClientConfig>,
    dials: watch::Sender<DialStates>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Serving {
    async fn run(self, member: MemberHandle) -> Result<()> {
        let Member { id, asid } = member.member().await?;
        let kubernetes = Arc::new(ClusterNames::new(self.names, member.cluster(), None));
        let environment = Environment { asid, hostname: self.hostname, kubernetes, ..Environment::default() };
        let functions = Functions::each(move || Arc::new(funcs::registry(&environment)));
        let facts = AgentFacts { asid, ..AgentFacts::default() };
        let worker = AgentWorker::of_agent(id, self.store, functions, facts, AgentWorkerArgs::default());
        let (set, states) = DialSet::new(Dialer::new(id, worker, self.compute, self.tls), self.tasks);
        self.dials.send_replace(states);
        set.run(member.cluster(), &self.stop).await;
        Ok(())
    }
}

/// Tells which names rows can have, whenever there are others.
async fn tell_names(names: NamesHandle, member: MemberHandle, stop: CancellationToken) {
    let mut period = tokio::time::interval(NAMES_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = 0;
    while stop.run_until_cancelled(period.tick()).await.is_some() {
        let counts = names.counts();
        if counts.complete && counts.feed.applied != told {
            told = counts.feed.applied;
            member.set_names(names_filter(&names.snapshot()));
        }
    }
}
