use std::path::Path;
use std::sync::Arc;

use api::cvmsgspb::VizierStatus;
use auth::Bearer;
use bus::{QueueLimits, TlsFiles};
use parking_lot::Mutex;
use service::{Check, Health, Shell};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::condition::{Condition, heartbeat, standing};
use crate::identity::{FileIdentity, Identity, IdentityStore};
use crate::io::bridge::{Cloud, key_header};
use crate::io::local::Local;
use crate::io::outbox::outbox;
use crate::io::{Clock, agents, broker, dial, wall};
use crate::machine::{Effect, Event, Machine, WATCHDOG_MAX};
use crate::metrics::Metrics;
use crate::route::pack;
use crate::{Args, Error};

/// Under which name this process is known on the bus, and by its tokens. Reference: vizier.md, section 2.
const NAME: &str = "cloud_conn";

/// What waits between the bus and the bridge: the windows of some hundred calls, so that a slow way to the control plane loses no answers.
const BUS_QUEUE: QueueLimits = QueueLimits { messages_max: 65_536, bytes_max: 256 * 1024 * 1024 };

/// News of tries that wait for the machine.
const EVENTS_WAITING_MAX: usize = 64;

/// Runs the connector until it is told to stop.
///
/// # Errors
/// Something is set up wrongly, or hangs. That others are not there is none.
pub async fn run(args: Args, shell: Shell) -> Result<(), Error> {
    let clock = Clock::start();
    let (health, exposed) = (Health::new(), service::Metrics::new());
    let metrics = Metrics::registered(&exposed);
    let store = FileIdentity::new(&args.state_dir)?;
    let kept = store.load()?;
    let identity = args.tls.identity()?;
    let bearer = Bearer::new(args.signing_key.key()?, NAME);
    let tls = TlsFiles { ca: args.tls.tls_ca_cert.clone(), certificate: args.tls.tls_cert.clone(), key: args.tls.tls_key.clone() };
    let mut nats = args.nats.settings(NAME, tls)?;
    nats.limits = BUS_QUEUE;
    let bus = nats.connect().await?;
    args.http.start(&health, &exposed, &shell).await?;

    let condition = Arc::new(Mutex::new(Condition::default()));
    let broker_ca = args.broker_ca_cert.as_deref().unwrap_or(&args.tls.tls_ca_cert);
    let broker = dial::channel(&args.broker_address, Some(broker_ca), &args.broker_tls_server_name, Some(&identity))?;
    shell.tasks.spawn(broker::watch(broker, bearer.clone(), Arc::clone(&condition), clock, shell.stop.clone()));
    let server_name = Some(args.metadata_tls_server_name.as_str()).filter(|name| !name.is_empty());
    let metadata = rpc::channel(&args.metadata_address, server_name.unwrap_or_else(|| host(&args.metadata_address)), &identity)?;
    shell.tasks.spawn(agents::watch(metadata, bearer, Arc::clone(&condition), shell.stop.clone()));

    let (outbox, outgoing) = outbox(wall().0, metrics.clone());
    let local = Local::new(bus.clone(), outbox.clone(), metrics.clone());
    let (told, known) = watch::channel(kept.clone());
    spawn(&shell, "messages for the control plane", local.clone().carry_out(shell.stop.clone()));
    spawn(&shell, "calls that nobody waits for", local.clone().cancel_again(shell.stop.clone()));
    spawn(&shell, "questions about pods", local.clone().answer_about_pods(shell.stop.clone()));
    spawn(&shell, "metrics for the control plane", local.clone().relay_metrics(known, shell.stop.clone()));

    let (events, incoming) = mpsc::channel(EVENTS_WAITING_MAX);
    let beaten = outgoing.beaten();
    let cloud = Cloud {
        channel: dial::channel(&args.cloud_addr, args.cloud_ca_cert.as_deref(), "", None)?,
        key: key_header(&args.deploy_key()?)?,
        cluster_uid: args.cluster_uid()?,
        cluster_name: args.cluster_name.clone(),
        signing_key: args.signing_key.text()?,
        local,
        outbox,
        outgoing: Arc::new(tokio::sync::Mutex::new(outgoing)),
        metrics,
        events,
    };
    let connector = Connector {
        machine: Machine::new(rand::random()),
        clock,
        cloud,
        condition,
        bus,
        store,
        told,
        ready: health.ready("cluster-id"),
        bus_ready: health.ready("bus"),
        health,
        ready_file: args.ready_file,
        tries: 0,
        trying: CancellationToken::new(),
        shell,
    };
    connector.run(kept, incoming, beaten).await
}

fn spawn(shell: &Shell, what: &'static str, task: impl Future<Output = Result<(), Error>> + Send + 'static) {
    shell.tasks.spawn(async move {
        if let Err(error) = task.await {
            tracing::error!(%error, what, "a task has ended");
        }
    });
}

/// The part of an address before its port.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The machine and what its effects need.
struct Connector {
    machine: Machine,
    clock: Clock,
    cloud: Cloud,
    condition: Arc<Mutex<Condition>>,
    bus: bus::Bus,
    store: FileIdentity,
    /// Who we are, for those who label metrics.
    told: watch::Sender<Option<Identity>>,
    ready: Check,
    bus_ready: Check,
    health: Health,
    ready_file: Option<std::path::PathBuf>,
    /// Numbers registrations and bridges.
    tries: u64,
    trying: CancellationToken,
    shell: Shell,
}

impl Connector {
    async fn run(
        mut self,
        kept: Option<Identity>,
        mut incoming: mpsc::Receiver<(u64, Event)>,
        mut beaten: watch::Receiver<u64>,
    ) -> Result<(), Error> {
        let mut next = Event::Started(kept);
        loop {
            if matches!(next, Event::Acknowledged { .. }) {
                self.write_ready_file()?;
            }
            self.look_at_bus();
            for effect in self.machine.handle(next, self.clock.now()) {
                self.apply(effect)?;
            }
            self.tell();
            next = loop {
                let deadline = self.machine.deadline().map(|at| self.clock.instant(at));
                tokio::select! {
                    () = self.shell.stop.cancelled() => {
                        self.trying.cancel();
                        return Ok(());
                    }
                    Some((number, event)) = incoming.recv() => {
                        if number == self.tries {
                            break event;
                        }
                    }
                    Ok(()) = beaten.changed() => break Event::Beaten,
                    () = async { sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)).await }, if deadline.is_some() => {
                        break Event::Time;
                    }
                }
            };
        }
    }

    fn apply(&mut self, effect: Effect) -> Result<(), Error> {
        match effect {
            Effect::Register => {
                let (number, trying) = self.try_anew();
                let register = self.cloud.clone().register(number);
                self.shell.tasks.spawn(async move { trying.run_until_cancelled(register).await });
            }
            Effect::Keep(identity) => {
                self.store.keep(&identity)?;
                tracing::info!(cluster = %identity.id, name = identity.name, "the control plane knows this cluster");
                self.told.send_replace(Some(identity));
            }
            Effect::Open(identity) => {
                let (number, trying) = self.try_anew();
                let (bridge, local) = (self.cloud.clone().bridge(number, identity), self.cloud.local.clone());
                self.shell.tasks.spawn(async move {
                    if trying.run_until_cancelled(bridge).await.is_none() {
                        local.end_calls().await;
                    }
                });
            }
            Effect::Beat(sequence) => {
                let Some(identity) = self.machine.identity() else { return Ok(()) };
                let heartbeat = heartbeat(identity, &self.condition.lock(), sequence, (self.clock.now(), wall()));
                self.cloud.outbox.beat(pack("VizierHeartbeat", &heartbeat));
            }
            Effect::Close => self.trying.cancel(),
            Effect::Leave => return Err(Error::Watchdog { minutes: WATCHDOG_MAX.as_secs() / 60 }),
        }
        Ok(())
    }

    /// Ends the try before. The number and the end of the next one.
    fn try_anew(&mut self) -> (u64, CancellationToken) {
        self.trying.cancel();
        self.trying = self.shell.stop.child_token();
        self.tries += 1;
        (self.tries, self.trying.clone())
    }

    fn look_at_bus(&self) {
        self.condition.lock().bus_down = match &*self.bus.link().borrow() {
            bus::Link::Connected => None,
            bus::Link::Disconnected { reason, .. } => Some(reason.to_string()),
        };
    }

    /// Says over HTTP how we are.
    fn tell(&self) {
        match self.machine.identity() {
            Some(_) => self.ready.ok(),
            None => self.ready.failing("the control plane has not registered this cluster"),
        }
        match &self.condition.lock().bus_down {
            None => self.bus_ready.ok(),
            Some(reason) => self.bus_ready.failing(reason),
        }
        let (status, _) = standing(&self.condition.lock(), self.clock.now());
        let answers = matches!(status, VizierStatus::VzStHealthy | VizierStatus::VzStDegraded);
        let reason = self.machine.reason().or_else(|| (!answers).then_some("BasicQueryFailed"));
        self.health.set_reason(reason);
    }

    fn write_ready_file(&self) -> Result<(), Error> {
        let (Some(path), Some(identity)) = (&self.ready_file, self.machine.identity()) else { return Ok(()) };
        write(path, &format!("{}\n", identity.id))
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|source| Error::File { action: "write", path: path.to_owned(), source })
}
