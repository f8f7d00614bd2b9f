//! One identity's node: capture under its number, and the Kelvins that read the tables.

use std::sync::Arc;
use std::time::Duration;

use agent::life::{Collector, CollectorState, Member, ProcessEvent};
use agent::names::{ClusterNames, NamesHandle, StateTable, names_filter};
use agent::tracepoints::run_requests;
use agent::{Compute, DialSet, DialStates, Dialer, MemberHandle, ProcessTables, Requests, host, schema};
use bus::Bus;
use collectors::{State, Status};
use engine::distributed::{AgentWorker, AgentWorkerArgs};
use engine::{AgentFacts, AgentTables, Functions};
use funcs::{Environment, ProcessNames};
use ids::Upid;
use rpc::MutualTls;
use service::Shell;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::{Pem, start_observed};
use crate::args::Args;
use crate::clock;
use crate::containers::Containers;
use crate::error::Error;
use crate::processes::{ProcessNews, ProcessObserver, Processes};
use crate::tracepoints::{NodeFacts, NodeTracepoints, OfPods};

/// How often the names that rows can have are looked at. Reference: metadata state, 5 s.
const NAMES_PERIOD: Duration = Duration::from_secs(5);

/// What runs under one identity.
pub(crate) struct Node {
    member: Member,
    pem: Pem,
    tracepoints: NodeTracepoints,
    dials: DialStates,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Node {
    /// Captures and dials when this returns.
    pub(crate) fn start(
        args: &Args,
        member: Member,
        tls: &MutualTls,
        compute: &Compute,
        (handle, names): (&MemberHandle, &NamesHandle),
        shell: &Shell,
    ) -> Result<Node, Error> {
        let (stop, tasks) = (shell.stop.child_token(), TaskTracker::new());
        let containers = Containers::default();
        let pem = start_observed(&args.pem, member.asid, Some(observer(handle, &containers)), (&stop, &tasks))?;
        handle.set_tables(schema::of_store(pem.store()));
        handle.set_collectors(pem.statuses().iter().map(collector).collect());
        let environment = environment(args, member, &pem, (handle, names, containers.clone()));
        let functions = Functions::each(move || Arc::new(funcs::registry(&environment)));
        let limits = AgentWorkerArgs {
            query_memory_bytes_max: args.query_memory_bytes_max,
            memory_bytes_max: args.memory_bytes_max,
            ..AgentWorkerArgs::default()
        };
        let process: Arc<dyn AgentTables> = Arc::new(ProcessTables { asid: member.asid, collects_data: true });
        let pod_name = args.node.pod_name.clone();
        let state: Arc<dyn AgentTables> = Arc::new(StateTable { asid: member.asid, pod_name, names: names.clone() });
        let facts = AgentFacts {
            asid: member.asid,
            tables: vec![process, state],
            events_lost: pem.events_lost().clone(),
            names: Some(Arc::new(names.clone())),
        };
        let worker = AgentWorker::of_agent(member.id, Arc::clone(pem.store()), functions, facts, limits);
        let dialer = Dialer::new(member.id, worker, compute.handle().clone(), tls.client());
        let (set, dials) = DialSet::new(dialer, tasks.clone());
        let (cluster, stopped) = (handle.cluster(), stop.clone());
        tasks.spawn(async move { set.run(cluster, &stopped).await });
        tasks.spawn(tell_names(names.clone(), handle.clone(), stop.clone()));
        let facts = NodeFacts { asid: member.asid, hostname: args.node.hostname(), kernel: host::kernel() };
        let of_pods = OfPods { asid: member.asid, names: names.clone(), containers };
        let tracepoints = NodeTracepoints::start(facts, of_pods, Arc::clone(pem.store()))?;
        Ok(Node { member, pem, tracepoints, dials, stop, tasks })
    }

    pub(crate) fn pem(&self) -> &Pem {
        &self.pem
    }

    pub(crate) fn dials(&self) -> &DialStates {
        &self.dials
    }

    /// Does what others ask, until nobody can ask any more.
    pub(crate) async fn take_requests(&mut self, bus: &Bus, handle: &MemberHandle, requests: &mut Requests) {
        let Node { member, pem, tracepoints, stop, .. } = self;
        let tables_changed = || handle.set_tables(schema::of_store(pem.store()));
        run_requests(bus, member.id, requests, tracepoints, tables_changed, stop).await;
    }

    /// Ends what runs and waits for it.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn collector(status: &Status) -> (String, Collector) {
    let told =
        |state, way: String, reason: &str, remedy: &str| Collector { state, way, reason: reason.to_owned(), remedy: remedy.to_owned() };
    let collector = match &status.state {
        State::Running { way } => told(CollectorState::Running, way.map_or_else(String::new, |way| way.to_string()), "", ""),
        State::Off => told(CollectorState::Off, String::new(), "", ""),
        State::Failed { reason, remedy } => told(CollectorState::Failed, String::new(), reason, remedy),
    };
    (status.collector.to_string(), collector)
}

/// Tells which names rows can have, as far as there are any, until the stop.
async fn tell_names(names: NamesHandle, handle: MemberHandle, stop: CancellationToken) {
    let mut period = tokio::time::interval(NAMES_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
        }
        let counts = names.counts();
        if counts.complete && counts.feed.applied != told {
            told = counts.feed.applied;
            handle.set_names(names_filter(&names.snapshot()));
        }
    }
}

/// Tells the metadata service of processes, with their containers.
fn observer(handle: &MemberHandle, containers: &Containers) -> ProcessObserver {
    let (handle, containers) = (handle.clone(), containers.clone());
    Arc::new(move |news| {
        let event = match news {
            ProcessNews::Started { upid, cmdline } => {
                let container = containers.of(upid).map_or_else(String::new, |id| id.as_str().to_owned());
                ProcessEvent::Created { upid, started: clock::wall_of_ticks(upid.start_ticks()), cmdline, container }
            }
            ProcessNews::Ended { upid, ended } => ProcessEvent::Terminated { upid, ended },
        };
        handle.push_process(event);
    })
}

/// What functions know of this machine.
fn environment(
    args: &Args,
    member: Member,
    pem: &Pem,
    (handle, names, containers): (&MemberHandle, &NamesHandle, Containers),
) -> Environment {
    let container_of = Arc::new(move |upid: Upid| if upid.asid() == member.asid { containers.of(upid) } else { None });
    Environment {
        asid: member.asid,
        hostname: args.node.hostname(),
        cpus: host::cpus(),
        processes: Arc::new(Names(pem.processes().clone())),
        kubernetes: Arc::new(ClusterNames::new(names.clone(), handle.cluster(), Some(container_of))),
        ..Environment::default()
    }
}

/// The node's processes as functions ask for them.
#[derive(Debug)]
struct Names(Processes);

impl ProcessNames for Names {
    fn cmdline(&self, upid: Upid) -> Option<String> {
        self.0.cmdline(upid).map(|line| line.as_ref().to_owned())
    }
}
