//! The laws of the plan: whatever happens, what is done until nothing is to be done makes the agents as they were wanted.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::{AgentId, MonoNs, TracepointId, UnixNs};
use metadata::agents::{Incarnation, KernelVersion, Now};
use metadata::tracepoints::{ASK_AGAIN_AFTER, Action, Book, Deployment, Node, Program, Report, Selector, State, Status, Wanted, plan};
use proptest::prelude::*;

/// More rounds than any world of this test needs.
const ROUNDS_MAX: usize = 50;

#[derive(Debug, Clone)]
enum Event {
    Register {
        name: u8,
        variant: u8,
        seconds: u64,
    },
    Remove {
        name: u8,
    },
    Join {
        agent: u8,
    },
    Leave {
        agent: u8,
    },
    Wait {
        seconds: u64,
    },
    /// Agents answer to what they were told, but for those whose answers are lost.
    Talk {
        lost: BTreeSet<u8>,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..3_u8, 0..3_u8, 1..40_u64).prop_map(|(name, variant, seconds)| Event::Register { name, variant, seconds }),
        (0..3_u8).prop_map(|name| Event::Remove { name }),
        (0..4_u8).prop_map(|agent| Event::Join { agent }),
        (0..4_u8).prop_map(|agent| Event::Leave { agent }),
        (0..30_u64).prop_map(|seconds| Event::Wait { seconds }),
        prop::collection::btree_set(0..4_u8, 0..4).prop_map(|lost| Event::Talk { lost }),
    ]
}

/// Agents as they are, and what the service knows.
#[derive(Default)]
struct World {
    book: Book,
    seconds: u64,
    registered: u64,
    /// Live agents with the tracepoints that run there.
    agents: BTreeMap<u8, (u64, BTreeSet<TracepointId>)>,
    incarnations: u64,
}

fn deployment(variant: u8) -> Deployment {
    let program = |table: &str, selectors| Program { table: table.to_owned(), selectors, body: vec![variant] };
    let kernel = KernelVersion { version: 6, major: 2, minor: 0 };
    let programs = match variant {
        0 => vec![program("all", vec![])],
        1 => vec![
            program("new", vec![Selector::KernelMin(kernel)]),
            program("old", vec![Selector::KernelMax(KernelVersion { major: 1, ..kernel })]),
        ],
        _ => vec![program("one", vec![Selector::Host("node-1".to_owned())])],
    };
    Deployment { target: vec![], programs }
}

impl World {
    fn now(&self) -> Now {
        Now { mono: MonoNs(self.seconds * 1_000_000_000), wall: UnixNs(self.seconds as i64 * 1_000_000_000) }
    }

    fn nodes(&self) -> Vec<Node> {
        let node = |(agent, (incarnation, _)): (&u8, &(u64, BTreeSet<TracepointId>))| Node {
            agent: AgentId::from_halves(1, u64::from(*agent)),
            incarnation: Incarnation(*incarnation),
            kernel: KernelVersion { version: 6, major: u32::from(*agent), minor: 0 },
            hostname: format!("node-{agent}"),
        };
        self.agents.iter().map(node).collect()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Register { name, variant, seconds } => {
                self.registered += 1;
                let (id, life) = (TracepointId::from_halves(2, self.registered), Duration::from_secs(seconds));
                self.book.register(id, &format!("probe-{name}"), deployment(variant), life, self.now()).unwrap();
            }
            Event::Remove { name } => {
                self.book.remove(&format!("probe-{name}"));
            }
            Event::Join { agent } => {
                self.incarnations += 1;
                self.agents.insert(agent, (self.incarnations, BTreeSet::new()));
            }
            Event::Leave { agent } => {
                self.agents.remove(&agent);
            }
            Event::Wait { seconds } => self.seconds += seconds,
            Event::Talk { lost } => {
                self.talk(&lost);
            }
        }
    }

    /// Does what is to be done; agents answer but for `lost`. Says what was done.
    fn talk(&mut self, lost: &BTreeSet<u8>) -> Vec<Action> {
        let actions = plan(&self.book, &self.nodes(), self.now());
        for action in &actions {
            self.book.apply(action, self.now());
            let (id, agent, incarnation, state) = match *action {
                Action::Deploy { id, agent, incarnation } => (id, agent, incarnation, State::Running),
                Action::Remove { id, agent, incarnation } => (id, agent, incarnation, State::Terminated),
                Action::Expire { .. } | Action::ForgetReport { .. } | Action::Forget { .. } => continue,
            };
            let number = agent.to_halves().1 as u8;
            let Some((_, running)) = self.agents.get_mut(&number) else { continue };
            if state == State::Running {
                running.insert(id)
            } else {
                running.remove(&id)
            };
            if !lost.contains(&number) {
                self.book.report(id, agent, Report { incarnation, state, status: Status::default() });
            }
        }
        actions
    }

    /// What each agent should run.
    fn wanted(&self) -> BTreeMap<u8, BTreeSet<TracepointId>> {
        let running = |node: &Node| {
            let fits = self.book.all().filter(|tracepoint| tracepoint.wanted == Wanted::Running && tracepoint.deployment.fits(node));
            fits.map(|tracepoint| tracepoint.id).collect()
        };
        self.nodes().iter().map(|node| (node.agent.to_halves().1 as u8, running(node))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_plan_comes_to_rest_where_everything_is_as_it_is_wanted(events in prop::collection::vec(event(), 0..40)) {
        let mut world = World::default();
        for event in events {
            world.happen(event);
        }
        let mut rounds = 0;
        // What was asked for and not answered is asked for again.
        world.seconds += ASK_AGAIN_AFTER.as_secs();
        while !world.talk(&BTreeSet::new()).is_empty() {
            rounds += 1;
            prop_assert!(rounds < ROUNDS_MAX, "it never rests");
        }
        let running: BTreeMap<u8, BTreeSet<TracepointId>> = world.agents.iter().map(|(agent, (_, running))| (*agent, running.clone())).collect();
        prop_assert_eq!(running, world.wanted());
        prop_assert!(world.book.all().all(|tracepoint| tracepoint.wanted == Wanted::Running), "what is gone is forgotten");
        let names: Vec<&str> = world.book.all().map(|tracepoint| tracepoint.name.as_str()).collect();
        prop_assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "a name is unique");
    }

    #[test]
    fn nothing_is_asked_for_twice_in_a_row(events in prop::collection::vec(event(), 0..40)) {
        let mut world = World::default();
        let everybody = BTreeSet::from([0, 1, 2, 3]);
        for event in events {
            world.happen(event);
            let first: BTreeSet<Action> = world.talk(&everybody).into_iter().collect();
            let second = world.talk(&everybody);
            prop_assert!(second.iter().all(|action| !first.contains(action)), "{first:?} {second:?}");
        }
    }
}
