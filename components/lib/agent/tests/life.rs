//! An agent's life against a peer that answers as the metadata service does, through loss, duplication, delay, restarts and stepping clocks.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agent::life::{
    Answer, Beat, Cluster, Effect, Event, Incarnation, Kelvin, Life, Member, Now, ProcessEvent, Profile, Refusal, Registration, Standing,
    TableSchema, Word,
};
use ids::{AgentId, Asid, MonoNs, UnixNs, Upid};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Of a message from its sender to its receiver.
const FLIGHT: Duration = Duration::from_millis(2);
/// In the worst case everything is told again after ten minutes, after a refusal of a minute was waited out.
const CALM: Duration = Duration::from_mins(13);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Progress {
    Fresh,
    Restored,
    After(u64),
    Lost,
}

/// The metadata service, as far as one agent sees it.
#[derive(Debug, Clone)]
struct Peer {
    seat: Option<(Member, Incarnation)>,
    progress: Progress,
    next_asid: u32,
    tables: Vec<TableSchema>,
    full: bool,
}

impl Peer {
    fn new() -> Peer {
        Peer { seat: None, progress: Progress::Fresh, next_asid: 1, tables: vec![], full: false }
    }

    fn restart(&mut self, forgets: bool) {
        if forgets {
            *self = Peer { next_asid: self.next_asid, ..Peer::new() };
        } else {
            self.progress = Progress::Restored;
        }
    }

    fn register(&mut self, word: &Registration) -> Answer {
        if self.full {
            return Answer::Refused { refusal: Refusal::Full, text: "full".to_owned() };
        }
        let member = match self.seat {
            Some((_, incarnation)) if word.incarnation < incarnation => {
                return Answer::Refused { refusal: Refusal::Superseded, text: "superseded".to_owned() };
            }
            Some((member, incarnation)) => {
                if word.incarnation > incarnation || self.progress == Progress::Lost {
                    self.progress = Progress::Fresh;
                }
                member
            }
            None => {
                self.progress = Progress::Fresh;
                let asid = word.asid.unwrap_or(Asid(self.next_asid));
                self.next_asid = self.next_asid.max(asid.0) + 1;
                Member { id: word.id, asid }
            }
        };
        self.seat = Some((member, word.incarnation));
        Answer::Registered { id: Some(member.id), asid: member.asid }
    }

    fn beat(&mut self, beat: &Beat) -> Answer {
        let unregistered = Answer::Unregistered { text: "who?".to_owned() };
        match self.seat {
            Some((member, incarnation)) if member.id == beat.id && incarnation == beat.incarnation => {}
            Some(_) | None => return unregistered,
        }
        let everything = beat.tables.is_some() && beat.collectors.is_some();
        match self.progress {
            Progress::After(last) if beat.sequence <= last => return Peer::ack(beat.sequence),
            Progress::After(last) if beat.sequence > last + 1 => self.progress = Progress::Lost,
            Progress::Fresh if !everything => self.progress = Progress::Lost,
            Progress::Fresh | Progress::Restored | Progress::After(_) => {
                self.progress = Progress::After(beat.sequence);
                self.tables = beat.tables.clone().unwrap_or(std::mem::take(&mut self.tables));
                return Peer::ack(beat.sequence);
            }
            Progress::Lost => {}
        }
        unregistered
    }

    fn ack(sequence: u64) -> Answer {
        let kelvin = Kelvin { id: AgentId::from_halves(9, 9), address: "k:1".to_owned(), server_name: "k".to_owned() };
        Answer::Acknowledged { sequence, cluster: Some(Cluster { kelvins: vec![kelvin], ..Cluster::default() }) }
    }
}

#[derive(Debug, Clone)]
enum Message {
    Register(Box<Registration>),
    Beat(Arc<Beat>),
    Answer(AgentId, Word),
}

/// How many of a hundred messages are lost, doubled and delayed.
#[derive(Debug, Clone, Copy)]
struct Weather {
    lost: u32,
    twice: u32,
    late: u32,
}

const FINE: Weather = Weather { lost: 0, twice: 0, late: 0 };

struct World {
    life: Life,
    peer: Peer,
    now: MonoNs,
    wall: i64,
    random: StdRng,
    weather: Weather,
    bus_up: bool,
    flying: BTreeMap<(MonoNs, u64), Message>,
    sent: u64,
    listening: AgentId,
    said: BTreeMap<u64, Arc<Beat>>,
    processes: BTreeSet<u64>,
    tables: Vec<TableSchema>,
}

fn table(number: u64) -> TableSchema {
    TableSchema { name: format!("t{number}"), text: String::new(), columns: vec![] }
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = StdRng::seed_from_u64(seed);
        let id = AgentId::from_halves(random.r#gen(), random.r#gen());
        let now = Now { mono: MonoNs(0), wall: UnixNs(1_000) };
        let life = Life::new(Profile::default(), Incarnation(1_000), id, now, &mut random);
        World {
            listening: life.id(),
            life,
            peer: Peer::new(),
            now: MonoNs(0),
            wall: 1_000,
            random,
            weather: FINE,
            bus_up: true,
            flying: BTreeMap::new(),
            sent: 0,
            said: BTreeMap::new(),
            processes: BTreeSet::new(),
            tables: vec![],
        }
    }

    fn handle(&mut self, event: Event) {
        let now = Now { mono: self.now, wall: UnixNs(self.wall) };
        for effect in self.life.handle(event, now, &mut self.random) {
            match effect {
                Effect::Listen(id) => self.listening = id,
                Effect::Register(registration) => self.send(&Message::Register(registration)),
                Effect::Beat(beat) => {
                    let before = self.said.entry(beat.sequence).or_insert_with(|| Arc::clone(&beat));
                    assert_eq!(**before, *beat, "a number is used for one content only");
                    self.send(&Message::Beat(beat));
                }
                Effect::Joined(_) | Effect::Cluster(_) => {}
                Effect::Stop(reason) => panic!("nobody told it to stop: {reason}"),
            }
        }
    }

    fn send(&mut self, message: &Message) {
        let Weather { lost, twice, late } = self.weather;
        if !self.bus_up || self.random.gen_range(0..100) < lost {
            return;
        }
        let copies = if self.random.gen_range(0..100) < twice { 2 } else { 1 };
        for _ in 0..copies {
            let is_late = self.random.gen_range(0..100) < late;
            let flight = if is_late { Duration::from_millis(self.random.gen_range(10..20_000)) } else { FLIGHT };
            self.sent += 1;
            self.flying.insert((self.now.plus(flight), self.sent), message.clone());
        }
    }

    fn arrive(&mut self, message: Message) {
        let (to, incarnation, answer) = match message {
            Message::Register(word) => (word.id, word.incarnation, self.peer.register(&word)),
            Message::Beat(beat) => {
                let answer = self.peer.beat(&beat);
                if let Answer::Acknowledged { .. } = answer {
                    self.note(&beat);
                }
                (beat.id, beat.incarnation, answer)
            }
            Message::Answer(to, word) => {
                if to == self.listening {
                    self.handle(Event::Heard(word));
                }
                return;
            }
        };
        self.send(&Message::Answer(to, Word { incarnation: Some(incarnation), answer }));
    }

    fn note(&mut self, beat: &Beat) {
        for event in &beat.processes {
            if let ProcessEvent::Created { upid, .. } = event {
                self.processes.insert(upid.start_ticks());
            }
        }
    }

    /// Lets time pass, with everything that happens meanwhile.
    fn pass(&mut self, span: Duration) {
        let end = self.now.plus(span);
        loop {
            let deadline = self.life.deadline().unwrap_or(end);
            let arrival = self.flying.first_key_value().map_or(end, |((at, _), _)| *at);
            let next = deadline.min(arrival);
            if next >= end {
                break;
            }
            self.wall += next.since(self.now).as_nanos() as i64;
            self.now = self.now.max(next);
            match self.flying.pop_first() {
                Some(((at, _), message)) if at <= self.now => self.arrive(message),
                Some((key, message)) => {
                    self.flying.insert(key, message);
                    self.handle(Event::Tick);
                }
                None => self.handle(Event::Tick),
            }
        }
        self.now = end;
    }

    fn connect(&mut self, up: bool) {
        if up && !self.bus_up {
            self.bus_up = true;
            self.handle(Event::Connected);
        }
        self.bus_up = up;
    }
}

#[derive(Debug, Clone)]
enum Step {
    Weather(Weather),
    Pass(u64),
    Bus(bool),
    PeerRestarts { forgets: bool },
    PeerFull(bool),
    WallSteps(i64),
    Table(u64),
    Process(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let percent = || prop_oneof![Just(0_u32), 0_u32..80];
    let step = prop_oneof![
        2 => (percent(), percent(), percent())
            .prop_map(|(lost, twice, late)| Step::Weather(Weather { lost, twice, late })),
        6 => (1_u64..30_000).prop_map(Step::Pass),
        2 => any::<bool>().prop_map(Step::Bus),
        2 => any::<bool>().prop_map(|forgets| Step::PeerRestarts { forgets }),
        1 => any::<bool>().prop_map(Step::PeerFull),
        1 => (-1_000_000_000_000_i64..1_000_000_000_000).prop_map(Step::WallSteps),
        2 => (0_u64..5).prop_map(Step::Table),
        2 => (1_u64..1_000).prop_map(Step::Process),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever was lost, doubled, delayed or forgotten: once messages flow it runs, and the other side knows everything.
    #[test]
    fn any_sequence_of_mishaps_ends_in_running(seed in any::<u64>(), steps in steps()) {
        let mut world = World::new(seed);
        let mut told = BTreeSet::new();
        for step in steps {
            match step {
                Step::Weather(weather) => world.weather = weather,
                Step::Pass(ms) => world.pass(Duration::from_millis(ms)),
                Step::Bus(up) => world.connect(up),
                Step::PeerRestarts { forgets } => world.peer.restart(forgets),
                Step::PeerFull(full) => world.peer.full = full,
                Step::WallSteps(ns) => world.wall = world.wall.saturating_add(ns),
                Step::Table(number) => {
                    world.tables = (0..=number).map(table).collect();
                    if world.life.news().set_tables(world.tables.clone()) {
                        world.handle(Event::Hurry);
                    }
                }
                Step::Process(number) => {
                    told.insert(number);
                    world.life.news().push_process(ProcessEvent::Created {
                        upid: Upid::new(Asid(1), 1, number),
                        started: UnixNs(0),
                        cmdline: String::new(),
                        container: String::new(),
                    });
                }
            }
        }
        (world.weather, world.peer.full) = (FINE, false);
        world.connect(true);
        world.pass(CALM);
        let Standing::Running(member) = world.life.standing() else { panic!("{:?}", world.life.standing()) };
        prop_assert_eq!(world.peer.seat, Some((member, Incarnation(1_000))), "both sides mean the same agent");
        prop_assert_eq!(&world.peer.tables, &world.tables);
        prop_assert!(told.is_subset(&world.processes), "what happened to processes was acknowledged at least once");
        let acknowledged = world.life.counts().acknowledged;
        world.pass(Duration::from_secs(21));
        prop_assert!(world.life.counts().acknowledged >= acknowledged + 4, "a beat each five seconds");
    }
}

#[test]
fn a_new_agent_is_known_within_two_seconds() {
    let mut world = World::new(7);
    world.pass(Duration::from_secs(2));
    assert!(matches!(world.life.standing(), Standing::Running(_)));
    assert_eq!(world.life.counts().acknowledged, 1);
}

#[test]
fn the_id_and_the_number_are_kept_when_it_registers_again() {
    let mut world = World::new(7);
    world.pass(Duration::from_secs(2));
    let before = world.life.standing();
    world.peer.restart(true);
    world.pass(Duration::from_secs(20));
    assert_eq!(world.life.standing(), before);
    assert_eq!(world.life.counts().joined, 2);
}

#[test]
fn it_takes_the_id_that_its_place_has() {
    let mut world = World::new(7);
    let member = Member { id: AgentId::from_halves(1, 2), asid: Asid(17) };
    world.peer.seat = Some((member, Incarnation(5)));
    world.pass(Duration::from_secs(2));
    assert_eq!((world.life.standing(), world.listening), (Standing::Running(member), member.id));
}

#[test]
fn a_newer_process_at_its_place_stops_it() {
    let mut world = World::new(7);
    world.pass(Duration::from_secs(2));
    let stop = Answer::Stop { refusal: Refusal::Superseded, text: "a newer one".to_owned() };
    let now = Now { mono: world.now, wall: UnixNs(0) };
    let other = Word { incarnation: Some(Incarnation(4)), answer: stop.clone() };
    assert_eq!(world.life.handle(Event::Heard(other), now, &mut world.random), [], "another run's matter");
    let word = Word { incarnation: Some(Incarnation(1_000)), answer: stop };
    assert_eq!(world.life.handle(Event::Heard(word), now, &mut world.random), [Effect::Stop("a newer one".to_owned())]);
    assert_eq!((world.life.deadline(), world.life.handle(Event::Tick, now, &mut world.random)), (None, vec![]));
}

#[test]
fn who_starts_after_the_clock_stepped_back_waits_until_its_place_is_free() {
    let mut world = World::new(7);
    world.peer.seat = Some((Member { id: AgentId::from_halves(1, 2), asid: Asid(17) }, Incarnation(2_000)));
    world.pass(Duration::from_mins(1));
    assert!(matches!(world.life.standing(), Standing::Registering { reason: Some(_), .. }));
    world.peer.restart(true);
    world.pass(Duration::from_mins(1));
    assert!(matches!(world.life.standing(), Standing::Running(_)));
}

#[test]
fn a_taken_id_is_given_up_for_another() {
    let mut world = World::new(7);
    let (id, now) = (world.life.id(), Now { mono: MonoNs(0), wall: UnixNs(0) });
    let refused = Answer::Refused { refusal: Refusal::IdTaken, text: String::new() };
    let effects = world.life.handle(Event::Heard(Word { incarnation: None, answer: refused }), now, &mut world.random);
    assert_eq!(effects, [Effect::Listen(world.life.id())]);
    assert_ne!(world.life.id(), id);
}

#[test]
fn a_new_table_is_told_before_the_next_beat_is_due() {
    let mut world = World::new(7);
    world.pass(Duration::from_secs(2));
    world.tables = vec![table(1)];
    assert!(world.life.news().set_tables(world.tables.clone()));
    world.handle(Event::Hurry);
    world.pass(Duration::from_millis(600));
    assert_eq!(world.peer.tables, world.tables);
}
