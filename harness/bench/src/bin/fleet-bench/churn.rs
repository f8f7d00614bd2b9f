//! Pods that come and go, and how soon agents have their names.

use std::time::{Duration, Instant};

use agent::names::NamesHandle;
use anyhow::{Context as _, Result};
use fleet::Fleet;
use harness_bench::{Goal, line, mb, ms, quantile};
use k8s_state::Uid;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;

use crate::Cli;
use crate::cluster::{Cluster, Pod};
use crate::crowd::Crowd;
use crate::vizier::{MetadataCounters, Used};

/// From scheduled to running.
const START_S: u32 = 1;
/// From scheduled to gone; after as long as many pods end as begin.
const LIFE_S: u32 = 10;
/// Each so-many-th pod's name is waited for.
const SAMPLE_EVERY: u32 = 10;
/// Pods whose names are waited for at a time.
const SAMPLES_MAX: usize = 4096;
/// A name that has not come by then is taken for lost; its pod ends a moment earlier.
const LAG_MAX: Duration = Duration::from_secs(8);
/// How often agents are asked.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A pod whose name is waited for.
struct Sample {
    node: u32,
    uid: Uid,
    address: std::net::IpAddr,
    since: Instant,
}

/// How long names took.
#[derive(Default)]
struct Lags {
    times: Vec<Duration>,
    lost: usize,
}

pub(crate) async fn measure(cli: &Cli, fleet: &Fleet, cluster: &Cluster, crowd: &Crowd) -> Result<()> {
    let dropped_before = crowd.dropped();
    let (sender, receiver) = mpsc::channel(SAMPLES_MAX);
    // A task of its own: however much it has to look at, pods come and go at their rate.
    let lags = AbortOnDropHandle::new(tokio::spawn(watch(crowd.names(), receiver)));
    let Seen { before, after, period, metadata } = drive(cli, fleet, cluster, sender).await?;
    let mut lags = lags.await??;
    let dropped = crowd.dropped() - dropped_before;
    let per_second = cli.pods_per_second;
    let under = format!("{per_second} pods/s");
    line(
        &format!("metadata's CPU under {under}"),
        &Goal::none(),
        &format!("{:.1} % of a processor", after.percent_since(before, period)),
        &format!(
            "{} s: as many pods end as begin, {} changes/s; {} agents, each with its node's names; {:.0} updates/s published",
            period.as_secs(),
            3 * per_second,
            cli.agents,
            metadata.updates as f64 / period.as_secs_f64()
        ),
    );
    line(
        &format!("metadata's RSS under {under}"),
        &Goal::none(),
        &mb(after.memory.resident),
        &format!("{} before; peak {}", mb(before.memory.resident), mb(after.memory.peak)),
    );
    let (p50, p99, worst) = (quantile(&mut lags.times, 0.5), quantile(&mut lags.times, 0.99), quantile(&mut lags.times, 1.0));
    line(
        &format!("until an agent has a new pod's name under {under}, p99"),
        &Goal::none(),
        &format!("{}, p50 {}, worst {}", ms(p99), ms(p50), ms(worst)),
        &format!("from the change at the API server to the agent of its node, {} pods", lags.times.len()),
    );
    let all = dropped + metadata.dropped + lags.lost as u64;
    line(
        &format!("changes of names lost under {under}"),
        &Goal::of("0", all == 0),
        &all.to_string(),
        &format!("{dropped} at agents, {} at metadata, {} names that did not come within {LAG_MAX:?}", metadata.dropped, lags.lost),
    );
    Ok(())
}

/// Of the metadata service, over the period.
struct Published {
    updates: u64,
    dropped: u64,
}

struct Seen {
    before: Used,
    after: Used,
    period: Duration,
    metadata: Published,
}

/// Makes pods come and go at the rate, and looks at the metadata service once as many end as begin.
async fn drive(cli: &Cli, fleet: &Fleet, cluster: &Cluster, samples: mpsc::Sender<Sample>) -> Result<Seen> {
    let rate = cli.pods_per_second;
    let total = rate * (LIFE_S + cli.seconds);
    let mut pace = tokio::time::interval(Duration::from_secs(1) / rate);
    let look = || Ok::<_, anyhow::Error>((Instant::now(), Used::by(fleet, "metadata")?, MetadataCounters::read(fleet)?));
    let (mut first, mut last) = (None, None);
    for number in 0..=total + rate * LIFE_S {
        pace.tick().await;
        if number == rate * LIFE_S {
            first = Some(look()?);
        }
        if number == total {
            last = Some(look()?);
        }
        if number < total {
            cluster.schedule(&cluster.pod(number));
        }
        if let Some(runs) = number.checked_sub(rate * START_S).filter(|runs| *runs < total) {
            run(cluster, &cluster.pod(runs), runs % SAMPLE_EVERY == 0, &samples);
        }
        if let Some(ends) = number.checked_sub(rate * LIFE_S).filter(|ends| *ends < total) {
            cluster.end(&cluster.pod(ends))?;
        }
    }
    let (began, before, counted) = first.context("nothing was looked at")?;
    let (ended, after, counts) = last.context("nothing was looked at")?;
    let since = |name: &str| Ok::<_, anyhow::Error>(counts.get(name)? - counted.get(name)?);
    let metadata = Published { updates: since("k8s_updates")?, dropped: since("messages_dropped")? + since("messages_unsent")? };
    Ok(Seen { before, after, period: ended - began, metadata })
}

fn run(cluster: &Cluster, pod: &Pod, is_sample: bool, samples: &mpsc::Sender<Sample>) {
    let sample = Sample { node: pod.node, uid: pod.uid(), address: pod.address.into(), since: Instant::now() };
    cluster.run(pod);
    if is_sample && samples.try_send(sample).is_err() {
        eprintln!("fleet-bench: names come so late that one more is not waited for");
    }
}

/// Waits for names until nobody sends samples any more.
async fn watch(names: Vec<NamesHandle>, mut samples: mpsc::Receiver<Sample>) -> Result<Lags> {
    let (mut lags, mut waiting, mut open) = (Lags::default(), Vec::<Sample>::new(), true);
    let mut look = tokio::time::interval(LOOK_AGAIN);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while open || !waiting.is_empty() {
        tokio::select! {
            sample = samples.recv(), if open => match sample {
                Some(sample) => waiting.push(sample),
                None => open = false,
            },
            _ = look.tick(), if !waiting.is_empty() => {}
        }
        let mut still = Vec::new();
        for sample in waiting {
            if is_known(&names, &sample)? {
                lags.times.push(sample.since.elapsed());
            } else if sample.since.elapsed() > LAG_MAX {
                lags.lost += 1;
            } else {
                still.push(sample);
            }
        }
        waiting = still;
    }
    Ok(lags)
}

/// Whether the agent on its node knows the pod with its address.
fn is_known(names: &[NamesHandle], sample: &Sample) -> Result<bool> {
    let names = names.get(sample.node as usize).with_context(|| format!("there is no agent {}", sample.node))?;
    Ok(names.snapshot().pod(&sample.uid).is_some_and(|pod| pod.addresses.contains(&sample.address)))
}
