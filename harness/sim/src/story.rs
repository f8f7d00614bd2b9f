//! What happens in the world of one seed.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use api::carnot::planner::dynamic_tracing::ir::logical::TracepointDeployment;
use api::carnot::planner::dynamic_tracing::ir::logical::tracepoint_deployment::TracepointProgram;
use api::vizier::services::metadata::register_tracepoint_request::TracepointRequest;
use api::vizier::services::metadata::{RegisterTracepointRequest, RemoveTracepointRequest};

use crate::vizier::{Part, Size, Vizier};
use crate::world::{Weather, World};

/// Things that happen in one world before it is left alone.
const EVENTS: usize = 14;
/// Longer than any answer of the metadata service may take.
const CALL_MAX: Duration = Duration::from_mins(1);

/// How a world ended.
#[derive(Debug)]
pub struct Told {
    /// What happened, line by line, with the world's time in seconds.
    pub trace: Vec<String>,
    /// What did not hold.
    pub outcome: anyhow::Result<()>,
}

/// Runs the world of a seed to its end. The same seed is the same story.
///
/// # Errors
/// There is no runtime.
pub fn tell(seed: u64) -> anyhow::Result<Told> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(async move {
        let world = World::new(seed);
        let outcome = live(&world).await;
        if let Err(error) = &outcome {
            world.note(&format!("FAILED: {error:#}"));
        }
        Told { trace: world.trace(), outcome }
    }))
}

async fn live(world: &std::sync::Arc<World>) -> anyhow::Result<()> {
    let size = Size { pems: 1 + world.below(4), kelvins: 1 + world.below(2), metadata: 1 + world.below(2) };
    world.note(&format!("{} PEMs, {} Kelvins, {} metadata services", size.pems, size.kelvins, size.metadata));
    world.set_weather(Weather { lost: world.below(20) as u8, twice: world.below(20) as u8, late: world.below(20) as u8 });
    let mut vizier = Vizier::start(world, size)?;
    for pem in 0..size.pems {
        vizier.append(pem, 1 + world.below(20))?;
    }
    vizier.pass(Duration::from_millis(world.below(30_000) as u64)).await?;
    for _ in 0..EVENTS {
        happen(&mut vizier).await?;
        vizier.check_step()?;
        vizier.pass(Duration::from_millis(world.below(12_000) as u64)).await?;
        vizier.check_step()?;
    }
    world.note("the faults are over");
    world.hub.clear_fates();
    world.hub.start();
    world.net.heal();
    for part in parts(size) {
        if let Some(name) = vizier.bus_name(part) {
            world.hub.mend(&name);
        }
    }
    vizier.start_all()?;
    for pem in 0..size.pems {
        vizier.append(pem, 1)?;
    }
    vizier.check_quiet().await?;
    check_tracepoint(&mut vizier).await?;
    vizier.stop().await
}

fn parts(size: Size) -> Vec<Part> {
    let agents = (0..size.pems).map(Part::Pem).chain((0..size.kelvins).map(Part::Kelvin));
    agents.chain((0..size.metadata).map(Part::Metadata)).chain([Part::Broker]).collect()
}

/// One thing, drawn from the seed.
async fn happen(vizier: &mut Vizier) -> anyhow::Result<()> {
    let world = std::sync::Arc::clone(&vizier.world);
    let all = parts(vizier.size());
    let part = all[world.below(all.len())];
    let other = all[world.below(all.len())];
    let (name, other_name) = (part.name(), other.name());
    match world.below(12) {
        0 => {
            world.note(&format!("{name} crashes"));
            vizier.crash(part);
        }
        1 => {
            world.note("what does not run is started");
            vizier.start_all()?;
        }
        2 => {
            world.note(&format!("{name} crashes and is started"));
            vizier.crash(part);
            vizier.restart(part)?;
        }
        3 => {
            world.note("the bus stops for a while");
            world.hub.stop();
            vizier.pass(Duration::from_millis(world.below(20_000) as u64)).await?;
            world.hub.start();
        }
        4 => {
            if let Some(bus_name) = vizier.bus_name(part) {
                world.note(&format!("{name} is cut off the bus for a while"));
                world.hub.cut(&bus_name, bus::Reason::Lost);
                vizier.pass(Duration::from_millis(world.below(90_000) as u64)).await?;
                world.hub.mend(&bus_name);
            }
        }
        5 => {
            world.note(&format!("{name} and {other_name} are split"));
            world.net.split(&name, &other_name);
        }
        6 => {
            world.note(&format!("nothing goes through the connections of {name} for a while"));
            world.net.stall(&name, true);
            vizier.ask(None).await?;
            world.net.stall(&name, false);
        }
        7 => {
            let seconds = [-3600, -2, 2, 3600][world.below(4)];
            world.note(&format!("the clock of {name} steps by {seconds} s"));
            vizier.step_clock(part, seconds);
        }
        8 => {
            world.note("the network heals");
            world.net.heal();
        }
        9 => {
            let after = Duration::from_millis(world.below(50) as u64);
            vizier.ask(Some((after, part))).await?;
        }
        10 => {
            let pem = world.below(vizier.size().pems);
            vizier.append(pem, 1 + world.below(500))?;
        }
        _ => vizier.ask(None).await?,
    }
    Ok(())
}

/// A tracepoint reaches every node, and leaves every node.
async fn check_tracepoint(vizier: &mut Vizier) -> anyhow::Result<()> {
    let broker = vizier.broker().context("there is no broker")?;
    let (mut register, mut remove) = (broker.tracepoints(), broker.tracepoints());
    let program = TracepointProgram { table_name: "probe".to_owned(), ..TracepointProgram::default() };
    let deployment = TracepointDeployment { name: "probe".to_owned(), programs: vec![program], ..TracepointDeployment::default() };
    let request = TracepointRequest {
        tracepoint_deployment: Some(deployment),
        name: "probe".to_owned(),
        ttl: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
    };
    let registered = register.register_tracepoint(RegisterTracepointRequest { requests: vec![request] });
    tokio::time::timeout(CALL_MAX, registered).await.context("registering has no end")?.context("registering a tracepoint")?;
    vizier.pass(CALL_MAX).await?;
    ensure!(vizier.deployed().iter().all(|deployed| *deployed == 1), "deployed on the nodes: {:?}", vizier.deployed());
    let removed = remove.remove_tracepoint(RemoveTracepointRequest { names: vec!["probe".to_owned()] });
    tokio::time::timeout(CALL_MAX, removed).await.context("removing has no end")?.context("removing a tracepoint")?;
    vizier.pass(CALL_MAX).await?;
    ensure!(vizier.deployed().iter().all(|deployed| *deployed == 0), "left on the nodes: {:?}", vizier.deployed());
    Ok(())
}
