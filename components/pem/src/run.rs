use std::net::SocketAddr;
use std::sync::Arc;

use agent::life::Member;
use agent::names::{NamesHandle, run_names};
use agent::{Compute, DIAL_PROTOCOL, DialStates, MemberHandle, Membership, MembershipArgs, WallClock, next_member};
use bus::{Bus, Selector, TlsFiles};
use rpc::MutualTls;
use service::{Health, Metrics, Shell};
use tokio::sync::watch;

use crate::args::Args;
use crate::error::Error;
use crate::metrics::Current;
use crate::node::Node;

/// Runs the node agent until it is told to stop: registers, captures with the number that it was given, serves the Kelvins that are alive.
///
/// # Errors
/// A certificate, the bus' settings or a thread cannot be had, or the metadata service says that this process must not go on.
pub async fn run(args: Args, shell: Shell) -> Result<(), Error> {
    let tls = args.tls.mutual(DIAL_PROTOCOL)?;
    let files = TlsFiles { ca: args.tls.tls_ca_cert.clone(), certificate: args.tls.tls_cert.clone(), key: args.tls.tls_key.clone() };
    let profile = agent::life::Profile { collects_data: true, ..args.node.profile() };
    let bus = args.nats.settings(&format!("vizier-pem/{}", profile.hostname), files)?.connect().await?;
    let (membership, member, requests) = Membership::new(bus.clone(), MembershipArgs::new(profile));

    let (health, metrics) = (Health::new(), Metrics::new());
    let (dials, dials_seen) = watch::channel(DialStates::default());
    let current = Current::default();
    let names = NamesHandle::default();
    agent::register_metrics(&metrics, bus.clone(), (member.clone(), names.clone()), Some(dials_seen.clone()));
    current.register(&metrics);
    let http = args.http.start(&health, &metrics, &shell).await?;
    let (watched, watched_bus, stop) = (member.clone(), bus.clone(), shell.stop.clone());
    shell.tasks.spawn(async move { agent::watch_readiness(&watched_bus, &watched, Some(dials_seen), &health, &stop).await });
    let (pod_name, pushed_bus, stop) = (args.node.pod_name.clone(), bus.clone(), shell.stop.clone());
    shell.tasks.spawn(async move { agent::push_metrics(&pushed_bus, &metrics, &pod_name, &stop).await });
    shell.tasks.spawn(give_memory_back(shell.clone()));

    let compute = Compute::new(args.compute_threads)?;
    let (selector, wall) = (Selector::Host(args.node.host_ip()), Arc::new(agent::wall_clock) as WallClock);
    let (followed, names_bus) = (names.clone(), bus.clone());
    let nodes = Nodes { args, http, tls, compute, bus, member, names, requests, dials, current, shell: shell.clone() };
    let registered = async { membership.run(&shell.stop).await.map_err(Error::from) };
    let names = async { run_names(&names_bus, selector, &followed, &wall, &shell.stop).await.map_err(Error::from) };
    tokio::try_join!(registered, names, nodes.run())?;
    Ok(())
}

/// At once, for what the start needed, and again and again.
async fn give_memory_back(shell: Shell) {
    let mut period = tokio::time::interval(service::GIVE_BACK_PERIOD);
    loop {
        tokio::select! {
            () = shell.stop.cancelled() => return,
            _ = period.tick() => {}
        }
        if let Err(error) = tokio::task::spawn_blocking(service::give_back).await {
            tracing::error!(%error, "giving memory back ended");
        }
    }
}

/// One node after the other: a new one whenever the metadata service gives the agent another identity.
struct Nodes {
    args: Args,
    http: Option<SocketAddr>,
    tls: MutualTls,
    compute: Compute,
    bus: Bus,
    member: MemberHandle,
    names: NamesHandle,
    requests: agent::Requests,
    dials: watch::Sender<DialStates>,
    current: Current,
    shell: Shell,
}

impl Nodes {
    async fn run(mut self) -> Result<(), Error> {
        let mut standing = self.member.standing();
        let Some(mut member) = next_member(&mut standing, None, &self.shell.stop).await else { return Ok(()) };
        loop {
            let mut node = Node::start(&self.args, member, &self.tls, &self.compute, (&self.member, &self.names), &self.shell)?;
            self.dials.send_replace(node.dials().clone());
            self.current.set(node.pem().clone());
            self.write_ready_file(member)?;
            let next = tokio::select! {
                next = next_member(&mut standing, Some(member), &self.shell.stop) => next,
                () = node.take_requests(&self.bus, &self.member, &mut self.requests) => None,
            };
            node.stop().await;
            let Some(next) = next else { return Ok(()) };
            // The number in the UPIDs of its rows is another agent's now: what was captured under it would be taken for that one's.
            tracing::warn!(was = %member.id, was_asid = member.asid.0, is = %next.id, is_asid = next.asid.0, "another identity: tables begin anew");
            member = next;
        }
    }

    fn write_ready_file(&self, member: Member) -> Result<(), Error> {
        let Some(path) = &self.args.ready_file else { return Ok(()) };
        let http = self.http.map_or_else(String::new, |address| format!("{address}\n"));
        std::fs::write(path, format!("{}\n{}\n{http}", member.id, member.asid.0))
            .map_err(|source| Error::ReadyFile { path: path.clone(), source })
    }
}
