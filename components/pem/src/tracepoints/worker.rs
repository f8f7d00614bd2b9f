//! The thread that owns the probes.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use agent::names::NamesHandle;
use agent::tracepoints::{Code, Deployment, Failure, Outcome, Tracepoints};
use collectors::{ProbeEvent, ProbeId, ProbeSpec, Probes};
use ids::{Asid, TracepointId, Upid};
use parking_lot::Mutex;
use table_store::{Table, TableStore};

use super::calls::Calls;
use super::choose::{self, NodeFacts, PodProcess};
use crate::clock::Clock;
use crate::containers::Containers;
use crate::error::Error;
use crate::processes::join_arguments;

/// What is to be done and was not begun: as many as there may be tracepoints, each deployed and removed.
const COMMANDS_MAX: usize = 256;
/// How often the probes' ring is read.
const POLL_PERIOD: Duration = Duration::from_millis(20);
/// While nothing is probed.
const IDLE_PERIOD: Duration = Duration::from_secs(1);
/// How often rows are appended, so that they can be queried.
const FLUSH_PERIOD: Duration = Duration::from_millis(200);

enum Command {
    Deploy(TracepointId, Box<Deployment>),
    Remove(TracepointId),
}

type Outcomes = Arc<Mutex<Vec<(TracepointId, Outcome)>>>;

/// The tracepoints of this node. Dropping it takes all away.
pub(crate) struct NodeTracepoints {
    commands: SyncSender<Command>,
    outcomes: Outcomes,
}

impl NodeTracepoints {
    /// Starts the thread; it loads nothing before the first tracepoint.
    pub(crate) fn start(node: NodeFacts, of_pods: OfPods, store: Arc<TableStore>) -> Result<NodeTracepoints, Error> {
        let (commands, queue) = sync_channel(COMMANDS_MAX);
        let outcomes = Outcomes::default();
        let worker = Worker { node, of_pods, store, probes: None, points: BTreeMap::new(), outcomes: Arc::clone(&outcomes) };
        std::thread::Builder::new()
            .name("pem-probes".to_owned())
            .spawn(move || worker.run(&queue))
            .map_err(|source| Error::Thread { name: "pem-probes", source })?;
        Ok(NodeTracepoints { commands, outcomes })
    }

    fn send(&self, id: TracepointId, command: Command) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.commands.try_send(command) {
            let text = "the agent's probes are busy or gone".to_owned();
            self.outcomes.lock().push((id, Outcome::Failed(Failure { code: Code::ResourceUnavailable, text })));
        }
    }
}

impl Tracepoints for NodeTracepoints {
    fn deploy(&mut self, id: TracepointId, deployment: Deployment) {
        self.send(id, Command::Deploy(id, Box::new(deployment)));
    }

    fn remove(&mut self, id: TracepointId) {
        self.send(id, Command::Remove(id));
    }

    fn outcomes(&mut self) -> Vec<(TracepointId, Outcome)> {
        std::mem::take(&mut *self.outcomes.lock())
    }
}

/// One program of a tracepoint that writes rows.
struct Running {
    tracepoint: TracepointId,
    table: Arc<Table>,
    calls: Calls,
}

struct Worker {
    node: NodeFacts,
    of_pods: OfPods,
    store: Arc<TableStore>,
    probes: Option<Probes>,
    points: BTreeMap<ProbeId, Running>,
    outcomes: Outcomes,
}

impl Worker {
    fn run(mut self, queue: &Receiver<Command>) {
        let (mut events, mut flushed) = (Vec::new(), Instant::now());
        loop {
            let wait = if self.points.is_empty() { IDLE_PERIOD } else { POLL_PERIOD };
            match queue.recv_timeout(wait) {
                Ok(Command::Deploy(id, deployment)) => {
                    let outcome = self.deploy(id, &deployment).map_or_else(Outcome::Failed, |()| Outcome::Running);
                    self.outcomes.lock().push((id, outcome));
                }
                Ok(Command::Remove(id)) => {
                    self.poll(&mut events);
                    self.flush();
                    self.remove(id);
                    self.outcomes.lock().push((id, Outcome::Removed));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.poll(&mut events);
            if flushed.elapsed() >= FLUSH_PERIOD {
                flushed = Instant::now();
                self.flush();
            }
        }
        self.poll(&mut events);
        self.flush();
    }

    /// All programs that fit, or none.
    fn deploy(&mut self, id: TracepointId, deployment: &Deployment) -> Result<(), Failure> {
        let chosen = choose::programs(deployment, &self.node)?;
        let targets = choose::targets(&deployment.target, &self.node, lives, || self.of_pods.processes())?;
        for (program, (binary, probed)) in chosen.iter().flat_map(|program| targets.iter().map(move |target| (program, target))) {
            let deployed = Calls::new(program.probe).and_then(|calls| {
                let table = self.table(program.table, &calls)?;
                let returns = calls.needs_return();
                let symbol = program.probe.symbol.clone();
                let spec = ProbeSpec { binary: binary.clone(), probed: probed.clone(), symbol, returns };
                let probe = self.probes()?.deploy(&spec).map_err(|error| failure(&error))?;
                self.points.insert(probe, Running { tracepoint: id, table, calls });
                Ok(())
            });
            if let Err(failure) = deployed {
                self.remove(id);
                return Err(failure);
            }
        }
        Ok(())
    }

    fn probes(&mut self) -> Result<&mut Probes, Failure> {
        match &mut self.probes {
            Some(probes) => Ok(probes),
            none => {
                let probes = Probes::start(self.node.asid).map_err(|error| failure(&error))?;
                Ok(none.insert(probes))
            }
        }
    }

    /// The one of that name, if it has these columns, or a new one.
    fn table(&self, name: &str, calls: &Calls) -> Result<Arc<Table>, Failure> {
        let invalid = |text: String| Failure { code: Code::InvalidArgument, text };
        if let Some(table) = self.store.table(name) {
            let same = table.relation() == calls.relation();
            return if same { Ok(table) } else { Err(invalid(format!("there is a table `{name}` with other columns"))) };
        }
        self.store.create(name, calls.relation().clone()).map_err(|error| invalid(error.to_string()))
    }

    fn remove(&mut self, id: TracepointId) {
        let leaving: Vec<ProbeId> = self.points.iter().filter(|(_, running)| running.tracepoint == id).map(|(probe, _)| *probe).collect();
        for probe in leaving {
            self.points.remove(&probe);
            if let Some(probes) = &mut self.probes {
                probes.remove(probe);
            }
        }
    }

    fn poll(&mut self, events: &mut Vec<ProbeEvent>) {
        let Some(probes) = &mut self.probes else { return };
        let clock = Clock::read();
        while probes.poll(events) > 0 {
            for event in events.drain(..) {
                // What a probe told before it was removed may come after.
                if let Some(running) = self.points.get_mut(&event.probe) {
                    running.calls.push(&event, clock.wall(event.at));
                }
            }
        }
    }

    fn flush(&mut self) {
        for running in self.points.values_mut() {
            let name = running.table.name();
            match running.calls.take() {
                Ok(None) => {}
                Ok(Some(batch)) => {
                    if let Err(error) = running.table.append(batch) {
                        tracing::error!(table = name, %error, "rows cannot be appended: dropped");
                    }
                }
                Err(error) => tracing::error!(table = name, %error, "rows cannot be made of calls: dropped"),
            }
        }
    }
}

/// Finds the processes of pods.
pub(crate) struct OfPods {
    pub(crate) asid: Asid,
    pub(crate) names: NamesHandle,
    pub(crate) containers: Containers,
}

impl OfPods {
    /// Of this node, as far as this agent's PID namespace shows them.
    fn processes(&self) -> Vec<PodProcess> {
        let Ok(folders) = std::fs::read_dir("/proc") else { return vec![] };
        let pids = folders.flatten().filter_map(|folder| folder.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        let snapshot = self.names.snapshot();
        let process = |pid: u32| {
            let ticks = crate::agent::start_ticks(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
            let id = self.containers.of(Upid::new(self.asid, pid, ticks))?;
            let (container, pod) = snapshot.container(&id)?;
            // The file that it runs, also where it is in another mount namespace or gone.
            let file = std::fs::metadata(format!("/proc/{pid}/exe")).ok()?;
            let cmdline = join_arguments(&std::fs::read(format!("/proc/{pid}/cmdline")).ok()?);
            let pod = format!("{}/{}", pod.meta.namespace, pod.meta.name);
            Some(PodProcess { pid, pod, container: container.name.to_string(), cmdline, file: (file.dev(), file.ino()) })
        };
        pids.filter_map(process).collect()
    }
}

/// What went wrong, and what can be done about it.
fn failure(error: &collectors::Error) -> Failure {
    let code = if error.is_about_target() { Code::NotFound } else { Code::Internal };
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    Failure { code, text: format!("{text}; {}", error.remedy()) }
}

/// Whether the process is there, and is the one that had this id when the script was written.
fn lives(process: Upid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).ok();
    stat.and_then(|stat| crate::agent::start_ticks(&stat)).is_some_and(|ticks| ticks == process.start_ticks())
}
