//! One dialler for each Kelvin that is alive.
//!
//! ```text
//! heartbeats' answers ─▶ Cluster.kelvins ─▶ plan(wanted, running, now) ─▶ Start, Stop ─▶ tasks, each a Dialer
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ids::{AgentId, MonoNs};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::life::{Cluster, Kelvin};
use crate::{Backoff, DialArgs, DialState, Dialer, KeepAlive};

/// A Kelvin that is listed no more is dialled for as long: a metadata service that has just started does not know all of them yet.
pub const KELVIN_LINGER: Duration = Duration::from_secs(30);
/// More are not dialled: there are two or three in a cluster.
pub const KELVINS_MAX: usize = 64;

/// A Kelvin that is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialled {
    /// As it was listed last.
    pub kelvin: Kelvin,
    /// Since when it is listed no more.
    pub unlisted: Option<MonoNs>,
}

/// What to do about a Kelvin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialAction {
    /// It is dialled no more.
    Stop(AgentId),
    /// It is dialled from now on.
    Start(Kelvin),
    /// It is listed no more, from now on.
    Miss(AgentId),
    /// It is listed again.
    Keep(AgentId),
}

impl fmt::Display for DialAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialAction::Stop(id) => write!(f, "stop dialling {id}"),
            DialAction::Start(kelvin) => write!(f, "dial {} at {}", kelvin.id, kelvin.address),
            DialAction::Miss(id) => write!(f, "{id} is listed no more"),
            DialAction::Keep(id) => write!(f, "{id} is listed again"),
        }
    }
}

/// From what is listed and what is dialled to what has to be done. Nothing, if both agree.
pub fn plan(wanted: &[Kelvin], running: &BTreeMap<AgentId, Dialled>, now: MonoNs) -> Vec<DialAction> {
    let wanted: BTreeMap<AgentId, &Kelvin> = wanted.iter().map(|kelvin| (kelvin.id, kelvin)).take(KELVINS_MAX).collect();
    let mut actions = Vec::new();
    for (id, dialled) in running {
        match (wanted.get(id), dialled.unlisted) {
            (Some(kelvin), _) if **kelvin != dialled.kelvin => {
                actions.extend([DialAction::Stop(*id), DialAction::Start((*kelvin).clone())]);
            }
            (Some(_), Some(_)) => actions.push(DialAction::Keep(*id)),
            (None, Some(since)) if now.since(since) >= KELVIN_LINGER => actions.push(DialAction::Stop(*id)),
            (Some(_), None) | (None, Some(_)) => {}
            (None, None) => actions.push(DialAction::Miss(*id)),
        }
    }
    actions.extend(wanted.into_values().filter(|kelvin| !running.contains_key(&kelvin.id)).cloned().map(DialAction::Start));
    actions
}

type States = BTreeMap<AgentId, (Kelvin, watch::Receiver<DialState>)>;

/// Who is dialled, and how the connection is. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct DialStates {
    states: Arc<Mutex<States>>,
}

impl DialStates {
    /// Each Kelvin that is dialled, by id.
    pub fn all(&self) -> Vec<(Kelvin, DialState)> {
        self.states.lock().values().map(|(kelvin, state)| (kelvin.clone(), state.borrow().clone())).collect()
    }

    /// How many connections carry queries.
    pub fn connected(&self) -> usize {
        self.states.lock().values().filter(|(_, state)| state.borrow().connected).count()
    }
}

struct Task {
    dialled: Dialled,
    stop: CancellationToken,
}

/// Dials every Kelvin that is alive. Runs in [`Self::run`].
pub struct DialSet {
    dialer: Dialer,
    states: DialStates,
    tasks: TaskTracker,
    running: BTreeMap<AgentId, Task>,
    began: Instant,
}

impl fmt::Debug for DialSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialSet").field("running", &self.running.keys()).finish_non_exhaustive()
    }
}

impl DialSet {
    /// Dials nobody yet. `tasks` owns the tasks of the connections.
    pub fn new(dialer: Dialer, tasks: TaskTracker) -> (DialSet, DialStates) {
        let states = DialStates::default();
        let set = DialSet { dialer, states: states.clone(), tasks, running: BTreeMap::new(), began: Instant::now() };
        (set, states)
    }

    /// Follows what is known of the cluster, until the stop; then no connection is left.
    pub async fn run(mut self, mut cluster: watch::Receiver<Arc<Cluster>>, stop: &CancellationToken) {
        // Whoever is listed no more is looked at again when the time is over.
        let mut period = tokio::time::interval(KELVIN_LINGER / 2);
        loop {
            let known = Arc::clone(&cluster.borrow_and_update());
            self.apply(&known.kelvins, stop);
            tokio::select! {
                () = stop.cancelled() => break,
                _ = period.tick() => {}
                changed = cluster.changed() => if changed.is_err() {
                    // Nobody tells any more: those that are known are served on.
                    stop.cancelled().await;
                    break;
                },
            }
        }
        for task in self.running.values() {
            task.stop.cancel();
        }
    }

    fn apply(&mut self, wanted: &[Kelvin], stop: &CancellationToken) {
        let now = MonoNs(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let running = self.running.iter().map(|(id, task)| (*id, task.dialled.clone())).collect();
        for action in plan(wanted, &running, now) {
            tracing::debug!(%action, "kelvins changed");
            match action {
                DialAction::Stop(id) => {
                    self.states.states.lock().remove(&id);
                    if let Some(task) = self.running.remove(&id) {
                        task.stop.cancel();
                    }
                }
                DialAction::Miss(id) => self.set_unlisted(id, Some(now)),
                DialAction::Keep(id) => self.set_unlisted(id, None),
                DialAction::Start(kelvin) => self.start(kelvin, stop.child_token()),
            }
        }
    }

    fn set_unlisted(&mut self, id: AgentId, unlisted: Option<MonoNs>) {
        if let Some(task) = self.running.get_mut(&id) {
            task.dialled.unlisted = unlisted;
        }
    }

    fn start(&mut self, kelvin: Kelvin, stop: CancellationToken) {
        let args = DialArgs {
            address: kelvin.address.clone(),
            server_name: kelvin.server_name.clone(),
            keep_alive: KeepAlive::default(),
            backoff: Backoff::default(),
        };
        let (sender, state) = watch::channel(DialState::default());
        self.states.states.lock().insert(kelvin.id, (kelvin.clone(), state));
        let (dialer, stopped) = (self.dialer.clone(), stop.clone());
        self.running.insert(kelvin.id, Task { dialled: Dialled { kelvin, unlisted: None }, stop });
        self.tasks.spawn(async move {
            if let Err(error) = dialer.run(&args, &sender, &stopped).await {
                tracing::error!(kelvin = args.address, %error, "this Kelvin is not dialled");
                sender.send_replace(DialState { connected: false, failed: 1, reason: Some(error.to_string()) });
                // What is said of it stays until it is told to go.
                stopped.cancelled().await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kelvin(number: u8, port: u8) -> Kelvin {
        Kelvin { id: AgentId::from_halves(0, number.into()), address: format!("kelvin:{port}"), server_name: "kelvin".to_owned() }
    }

    /// What the actions make of the world.
    fn apply(running: &mut BTreeMap<AgentId, Dialled>, actions: &[DialAction], now: MonoNs) {
        for action in actions {
            match action.clone() {
                DialAction::Stop(id) => assert!(running.remove(&id).is_some(), "only what runs is stopped"),
                DialAction::Start(kelvin) => {
                    assert!(running.insert(kelvin.id, Dialled { kelvin, unlisted: None }).is_none(), "nobody is dialled twice");
                }
                DialAction::Miss(id) => running.get_mut(&id).unwrap().unlisted = Some(now),
                DialAction::Keep(id) => running.get_mut(&id).unwrap().unlisted = None,
            }
        }
    }

    proptest! {
        #[test]
        fn after_a_plan_nothing_is_left_to_do(steps in prop::collection::vec((prop::collection::btree_map(0_u8..5, 0_u8..3, 0..5), 0_u64..40), 1..20)) {
            let (mut running, mut now) = (BTreeMap::new(), MonoNs(0));
            for (wanted, seconds) in steps {
                now = now.plus(Duration::from_secs(seconds));
                let wanted: Vec<Kelvin> = wanted.into_iter().map(|(number, port)| kelvin(number, port)).collect();
                let actions = plan(&wanted, &running, now);
                apply(&mut running, &actions, now);
                prop_assert_eq!(plan(&wanted, &running, now), vec![]);
                for kelvin in &wanted {
                    prop_assert_eq!(&running[&kelvin.id].kelvin, kelvin);
                }
                let much_later = now.plus(KELVIN_LINGER);
                let mut later = running.clone();
                let actions = plan(&wanted, &later, much_later);
                apply(&mut later, &actions, much_later);
                prop_assert_eq!(later.len(), wanted.len(), "who is listed no more is let go");
            }
        }
    }

    #[test]
    fn a_list_that_is_empty_for_a_moment_costs_no_connection() {
        let running = BTreeMap::from([(kelvin(1, 1).id, Dialled { kelvin: kelvin(1, 1), unlisted: None })]);
        assert_eq!(plan(&[], &running, MonoNs(5)), [DialAction::Miss(kelvin(1, 1).id)]);
        let running = BTreeMap::from([(kelvin(1, 1).id, Dialled { kelvin: kelvin(1, 1), unlisted: Some(MonoNs(5)) })]);
        assert_eq!(plan(&[], &running, MonoNs(9)), []);
        assert_eq!(plan(&[kelvin(1, 1)], &running, MonoNs(9)), [DialAction::Keep(kelvin(1, 1).id)]);
        let late = MonoNs(5).plus(KELVIN_LINGER);
        assert_eq!(plan(&[], &running, late), [DialAction::Stop(kelvin(1, 1).id)]);
        let moved = plan(&[kelvin(1, 2)], &running, late).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let id = kelvin(1, 2).id;
        assert_eq!(moved, format!("stop dialling {id}; dial {id} at kelvin:2"));
    }
}
