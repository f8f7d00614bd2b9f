//! The agents of one process.

#[allow(clippy::unwrap_used, unreachable_pub, reason = "shared with the benchmarks of the table store")]
#[path = "../../../../../components/lib/table-store/benches/rows/mod.rs"]
mod rows;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use agent::{Backoff, Compute, DIAL_PROTOCOL, DialArgs, DialState, Dialer, KeepAlive};
use anyhow::{Context, Result};
use engine::distributed::{AgentWorker, AgentWorkerArgs};
use ids::AgentId;
use rpc::{MutualTls, PeerIdentity};
use table_store::{Budget, TableStore};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Child;

/// Rows of one append.
const BATCH_ROWS: u32 = 1000;
/// Over which the rows are spread.
const HISTORY_NS: i64 = 290_000_000_000;

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
        let worker = AgentWorker::new(id(number), store(number, rows)?, Arc::clone(&functions), AgentWorkerArgs::default());
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

fn store(number: usize, rows: u32) -> Result<Arc<TableStore>> {
    let store = TableStore::new(&Budget::default())?;
    let table = store.table("http_events").context("no http_events")?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
    let batches = rows.div_ceil(BATCH_ROWS);
    let mut random = rows::Random(number as u64);
    for batch in 0..batches {
        let time = now - HISTORY_NS + HISTORY_NS / i64::from(batches) * i64::from(batch);
        table.append(rows::http_events(&mut random, time, BATCH_ROWS as usize))?;
        table.seal()?;
    }
    Ok(Arc::new(store))
}
