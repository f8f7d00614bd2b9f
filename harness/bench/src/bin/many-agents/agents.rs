//! The agents of one process.

use std::sync::Arc;

use agent::{Backoff, Compute, DIAL_PROTOCOL, DialArgs, DialState, Dialer, KeepAlive};
use anyhow::Result;
use engine::distributed::{AgentWorker, AgentWorkerArgs};
use harness_bench::with_http_events;
use ids::AgentId;
use rpc::{MutualTls, PeerIdentity};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Child;

/// The agent of that number.
pub(crate) fn id(number: usize) -> AgentId {
    AgentId::from_halves(1, number as u64)
}

/// Serves until nobody holds standard input any more. Prints a line when all are connected.
pub(crate) async fn run(child: &Child, rows: u32) -> Result<()> {
    let file = |name: &str| child.certificates.join(name);
    let identity = PeerIdentity::read(&file("ca.crt"), &file("peer.crt"), &file("peer.key"))?;
    let tls = MutualTls::new(&identity, DIAL_PROTOCOL)?.client();
    let functions = Arc::new(funcs::registry(&funcs::Environment::default()));
    let compute = Compute::new(2)?;
    let stop = CancellationToken::new();
    let (mut states, mut tasks) = (Vec::new(), tokio::task::JoinSet::new());
    for number in child.first..child.first + child.count {
        let worker =
            AgentWorker::new(id(number), with_http_events(number as u64, rows)?, Arc::clone(&functions), AgentWorkerArgs::default());
        let dialer = Dialer::new(id(number), worker, compute.handle().clone(), Arc::clone(&tls));
        let args = DialArgs {
            address: child.kelvin.to_string(),
            server_name: "localhost".to_owned(),
            keep_alive: KeepAlive::default(),
            backoff: Backoff::default(),
        };
        let (sender, state) = watch::channel(DialState::default());
        let stop = stop.clone();
        tasks.spawn(async move { dialer.run(&args, &sender, &stop).await });
        states.push(state);
    }
    for mut state in states {
        state.wait_for(|state| state.connected).await?;
    }
    println!("ready");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    stop.cancel();
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
