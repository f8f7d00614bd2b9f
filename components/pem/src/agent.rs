use std::sync::Arc;
use std::time::Duration;

use collectors::{Collector, Collectors, Settings, State, Status, WayChoice};
use engine::EventsLost;
use ids::{Asid, Upid};
use table_store::{Budget, TableStore};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::args::{Capture, PemArgs};
use crate::collect::CollectLoop;
use crate::error::Error;
use crate::processes::{ProcessObserver, Processes};

/// How often hot batches are sealed: the original compacts once a minute, which leaves a minute of traffic uncompressed.
const SEAL_PERIOD: Duration = Duration::from_secs(1);

/// A running node agent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pem {
    store: Arc<TableStore>,
    processes: Processes,
    statuses: Arc<[Status]>,
    events_lost: EventsLost,
}

impl Pem {
    /// Its tables.
    pub fn store(&self) -> &Arc<TableStore> {
        &self.store
    }

    /// The names of the node's processes.
    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    /// Events that never became rows.
    pub fn events_lost(&self) -> &EventsLost {
        &self.events_lost
    }

    /// What each collector came to.
    pub fn statuses(&self) -> &[Status] {
        &self.statuses
    }
}

/// Starts the node agent: what the kernel has is attached when this returns, and rows come from then on. A hook that is missing
/// costs its rows and is told in the statuses, in `stirling_error` and in the log.
///
/// # Errors
/// The budget of the tables does not add up, or a thread cannot be made.
pub fn start(args: &PemArgs, asid: Asid, stop: &CancellationToken, tasks: &TaskTracker) -> Result<Pem, Error> {
    start_observed(args, asid, None, (stop, tasks))
}

/// The same, for somebody who is told of processes.
pub(crate) fn start_observed(
    args: &PemArgs,
    asid: Asid,
    observer: Option<ProcessObserver>,
    (stop, tasks): (&CancellationToken, &TaskTracker),
) -> Result<Pem, Error> {
    let budget =
        Budget { total_bytes: args.table_store_bytes_max, http_events_percent: args.table_store_http_events_percent, ..Budget::default() };
    let store = Arc::new(TableStore::new(&budget).map_err(Error::Tables)?);
    let processes = Processes::default();
    let Collectors { statuses, source } = collect(args, asid);
    log(&statuses);
    let own = own_upid(asid);
    let events_lost = EventsLost::default();
    let named = (processes.clone(), events_lost.clone(), observer);
    let collect = CollectLoop::new(args, own, asid, source, Arc::clone(&store), named, &statuses);
    let stop_thread = stop.clone();
    let (ended, has_ended) = oneshot::channel::<()>();
    std::thread::Builder::new()
        .name("pem-collect".to_owned())
        .spawn(move || {
            collect.run(&stop_thread);
            drop(ended);
        })
        .map_err(|source| Error::Thread { name: "pem-collect", source })?;
    // Owned by the tracker like any task: it is over when the thread is, however that ends.
    tasks.spawn(async move { has_ended.await.unwrap_or_default() });
    tasks.spawn(seal(Arc::clone(&store), stop.clone()));
    Ok(Pem { store, processes, statuses: statuses.into(), events_lost })
}

fn collect(args: &PemArgs, asid: Asid) -> Collectors {
    let way = match args.capture {
        Capture::Auto => WayChoice::Auto,
        Capture::SocketLayer => WayChoice::SocketLayer,
        Capture::SyscallExit => WayChoice::CallExit,
        Capture::Off => {
            let off = |collector| Status { collector, state: State::Off };
            return Collectors {
                statuses: [Collector::SocketData, Collector::SocketState, Collector::Process].map(off).into(),
                source: None,
            };
        }
    };
    Collectors::start(&Settings { way, ring_bytes: args.ring_bytes, asid, ..Settings::default() })
}

fn log(statuses: &[Status]) {
    for status in statuses {
        match &status.state {
            State::Running { way } => {
                tracing::info!(collector = %status.collector, way = way.map(tracing::field::display), "collector runs");
            }
            State::Off => tracing::info!(collector = %status.collector, "collector is off"),
            State::Failed { reason, remedy } => {
                tracing::error!(collector = %status.collector, reason, remedy, "collector failed: its rows are missing");
            }
        }
    }
}

/// Seals hot batches until the stop.
async fn seal(store: Arc<TableStore>, stop: CancellationToken) {
    let mut period = tokio::time::interval(SEAL_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
        }
        let store = Arc::clone(&store);
        // Compressing is computing: it must not hold up the other tasks.
        match tokio::task::spawn_blocking(move || store.seal()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "a batch cannot be sealed and stays uncompressed"),
            Err(error) => tracing::error!(%error, "sealing ended"),
        }
    }
}

/// The agent as a process: what the rows about itself are attributed to.
fn own_upid(asid: Asid) -> Upid {
    let start_ticks = std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| start_ticks(&stat)).unwrap_or(0);
    Upid::new(asid, std::process::id(), start_ticks)
}

/// Field 22 of `/proc/PID/stat`. The name, in parentheses, may hold anything: fields are counted from its end.
pub(crate) fn start_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let stat = "42 (a ) (b) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 9 10";
        assert_eq!(start_ticks(stat), Some(987_654));
        assert_eq!(start_ticks("42 (x) S 1"), None);
    }

    #[tokio::test]
    async fn without_collectors_the_agent_starts_and_stops() {
        let args = PemArgs {
            table_store_bytes_max: 64 << 20,
            table_store_http_events_percent: 40,
            ring_bytes: 1 << 16,
            capture: Capture::Off,
            conn_stats_period_ms: 10_000,
        };
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let pem = start(&args, Asid(1), &stop, &tasks).unwrap();
        assert!(pem.store().table("http_events").is_some());
        let statuses: Vec<_> = pem.statuses().iter().map(ToString::to_string).collect();
        assert_eq!(statuses, ["socket data: off", "socket state: off", "process: off"]);
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }

    #[test]
    fn a_budget_that_does_not_add_up_is_an_error() {
        let args = PemArgs {
            table_store_bytes_max: 1,
            table_store_http_events_percent: 40,
            ring_bytes: 1 << 16,
            capture: Capture::Off,
            conn_stats_period_ms: 10_000,
        };
        let error = start(&args, Asid(1), &CancellationToken::new(), &TaskTracker::new()).unwrap_err();
        assert!(matches!(error, Error::Tables(_)), "{error}");
    }
}
