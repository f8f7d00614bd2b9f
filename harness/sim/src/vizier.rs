//! A Vizier of parts, what can happen to it, and what must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agent::life::{Member, Standing};
use anyhow::{Context as _, bail, ensure};
use parking_lot::Mutex;
use tonic::Code;

use crate::parts::{Answer, BrokerPart, KelvinPart, METADATA, MetadataPart, PemPart, Row};
use crate::world::World;

/// How many of each part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Nodes.
    pub(crate) pems: usize,
    /// Kelvins.
    pub(crate) kelvins: usize,
    /// Replicas of the metadata service.
    pub(crate) metadata: usize,
}

/// Longer than any query may take, whatever happens. It is the world's time.
const ANSWER_MAX: Duration = Duration::from_mins(10);
/// After so long without faults everything is as if there had been none: a minute until agents are given up, the longest pauses, one lease.
const QUIET: Duration = Duration::from_mins(3);

/// A Vizier in a world.
#[derive(Debug)]
pub(crate) struct Vizier {
    /// What its parts share.
    pub(crate) world: Arc<World>,
    size: Size,
    metadata: Vec<Option<MetadataPart>>,
    kelvins: Vec<Option<KelvinPart>>,
    pems: Vec<Option<PemPart>>,
    broker: Option<BrokerPart>,
    /// To which replica the name of the service leads.
    leads_to: Arc<Mutex<String>>,
    /// What every place was first told that it is.
    seats: BTreeMap<String, Member>,
    /// All rows that there ever were.
    ever: BTreeSet<Row>,
}

/// What a query may and must answer, as it was when it began.
#[derive(Debug)]
struct Expected {
    /// Rows of each node that the broker knew, and which process had them.
    must: BTreeMap<String, (u64, BTreeSet<Row>)>,
}

/// A part that something happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// A node's agent.
    Pem(usize),
    /// A Kelvin.
    Kelvin(usize),
    /// A replica of the metadata service.
    Metadata(usize),
    /// The query broker.
    Broker,
}

impl Part {
    /// The name that it has in the network.
    pub(crate) fn name(self) -> String {
        match self {
            Part::Pem(at) => format!("pem-{at}"),
            Part::Kelvin(at) => format!("kelvin-{at}"),
            Part::Metadata(at) => format!("metadata-{at}"),
            Part::Broker => "broker".to_owned(),
        }
    }
}

impl Vizier {
    /// All parts, just started.
    ///
    /// # Errors
    /// One does not start.
    pub(crate) fn start(world: &Arc<World>, size: Size) -> anyhow::Result<Vizier> {
        let mut vizier = Vizier {
            world: Arc::clone(world),
            size,
            metadata: (0..size.metadata).map(|_| None).collect(),
            kelvins: (0..size.kelvins).map(|_| None).collect(),
            pems: (0..size.pems).map(|_| None).collect(),
            broker: None,
            leads_to: Arc::new(Mutex::new(METADATA.to_owned())),
            seats: BTreeMap::new(),
            ever: BTreeSet::new(),
        };
        vizier.start_all()?;
        Ok(vizier)
    }

    /// Its size.
    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// Starts what does not run, as whoever supervises processes would.
    ///
    /// # Errors
    /// One does not start.
    pub(crate) fn start_all(&mut self) -> anyhow::Result<()> {
        let Size { pems, kelvins, metadata } = self.size;
        let all = (0..metadata).map(Part::Metadata).chain((0..kelvins).map(Part::Kelvin)).chain((0..pems).map(Part::Pem));
        for part in all.chain([Part::Broker]) {
            self.restart(part)?;
        }
        Ok(())
    }

    /// Starts a part, if it does not run.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn restart(&mut self, part: Part) -> anyhow::Result<()> {
        let world = Arc::clone(&self.world);
        match part {
            Part::Pem(at) if self.pems[at].is_none() => self.pems[at] = Some(PemPart::start(&world, at, world.clock())?),
            Part::Kelvin(at) if self.kelvins[at].is_none() => self.kelvins[at] = Some(KelvinPart::start(&world, at, world.clock())?),
            Part::Metadata(at) if self.metadata[at].is_none() => {
                self.metadata[at] = Some(MetadataPart::start(&world, at, self.size.metadata > 1)?);
            }
            Part::Broker if self.broker.is_none() => self.broker = Some(BrokerPart::start(&world, &self.leads_to)),
            Part::Pem(_) | Part::Kelvin(_) | Part::Metadata(_) | Part::Broker => {}
        }
        Ok(())
    }

    /// Kills a part, if it runs.
    pub(crate) fn crash(&mut self, part: Part) {
        match part {
            Part::Pem(at) => drop(self.pems[at].take().map(PemPart::crash)),
            Part::Kelvin(at) => drop(self.kelvins[at].take().map(KelvinPart::crash)),
            Part::Metadata(at) => {
                if let Some(part) = self.metadata[at].take() {
                    part.crash();
                }
            }
            Part::Broker => {
                if let Some(part) = self.broker.take() {
                    part.crash();
                }
            }
        }
    }

    /// The name that a part has on the bus now. The broker has none.
    pub(crate) fn bus_name(&self, part: Part) -> Option<String> {
        match part {
            Part::Pem(at) => self.pems[at].as_ref().map(|part| part.process.bus_name.clone()),
            Part::Kelvin(at) => self.kelvins[at].as_ref().map(|part| part.process.bus_name.clone()),
            Part::Metadata(at) => self.metadata[at].as_ref().map(|part| part.process.bus_name.clone()),
            Part::Broker => None,
        }
    }

    /// Sets the wall clock of a part's node wrong.
    pub(crate) fn step_clock(&self, part: Part, seconds: i64) {
        match part {
            Part::Pem(at) => self.pems[at].iter().for_each(|part| part.clock.step(seconds)),
            Part::Kelvin(at) => self.kelvins[at].iter().for_each(|part| part.clock.step(seconds)),
            Part::Metadata(_) | Part::Broker => {}
        }
    }

    /// A node gets rows.
    ///
    /// # Errors
    /// Its table does not take them.
    pub(crate) fn append(&mut self, pem: usize, count: usize) -> anyhow::Result<()> {
        if let Some(pem) = &mut self.pems[pem] {
            pem.append(count)?;
            self.ever.extend(pem.rows().iter().cloned());
        }
        Ok(())
    }

    /// The name of the metadata service leads to a replica that is ready, if there is one.
    pub(crate) fn route(&self) {
        let leading = self.metadata.iter().position(|part| part.as_ref().is_some_and(MetadataPart::leads));
        *self.leads_to.lock() = leading.map_or_else(|| METADATA.to_owned(), MetadataPart::address);
    }

    /// Who a part believes that it is.
    fn member(&self, part: Part) -> Option<Member> {
        let standing = match part {
            Part::Pem(at) => self.pems[at].as_ref()?.standing(),
            Part::Kelvin(at) => self.kelvins[at].as_ref()?.standing(),
            Part::Metadata(_) | Part::Broker => return None,
        };
        match standing {
            Standing::Running(member) => Some(member),
            Standing::Registering { .. } | Standing::Stopped { .. } => None,
        }
    }

    fn agents(&self) -> impl Iterator<Item = Part> + use<> {
        (0..self.size.pems).map(Part::Pem).chain((0..self.size.kelvins).map(Part::Kelvin))
    }

    /// What must hold at every moment.
    ///
    /// # Errors
    /// What does not.
    pub(crate) fn check_step(&mut self) -> anyhow::Result<()> {
        let mut seen: BTreeMap<u32, String> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for part in self.agents() {
            let Some(member) = self.member(part) else { continue };
            let name = part.name();
            ensure!(ids.insert(member.id), "{name} has an id that another one has: {}", member.id);
            if let Some(other) = seen.insert(member.asid.0, name.clone()) {
                bail!("{name} and {other} have the same number {}", member.asid.0);
            }
            let seat = *self.seats.entry(name.clone()).or_insert(member);
            ensure!(seat == member, "{name} was {seat:?} and is {member:?}");
        }
        Ok(())
    }

    fn expect(&self) -> Expected {
        let view = self.broker.as_ref().and_then(BrokerPart::view);
        let known = |name: &str| view.as_ref().is_some_and(|view| view.collecting().any(|(_, agent)| agent.hostname == name));
        let pems = self.pems.iter().flatten().filter(|pem| known(&pem.process.name));
        Expected { must: pems.map(|pem| (pem.process.name.clone(), (pem.number(), pem.rows().clone()))).collect() }
    }

    /// An answer has no row twice and none that never was; each node that the broker knew has all rows that it had when the query began in
    /// it, or is named as missing, or crashed meanwhile.
    fn check_answer(&self, expected: &Expected, answer: &Answer) -> anyhow::Result<()> {
        let rows: BTreeSet<&Row> = answer.rows.iter().collect();
        ensure!(rows.len() == answer.rows.len(), "{} rows are in the answer twice", answer.rows.len() - rows.len());
        for row in &rows {
            ensure!(self.ever.contains(*row), "{row:?} never was");
        }
        for (name, (number, must)) in &expected.must {
            let still = self.pems.iter().flatten().any(|pem| pem.number() == *number);
            if answer.missing.contains(name) || !still {
                continue;
            }
            let lacking = must.iter().filter(|row| !rows.contains(row)).count();
            ensure!(lacking == 0, "{lacking} of {} rows of {name} are not in the answer, which does not say so", must.len());
            let counted = answer.counts.get(name).copied().unwrap_or(0);
            ensure!(
                counted >= must.len() as i64,
                "{name} has {} rows, {counted} were counted, and nothing is said to be missing",
                must.len()
            );
        }
        Ok(())
    }

    /// Asks for all rows, while `meanwhile` happens after a moment.
    ///
    /// # Errors
    /// The answer is wrong, or there is none for too long.
    pub(crate) async fn ask(&mut self, meanwhile: Option<(Duration, Part)>) -> anyhow::Result<()> {
        let Some(broker) = &self.broker else { return Ok(()) };
        let (expected, broker) = (self.expect(), broker.broker.clone());
        let mut asked = std::pin::pin!(tokio::time::timeout(ANSWER_MAX, BrokerPart::ask(broker)));
        let answered = match meanwhile {
            None => asked.await,
            Some((after, part)) => {
                tokio::select! {
                    answered = &mut asked => answered,
                    () = tokio::time::sleep(after) => {
                        self.world.note(&format!("{} crashes while a query runs", part.name()));
                        self.crash(part);
                        asked.await
                    }
                }
            }
        };
        match answered {
            Err(_) => bail!("a query has no end after {ANSWER_MAX:?}"),
            Ok(Ok(answer)) => {
                self.world.note(&format!("{} rows, missing: {:?}", answer.rows.len(), answer.missing));
                self.check_answer(&expected, &answer)
            }
            Ok(Err(status)) => {
                self.world.note(&format!("a query failed: {:?}: {}", status.code(), status.message()));
                // Whatever is gone, it is not the script's fault, nor anybody's mistake.
                let excused =
                    matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::ResourceExhausted);
                ensure!(excused, "a query failed with {:?}: {}", status.code(), status.message());
                Ok(())
            }
        }
    }

    /// Without faults for long enough, everything is as it should be.
    ///
    /// # Errors
    /// What is not.
    pub(crate) async fn check_quiet(&mut self) -> anyhow::Result<()> {
        let until = self.world.elapsed() + QUIET;
        while self.world.elapsed() < until {
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.route();
            self.supervise()?;
        }
        self.check_step()?;
        for part in self.agents() {
            ensure!(self.member(part).is_some(), "{} does not belong to the Vizier", part.name());
        }
        let leaders = self.metadata.iter().flatten().filter(|part| part.leads()).count();
        ensure!(leaders == 1, "{leaders} replicas of the metadata service lead");
        let broker = self.broker.as_ref().context("there is no broker")?;
        if let Some(why) = broker.stale() {
            bail!("the broker's view is out of date: {why}");
        }
        let view = broker.view().context("the broker knows nothing")?;
        ensure!(view.agents.len() == self.size.pems + self.size.kelvins, "the broker knows {} agents", view.agents.len());

        let asked = tokio::time::timeout(ANSWER_MAX, BrokerPart::ask(broker.broker.clone())).await.context("a query has no end")?;
        let answer = asked.map_err(|status| anyhow::anyhow!("a query failed in a sound Vizier: {status}"))?;
        ensure!(answer.missing.is_empty(), "missing in a sound Vizier: {:?}", answer.missing);
        let all: BTreeSet<Row> = self.pems.iter().flatten().flat_map(|pem| pem.rows().iter().cloned()).collect();
        let rows: BTreeSet<Row> = answer.rows.iter().cloned().collect();
        ensure!(rows.len() == answer.rows.len() && rows == all, "{} rows of {} are in the answer", answer.rows.len(), all.len());
        tokio::time::sleep(Duration::from_secs(1)).await;
        for pem in self.pems.iter().flatten() {
            ensure!(pem.scans() == 0, "{} still scans for a query that is over", pem.process.name);
        }
        self.world.note("everything is as it should be");
        Ok(())
    }

    /// Starts again what has ended by itself, as whoever supervises processes would.
    fn supervise(&mut self) -> anyhow::Result<()> {
        for at in 0..self.size.pems {
            let stopped = self.pems[at].as_ref().is_some_and(|pem| matches!(pem.standing(), Standing::Stopped { .. }));
            if stopped {
                self.crash(Part::Pem(at));
                self.restart(Part::Pem(at))?;
            }
        }
        for at in 0..self.size.kelvins {
            let stopped = self.kelvins[at].as_ref().is_some_and(|part| matches!(part.standing(), Standing::Stopped { .. }));
            if stopped {
                self.crash(Part::Kelvin(at));
                self.restart(Part::Kelvin(at))?;
            }
        }
        Ok(())
    }

    /// Lets time pass, while names lead where they should.
    ///
    /// # Errors
    /// A part does not start again.
    pub(crate) async fn pass(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = self.world.elapsed() + time;
        while self.world.elapsed() < until {
            tokio::time::sleep(Duration::from_millis(100).min(time)).await;
            self.route();
        }
        self.supervise()
    }

    /// Tracepoints, over the broker's connection.
    pub(crate) fn broker(&self) -> Option<&BrokerPart> {
        self.broker.as_ref()
    }

    /// How many tracepoints each node has.
    pub(crate) fn deployed(&self) -> Vec<usize> {
        self.pems.iter().flatten().map(|pem| pem.tracepoints.lock().len()).collect()
    }

    /// Ends everything as it should end.
    ///
    /// # Errors
    /// A part does not end.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let mut late = Vec::new();
        if let Some(broker) = self.broker.take() {
            late.extend((!broker.stop().await).then_some("broker".to_owned()));
        }
        for pem in std::mem::take(&mut self.pems).into_iter().flatten() {
            let name = pem.process.name.clone();
            late.extend((!pem.stop().await).then_some(name));
        }
        for kelvin in std::mem::take(&mut self.kelvins).into_iter().flatten() {
            let name = kelvin.process.name.clone();
            late.extend((!kelvin.stop().await).then_some(name));
        }
        for metadata in std::mem::take(&mut self.metadata).into_iter().flatten() {
            let name = metadata.process.name.clone();
            late.extend((!metadata.stop().await).then_some(name));
        }
        ensure!(late.is_empty(), "did not end when told to: {late:?}");
        Ok(())
    }
}
