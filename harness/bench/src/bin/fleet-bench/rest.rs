//! What a Vizier needs while nobody asks anything.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fleet::Fleet;
use harness_bench::{Goal, line, mb};

use crate::Cli;
use crate::churn;
use crate::cluster::Cluster;
use crate::crowd::Crowd;
use crate::vizier::{Carried, Up, Used};

/// Rows of each agent's http_events: nobody asks for them but whoever looks whether all are there.
const ROWS: u32 = 1000;
/// After it nothing is left of what a start or a registration needed.
const SETTLE: Duration = Duration::from_secs(15);
/// All names have come by then.
const NAMES_MAX: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Whose needs are told.
const PARTS: [&str; 3] = ["metadata", "query-broker", "kelvin-1"];

pub(crate) async fn measure(cli: &Cli) -> Result<()> {
    let mut up = Up::new(cli, 0)?;
    let cluster = Cluster::start(&mut up.fleet, cli.agents).await?;
    eventually("the list of pods", NAMES_MAX, || cluster.is_watched()).await?;
    let alone = observe(cli, &up.fleet).await?;
    let crowd = Crowd::start(&up.fleet, cli.agents, ROWS).await?;
    let joined = crowd.joined(&up.fleet).await?;
    eventually("the names of all agents", NAMES_MAX, || crowd.complete() == cli.agents as usize).await?;
    let crowded = observe(cli, &up.fleet).await?;
    let of = format!("{} agents at rest", cli.agents);
    let how = format!(
        "over {} s; a cluster of {} nodes and {} pods is watched; agents registered and dialled within {:.1} s",
        crowded.period.as_secs(),
        cli.agents,
        cluster.pods(),
        joined.as_secs_f64()
    );
    for (part, name) in PARTS.into_iter().zip(["metadata", "query broker", "Kelvin"]) {
        let (before, after) = crowded.of(part)?;
        let (resident, anonymous) = (mb(after.memory.resident), mb(after.memory.anonymous));
        line(&format!("{name}'s RSS, {of}"), &Goal::none(), &format!("{resident}, {anonymous} of it anonymous"), "VmRSS, RssAnon");
        let percent = after.percent_since(before, crowded.period);
        line(&format!("{name}'s CPU, {of}"), &Goal::none(), &format!("{percent:.2} % of a processor"), &how);
    }
    per_agent(cli, &alone, &crowded)?;
    churn::measure(cli, &up.fleet, &cluster, &crowd).await?;
    crowd.stop().await
}

/// What each agent adds, a minute.
fn per_agent(cli: &Cli, alone: &Observed, crowded: &Observed) -> Result<()> {
    let cpu = |observed: &Observed| {
        let (before, after) = observed.of("metadata")?;
        Ok::<_, anyhow::Error>(after.cpu.saturating_sub(before.cpu).as_secs_f64() / observed.period.as_secs_f64())
    };
    let each = |all: f64, none: f64| (all - none) * 60.0 / f64::from(cli.agents);
    let how =
        format!("{} agents against none, {} s each: registration, beats, the names of a node, metrics", cli.agents, alone.period.as_secs());
    let milliseconds = each(cpu(crowded)?, cpu(alone)?) * 1e3;
    line("metadata's CPU for an agent, a minute", &Goal::none(), &format!("{milliseconds:.2} ms"), &how);
    let rate = |observed: &Observed, count: fn(&Carried) -> u64| {
        (count(&observed.carried.1) - count(&observed.carried.0)) as f64 / observed.period.as_secs_f64()
    };
    let bytes = each(rate(crowded, |carried| carried.bytes), rate(alone, |carried| carried.bytes));
    let messages = each(rate(crowded, |carried| carried.messages), rate(alone, |carried| carried.messages));
    let seen = format!("{:.1} KiB in {messages:.0} messages", bytes / 1024.0);
    line("bytes on the bus for an agent, a minute", &Goal::none(), &seen, "payloads into and out of nats-server, by its own count");
    Ok(())
}

/// What was used over a period.
struct Observed {
    parts: Vec<(&'static str, Used, Used)>,
    carried: (Carried, Carried),
    period: Duration,
}

impl Observed {
    fn of(&self, part: &str) -> Result<(Used, Used)> {
        let found = self.parts.iter().find(|(name, ..)| *name == part);
        found.map(|(_, before, after)| (*before, *after)).ok_or_else(|| anyhow::anyhow!("{part} was not looked at"))
    }
}

async fn observe(cli: &Cli, fleet: &Fleet) -> Result<Observed> {
    tokio::time::sleep(SETTLE).await;
    let (start, carried) = (Instant::now(), Carried::by(fleet)?);
    let before: Vec<_> = PARTS.into_iter().map(|part| Used::by(fleet, part)).collect::<Result<_>>()?;
    tokio::time::sleep(Duration::from_secs(cli.seconds.into())).await;
    let parts = PARTS.into_iter().zip(before).map(|(part, before)| Ok((part, before, Used::by(fleet, part)?)));
    let parts = parts.collect::<Result<_>>()?;
    Ok(Observed { parts, carried: (carried, Carried::by(fleet)?), period: start.elapsed() })
}

async fn eventually(what: &str, patience: Duration, is_so: impl Fn() -> bool) -> Result<()> {
    let start = Instant::now();
    while !is_so() {
        ensure!(start.elapsed() < patience, "{what}: not within {patience:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}
