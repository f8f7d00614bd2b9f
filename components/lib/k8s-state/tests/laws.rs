//! What holds for every sequence of events: against a cluster that remembers everything and is searched from end to end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ids::UnixNs;
use k8s_state::{
    Change, Container, ContainerId, ContainerState, Endpoint, EndpointSlice, Feed, FeedVersion, Followed, Follower, Kind, Limits, Meta,
    Missing, Moment, Object, Outcome, Phase, Pod, Qos, ResourceVersion, Runtime, Scope, Service, State, Uid,
};
use proptest::prelude::*;

const SECOND: i64 = 1_000_000_000;
const SLOTS: usize = 5;
const ADDRESSES: u8 = 3;
const SERVICES: usize = 2;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A pod under the slot's name, if there is none.
    Create(usize),
    /// It gets an address, if it has none and the address is free.
    Address(usize, u8),
    /// Its processes end; the object stays.
    End(usize),
    /// Its container is another one.
    Restart(usize),
    Delete(usize),
    Join(usize, usize),
    Part(usize, usize),
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let slot = 0..SLOTS;
    let step = prop_oneof![
        3 => slot.clone().prop_map(Step::Create),
        4 => (slot.clone(), 0..ADDRESSES).prop_map(|(slot, address)| Step::Address(slot, address)),
        1 => slot.clone().prop_map(Step::End),
        1 => slot.clone().prop_map(Step::Restart),
        2 => slot.clone().prop_map(Step::Delete),
        2 => (slot.clone(), 0..SERVICES).prop_map(|(slot, service)| Step::Join(slot, service)),
        1 => (slot, 0..SERVICES).prop_map(|(slot, service)| Step::Part(slot, service)),
        2 => (1..20_i64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..80)
}

/// What one thing was to another from when to when.
#[derive(Debug, Clone)]
struct Fact<A, B> {
    of: A,
    is: B,
    from: i64,
    until: Option<i64>,
}

/// The cluster: what there is, all that ever was, and the changes that a watcher would have seen, each when it happened.
#[derive(Default)]
struct World {
    now: i64,
    version: u64,
    made: usize,
    pods: BTreeMap<usize, Pod>,
    members: [Vec<Uid>; SERVICES],
    changes: Vec<Change>,
    held: Vec<Fact<IpAddr, Uid>>,
    named: Vec<Fact<usize, Uid>>,
    served: Vec<Fact<Uid, usize>>,
    containers: Vec<(ContainerId, Uid)>,
}

impl World {
    fn of(steps: &[Step]) -> World {
        let mut world = World { now: SECOND, ..World::default() };
        for service in 0..SERVICES {
            world.version += 1;
            let meta = world.meta(Uid::new(format!("s{service}")), service_name(service));
            world.change(Object::Service(Service { meta, cluster_addresses: vec![], external_addresses: vec![] }));
        }
        for step in steps {
            world.step(*step);
        }
        world
    }

    fn meta(&self, uid: Uid, name: String) -> Meta {
        let version = ResourceVersion(self.version);
        Meta { uid, namespace: "n".into(), name: name.into(), version, created: UnixNs(self.now), labels: BTreeMap::new(), owners: vec![] }
    }

    fn change(&mut self, object: Object) {
        self.changes.push(Change::put(object, UnixNs(self.now)));
    }

    fn changed(&mut self, slot: usize) {
        self.version += 1;
        if let Some(pod) = self.pods.get_mut(&slot) {
            pod.meta.version = ResourceVersion(self.version);
            let pod = pod.clone();
            self.change(Object::Pod(pod));
        }
    }

    fn slice(&self, service: usize) -> Object {
        let mut meta = self.meta(Uid::new(format!("e{service}")), format!("{}-x", service_name(service)));
        meta.created = UnixNs(SECOND);
        let endpoints = self.members[service].iter().map(|pod| Endpoint { addresses: vec![], pod: Some(pod.clone()) }).collect();
        Object::EndpointSlice(EndpointSlice { meta, service: service_name(service).into(), endpoints })
    }

    fn release(&mut self, uid: &Uid) {
        for fact in self.held.iter_mut().filter(|fact| fact.is == *uid && fact.until.is_none()) {
            fact.until = Some(self.now);
        }
    }

    fn new_container(&mut self, pod: &Uid) -> Container {
        let id = ContainerId::new(format!("c{}", self.containers.len()));
        self.containers.push((id.clone(), pod.clone()));
        Container {
            id,
            name: "app".into(),
            runtime: Runtime::Containerd,
            state: ContainerState::Running,
            started: None,
            stopped: None,
            message: "".into(),
            reason: "".into(),
            restarts: 0,
        }
    }

    fn step(&mut self, step: Step) {
        // Two things that happen to one object never happen at the same time.
        self.now += SECOND;
        match step {
            Step::Create(slot) if !self.pods.contains_key(&slot) => self.create(slot),
            Step::Address(slot, address) => self.give(slot, address),
            Step::End(slot) => {
                if let Some(pod) = self.pods.get_mut(&slot) {
                    pod.phase = Phase::Failed;
                    let uid = pod.meta.uid.clone();
                    self.release(&uid);
                    self.changed(slot);
                }
            }
            Step::Restart(slot) => {
                if let Some(uid) = self.pods.get(&slot).map(|pod| pod.meta.uid.clone()) {
                    let container = self.new_container(&uid);
                    if let Some(pod) = self.pods.get_mut(&slot) {
                        pod.containers = vec![container];
                    }
                    self.changed(slot);
                }
            }
            Step::Delete(slot) => self.delete(slot),
            Step::Join(slot, service) => {
                if let Some(uid) = self.pods.get(&slot).map(|pod| pod.meta.uid.clone())
                    && !self.members[service].contains(&uid)
                {
                    self.members[service].push(uid.clone());
                    self.served.retain(|fact| fact.of != uid || fact.is != service);
                    self.served.push(Fact { of: uid, is: service, from: 0, until: None });
                    self.version += 1;
                    self.change(self.slice(service));
                }
            }
            Step::Part(slot, service) => {
                if let Some(uid) = self.pods.get(&slot).map(|pod| pod.meta.uid.clone())
                    && self.members[service].contains(&uid)
                {
                    self.members[service].retain(|member| *member != uid);
                    for fact in self.served.iter_mut().filter(|fact| fact.of == uid && fact.is == service) {
                        fact.until = Some(self.now);
                    }
                    self.version += 1;
                    self.change(self.slice(service));
                }
            }
            Step::Wait(seconds) => self.now += seconds * SECOND,
            Step::Create(_) => {}
        }
    }

    fn create(&mut self, slot: usize) {
        self.made += 1;
        self.version += 1;
        let uid = Uid::new(format!("p{}", self.made));
        let meta = self.meta(uid.clone(), format!("pod-{slot}"));
        let pod = Pod {
            meta,
            node: "".into(),
            hostname: "".into(),
            addresses: vec![],
            host_address: None,
            host_network: false,
            phase: Phase::Pending,
            qos: Qos::BestEffort,
            message: "".into(),
            reason: "".into(),
            conditions: vec![],
            leaving: false,
            containers: vec![self.new_container(&uid)],
        };
        self.pods.insert(slot, pod.clone());
        self.named.push(Fact { of: slot, is: uid, from: self.now, until: None });
        self.change(Object::Pod(pod));
    }

    fn give(&mut self, slot: usize, number: u8) {
        let address = address(number);
        let free = self.held.iter().all(|fact| fact.of != address || fact.until.is_some());
        let Some(pod) = self.pods.get_mut(&slot).filter(|pod| free && pod.addresses.is_empty() && !pod.phase.has_ended()) else { return };
        (pod.addresses, pod.phase) = (vec![address], Phase::Running);
        self.held.push(Fact { of: address, is: pod.meta.uid.clone(), from: self.now, until: None });
        self.changed(slot);
    }

    /// First it leaves, then its services drop it, then it is gone.
    fn delete(&mut self, slot: usize) {
        let Some(pod) = self.pods.get_mut(&slot) else { return };
        pod.leaving = true;
        let uid = pod.meta.uid.clone();
        self.changed(slot);
        for service in 0..SERVICES {
            if self.members[service].contains(&uid) {
                self.members[service].retain(|member| *member != uid);
                self.version += 1;
                self.change(self.slice(service));
            }
        }
        self.now += SECOND;
        self.version += 1;
        self.pods.remove(&slot);
        self.release(&uid);
        for fact in self.named.iter_mut().filter(|fact| fact.is == uid) {
            fact.until = Some(self.now);
        }
        self.changes.push(Change::gone(uid, ResourceVersion(self.version), UnixNs(self.now)));
    }

    fn live(&self, kind: Kind) -> Vec<Object> {
        let pods = self.pods.values().cloned().map(Object::Pod);
        let slices = (0..SERVICES).filter_map(|service| self.last_slice(service));
        pods.chain(slices).filter(|object| object.kind() == kind).collect()
    }

    fn last_slice(&self, service: usize) -> Option<Object> {
        let uid = Uid::new(format!("e{service}"));
        self.changes.iter().rev().find_map(|change| match change {
            Change::Put { object, .. } if object.meta().uid == uid => Some(object.as_ref().clone()),
            Change::Put { .. } | Change::Gone { .. } => None,
        })
    }
}

fn service_name(service: usize) -> String {
    format!("service-{service}")
}

fn address(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

fn folded(changes: &[Change]) -> State {
    let mut state = State::new(Limits::default());
    for change in changes {
        assert_eq!(state.apply(change), Outcome::Applied, "{change:?}");
    }
    state
}

fn then<A: PartialEq, B: Clone>(facts: &[Fact<A, B>], of: &A, time: i64) -> Vec<B> {
    let held = |fact: &&Fact<A, B>| fact.of == *of && fact.from <= time && fact.until.is_none_or(|until| time < until);
    facts.iter().filter(held).map(|fact| fact.is.clone()).collect()
}

/// Whether the state answers as the world remembers, at every moment.
fn agrees(world: &World, state: &State) -> Result<(), TestCaseError> {
    let view = state.view();
    for half_seconds in 0..(world.now / SECOND + 2) * 2 {
        let time = half_seconds * SECOND / 2;
        let at = Moment::At(UnixNs(time));
        for address in (0..ADDRESSES).map(address) {
            let found: Vec<Uid> = view.pod_of_address(address, at).iter().map(|pod| pod.meta.uid.clone()).collect();
            prop_assert_eq!(found, then(&world.held, &address, time), "{} at {}", address, time);
        }
        for slot in 0..SLOTS {
            let found: Vec<Uid> = view.pod_named("n", &format!("pod-{slot}"), at).iter().map(|pod| pod.meta.uid.clone()).collect();
            prop_assert_eq!(found, then(&world.named, &slot, time), "{} at {}", slot, time);
        }
        for fact in &world.named {
            let found: Vec<String> = view.services_of_pod(&fact.is, at).iter().map(|service| service.meta.name.to_string()).collect();
            let mut expected: Vec<String> = then(&world.served, &fact.is, time).into_iter().map(service_name).collect();
            expected.sort();
            prop_assert_eq!(found, expected, "{} at {}", fact.is, time);
        }
    }
    for (id, pod) in &world.containers {
        prop_assert_eq!(view.container(id).map(|(container, pod)| (&container.id, pod.record.uid())), Some((id, pod)));
    }
    Ok(())
}

proptest! {
    #[test]
    fn it_answers_as_a_cluster_that_remembers_everything(steps in steps()) {
        let world = World::of(&steps);
        agrees(&world, &folded(&world.changes))?;
    }

    #[test]
    fn what_is_known_already_changes_nothing(steps in steps(), again in prop::collection::vec(any::<prop::sample::Index>(), 1..20)) {
        let world = World::of(&steps);
        let mut state = State::new(Limits::default());
        for (done, change) in world.changes.iter().enumerate() {
            state.apply(change);
            let before = state.snapshot();
            for repeated in again.iter().map(|index| index.index(done + 1)) {
                prop_assert_eq!(state.apply(&world.changes[repeated]), Outcome::Old);
            }
            prop_assert!(state.snapshot() == before);
        }
        prop_assert!(state.snapshot() == folded(&world.changes).snapshot());
    }

    #[test]
    fn a_list_after_a_gap_gives_what_a_fresh_start_sees(steps in steps(), missed in any::<prop::sample::Index>()) {
        let world = World::of(&steps);
        let seen = missed.index(world.changes.len() + 1);
        let (mut late, mut fresh) = (folded(&world.changes[..seen]), State::new(Limits::default()));
        for kind in [Kind::Pod, Kind::EndpointSlice] {
            let scope = Scope { kind, namespace: None };
            for state in [&mut late, &mut fresh] {
                let changes = state.view().differences(&scope, ResourceVersion(world.version), world.live(kind), UnixNs(world.now));
                for change in &changes {
                    prop_assert_eq!(state.apply(change), Outcome::Applied);
                }
                let again = state.view().differences(&scope, ResourceVersion(world.version), world.live(kind), UnixNs(world.now));
                prop_assert_eq!(again, vec![], "the second list is a fixed point");
            }
        }
        let live = |state: &State| {
            let objects = state.view().records().filter(|record| record.gone.is_none() && record.kind() != Kind::Service);
            objects.map(|record| record.object.clone()).collect::<Vec<_>>()
        };
        prop_assert_eq!(live(&late), live(&fresh));
        for held in world.held.iter().filter(|fact| fact.until.is_none()) {
            for state in [&late, &fresh] {
                let holder = state.view().pod_of_address(held.of, Moment::At(UnixNs(world.now))).map(|pod| pod.meta.uid.clone());
                prop_assert_eq!(holder.as_ref(), Some(&held.is));
            }
        }
    }

    #[test]
    fn a_follower_comes_to_the_same_through_loss_repetition_and_disorder(steps in steps(), fates in prop::collection::vec((0..4_u8, 0..6_usize), 1..40)) {
        let world = World::of(&steps);
        let (mut source, mut feed) = (State::new(Limits::default()), Feed::new(FeedVersion(1_000)));
        let mut follower = Follower::new(Limits::default());
        let mut on_the_way: Vec<(usize, k8s_state::Update)> = Vec::new();
        for (number, change) in world.changes.iter().enumerate() {
            source.apply(change);
            let update = feed.publish(change.clone());
            let (copies, delay) = fates[number % fates.len()];
            on_the_way.extend((0..copies.min(2)).map(|copy| (number + delay + usize::from(copy), update.clone())));
            let (due, later) = on_the_way.into_iter().partition(|(due, _)| *due <= number);
            on_the_way = later;
            for (_, update) in due {
                if let Followed::Gap { have } = follower.apply(&update) {
                    catch_up(&mut follower, &feed, &source, have);
                }
            }
        }
        let have = follower.version();
        catch_up(&mut follower, &feed, &source, have);
        prop_assert!(follower.state().snapshot() == source.snapshot());
    }

    #[test]
    fn the_records_of_a_snapshot_make_the_same_one(steps in steps()) {
        let state = folded(&World::of(&steps).changes);
        let again = State::restore(Limits::default(), state.view().records().cloned());
        prop_assert!(again.snapshot() == state.snapshot());
        prop_assert_eq!(again.bytes(), state.bytes());
    }

    #[test]
    fn memory_stays_in_its_budget_and_nothing_outlives_its_retention(steps in steps(), bytes_max in 3_000..40_000_usize, retention in 0..60_u64) {
        let world = World::of(&steps);
        let limits = Limits { retention: Duration::from_secs(retention), bytes_max };
        let mut state = State::new(limits);
        for change in &world.changes {
            state.apply(change);
            let at = match change { Change::Put { at, .. } | Change::Gone { at, .. } => *at };
            state.expire(at);
            prop_assert!(state.bytes() <= bytes_max);
            let oldest = at.0 - retention as i64 * SECOND;
            prop_assert!(state.view().records().all(|record| record.gone.is_none_or(|gone| gone.0 > oldest)));
        }
        prop_assert_eq!(State::restore(Limits::default(), state.view().records().cloned()).bytes(), state.bytes());
        let metrics = state.metrics();
        let changes = metrics.applied + metrics.old + metrics.unknown + metrics.contradictions + metrics.refused;
        prop_assert_eq!(changes, world.changes.len() as u64);
    }
}

fn catch_up(follower: &mut Follower, feed: &Feed, source: &State, have: FeedVersion) {
    match feed.since(have) {
        Missing::Updates(updates) => {
            for update in &updates {
                assert_eq!(follower.apply(update), Followed::Applied(Outcome::Applied));
            }
        }
        Missing::Everything => follower.resync(feed.resync(source.view())),
    }
}
