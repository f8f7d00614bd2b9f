//! What holds for every sequence of messages to the registry, and what the store makes of it.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::{AgentId, Asid, MonoNs, UnixNs};
use metadata::Error;
use metadata::agents::{
    AGENT_SILENCE_MAX, AGENT_UNRESPONSIVE_AFTER, Agent, AgentInfo, AgentKind, AgentState, AgentUpdate, Answer, Changes, CollectorState,
    CollectorStatus, ColumnSchema, Heartbeat, Incarnation, Keeper, Now, Place, Refusal, Registration, Registry, Reply, TableSchema,
    Version,
};
use metadata::store::{Committed, Embedded, Key, Memory, Page, Store, Transaction};
use proptest::prelude::*;
use tables::{DataType, PatternType, SemanticType};

fn now(seconds: u64) -> Now {
    Now { mono: MonoNs(seconds * 1_000_000_000), wall: UnixNs(1_000_000_000_000 + seconds as i64 * 1_000_000_000) }
}

fn empty() -> Registry {
    Registry::load(Asid(0), vec![], now(0))
}

fn id(number: u8) -> AgentId {
    AgentId::from_halves(7, u64::from(number))
}

fn place(number: u8) -> Place {
    let kind = if number.is_multiple_of(4) { AgentKind::Kelvin } else { AgentKind::Pem };
    Place { kind, host: format!("node-{number}"), address: [10, 0, 0, number].into() }
}

fn registration(agent: u8, at: u8, incarnation: u64) -> Registration {
    let info =
        AgentInfo { hostname: format!("node-{at}"), pod_name: format!("pl/vizier-pem-{agent}-{incarnation}"), ..AgentInfo::default() };
    Registration { id: id(agent), incarnation: Incarnation(incarnation), place: place(at), asid: None, info }
}

fn heartbeat(agent: u8, incarnation: u64, sequence: u64) -> Heartbeat {
    Heartbeat { id: id(agent), incarnation: Incarnation(incarnation), sequence, tables: None, collectors: None, names: None }
}

fn tables(number: u8) -> Vec<TableSchema> {
    let column = |name: &str, data_type| ColumnSchema {
        name: name.to_owned(),
        data_type,
        semantic_type: SemanticType::None,
        pattern_type: PatternType::General,
        description: "for people".to_owned(),
    };
    let table = |name: String, data_type| TableSchema { name, description: String::new(), columns: vec![column("value", data_type)] };
    let other = if number.is_multiple_of(2) { DataType::Int64 } else { DataType::Float64 };
    vec![table("http_events".to_owned(), DataType::String), table(format!("probe_{}", number / 2), other)]
}

fn full(agent: u8, incarnation: u64, sequence: u64, variant: u8) -> Heartbeat {
    let status = CollectorStatus {
        state: CollectorState::Failed,
        way: "tracepoints".to_owned(),
        reason: format!("no BTF {variant}"),
        remedy: "a kernel with BTF".to_owned(),
    };
    let collectors = Some(BTreeMap::from([("socket_tracer".to_owned(), status)]));
    Heartbeat { tables: Some(tables(variant)), collectors, names: Some(vec![variant]), ..heartbeat(agent, incarnation, sequence) }
}

fn registered(reply: &Reply) -> (AgentId, Asid) {
    match reply.answer {
        Answer::Registered { id, asid } => (id, asid),
        Answer::Refused(_) | Answer::Ack { .. } | Answer::Unregistered => panic!("{reply:?}"),
    }
}

#[test]
fn an_agent_that_comes_back_to_its_place_has_its_id_and_number_again() {
    let mut registry = empty();
    let first = registered(&registry.register(registration(1, 1, 10), now(1)));
    assert_eq!(first, (id(1), Asid(1)));
    assert_eq!(registered(&registry.register(registration(2, 2, 10), now(1))), (id(2), Asid(2)));
    // The process is another one and made up another id.
    let again = registry.register(registration(9, 1, 20), now(5));
    assert_eq!((registered(&again), again.to, again.incarnation), (first, id(9), Incarnation(20)));
    // It was silent for so long that it was given up.
    assert_eq!(registry.expire(now(65)), [id(1), id(2)]);
    assert_eq!(registry.agents().count(), 0);
    assert_eq!(registered(&registry.register(registration(8, 1, 5), now(70))), first, "its clock was set back meanwhile");
    // Somebody else's number is not given while the place is remembered.
    assert_eq!(registered(&registry.register(registration(3, 3, 1), now(70))).1, Asid(3));
}

#[test]
fn a_process_that_was_replaced_is_told_to_stop_and_cannot_take_its_place_back() {
    let mut registry = empty();
    registry.register(registration(1, 1, 20), now(1));
    let late = registry.register(registration(5, 1, 10), now(2));
    assert_eq!((late.to, late.incarnation, late.answer), (id(5), Incarnation(10), Answer::Refused(Refusal::Superseded)));
    assert_eq!(registry.heartbeat(heartbeat(1, 10, 7), now(2)).answer, Answer::Refused(Refusal::Superseded));
    // An id is one agent's.
    assert_eq!(registry.register(registration(1, 2, 30), now(3)).answer, Answer::Refused(Refusal::IdTaken));
    registry.register(registration(2, 2, 10), now(4));
    assert_eq!(
        registry.register(registration(1, 2, 30), now(5)).answer,
        Answer::Refused(Refusal::IdTaken),
        "it comes again, and the place is known"
    );
}

#[test]
fn a_heartbeat_that_is_missing_makes_an_agent_register_and_say_everything() {
    let mut registry = empty();
    assert_eq!(registry.heartbeat(heartbeat(1, 1, 0), now(1)).answer, Answer::Unregistered, "nobody knows it");
    registry.register(registration(1, 1, 1), now(1));
    assert_eq!(registry.heartbeat(heartbeat(1, 1, 0), now(2)).answer, Answer::Unregistered, "the first one says everything");
    registry.register(registration(1, 1, 1), now(3));
    assert_eq!(registry.heartbeat(full(1, 1, 1, 0), now(4)).answer, Answer::Ack { sequence: 1 });
    assert_eq!(registry.heartbeat(heartbeat(1, 1, 2), now(5)).answer, Answer::Ack { sequence: 2 });
    assert_eq!(registry.heartbeat(full(1, 1, 1, 9), now(5)).answer, Answer::Ack { sequence: 1 }, "an old one is acknowledged, not taken");
    assert_eq!(registry.heartbeat(heartbeat(1, 1, 4), now(6)).answer, Answer::Unregistered, "3 is missing");
    assert_eq!(registry.heartbeat(heartbeat(1, 1, 3), now(7)).answer, Answer::Unregistered, "it comes too late");
    assert_eq!(registered(&registry.register(registration(1, 1, 1), now(8))), (id(1), Asid(1)));
    assert_eq!(registry.heartbeat(full(1, 1, 5, 1), now(9)).answer, Answer::Ack { sequence: 5 });
    let found: Vec<&str> = registry.agent(id(1)).unwrap().tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(found, ["http_events", "probe_0"]);
    let metrics = registry.metrics();
    assert_eq!((metrics.heartbeats, metrics.heartbeats_repeated, metrics.heartbeats_missed, metrics.heartbeats_unknown), (3, 1, 3, 1));
}

#[test]
fn a_silent_agent_is_unresponsive_and_then_forgotten_whatever_the_wall_clock_does() {
    let mut registry = empty();
    registry.register(registration(1, 1, 1), now(0));
    let later = |span: Duration| Now { mono: MonoNs(0).plus(span), wall: UnixNs(0) };
    let state = |registry: &Registry, span| Registry::state(registry.agent(id(1)).unwrap(), later(span));
    assert_eq!(state(&registry, AGENT_UNRESPONSIVE_AFTER), AgentState::Healthy);
    assert_eq!(state(&registry, AGENT_UNRESPONSIVE_AFTER + Duration::from_secs(1)), AgentState::Unresponsive);
    assert_eq!(registry.expire(later(AGENT_SILENCE_MAX.saturating_sub(Duration::from_nanos(1)))), []);
    assert_eq!(registry.expire(later(AGENT_SILENCE_MAX)), [id(1)]);
    assert_eq!(registry.expire(later(AGENT_SILENCE_MAX)), [], "once");
    assert_eq!(registry.metrics().expired, 1);
}

#[test]
fn a_table_in_two_forms_is_told_as_two() {
    let mut registry = empty();
    for agent in 1..=3 {
        registry.register(registration(agent, agent, 1), now(1));
        registry.heartbeat(full(agent, 1, 0, agent - 1), now(1));
    }
    let told: Vec<(String, Vec<AgentId>)> = registry.schemas().into_iter().map(|info| (info.table.name, info.agents)).collect();
    let expected =
        [("http_events", vec![id(1), id(2), id(3)]), ("probe_0", vec![id(1)]), ("probe_0", vec![id(2)]), ("probe_1", vec![id(3)])];
    assert_eq!(told, expected.map(|(name, agents)| (name.to_owned(), agents)));
}

#[test]
fn what_is_too_large_to_be_kept_is_cut_and_counted() {
    let mut registry = empty();
    let mut large = registration(1, 1, 1);
    large.info.pod_name = "x".repeat(100_000);
    assert_eq!(registry.register(large, now(1)).answer, Answer::Refused(Refusal::TooLarge));
    registry.register(registration(1, 1, 1), now(1));
    let table = |number| TableSchema { name: format!("{number}"), description: "x".repeat(100_000), columns: vec![] };
    let word = Heartbeat { tables: Some((0..10).map(table).collect()), names: Some(vec![0; 1_000_000]), ..full(1, 1, 0, 0) };
    assert_eq!(registry.heartbeat(word, now(1)).answer, Answer::Ack { sequence: 0 });
    assert_eq!((registry.agent(id(1)).unwrap().tables.len(), registry.metrics().cut), (5, 6));
}

#[test]
fn a_subscriber_gets_pages_of_which_the_last_ends_the_version() {
    let mut registry = empty();
    for agent in 1..=5 {
        registry.register(registration(agent, agent, 1), now(1));
    }
    let pages = registry.changes_since(None).pages(2);
    let shape: Vec<(usize, bool)> = pages.iter().map(|page| (page.updates.len(), page.end_of_version)).collect();
    assert_eq!(shape, [(2, false), (2, false), (1, true)]);
    let nothing = registry.changes_since(Some(registry.version()));
    assert!(!nothing.full);
    assert_eq!(nothing.pages(100).iter().map(|page| (page.updates.len(), page.end_of_version)).collect::<Vec<_>>(), [(0, true)]);
    // A version of another run says nothing.
    let other = Version { epoch: 1, ..registry.version() };
    assert!(registry.changes_since(Some(other)).full);
}

#[derive(Debug, Clone)]
enum Message {
    Register { agent: u8, at: u8, incarnation: u64, wish: Option<u32> },
    Beat { agent: u8, incarnation: u64, sequence: u64, says: Option<u8> },
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let message = prop_oneof![
        1 => (0..8_u8, 0..5_u8, 1..4_u64, prop::option::weighted(0.2, 0..6_u32))
            .prop_map(|(agent, at, incarnation, wish)| Message::Register { agent, at, incarnation, wish }),
        2 => (0..8_u8, 1..4_u64, 0..6_u64, prop::option::of(0..4_u8))
            .prop_map(|(agent, incarnation, sequence, says)| Message::Beat { agent, incarnation, sequence, says }),
    ];
    prop::collection::vec(message, 0..60)
}

fn send(registry: &mut Registry, message: &Message, at: Now) -> Reply {
    match *message {
        Message::Register { agent, at: place, incarnation, wish } => {
            registry.register(Registration { asid: wish.map(Asid), ..registration(agent, place, incarnation) }, at)
        }
        Message::Beat { agent, incarnation, sequence, says: Some(variant) } => {
            registry.heartbeat(full(agent, incarnation, sequence, variant), at)
        }
        Message::Beat { agent, incarnation, sequence, says: None } => registry.heartbeat(heartbeat(agent, incarnation, sequence), at),
    }
}

fn nobody_shares(registry: &Registry) -> Result<(), TestCaseError> {
    let (last, seats) = registry.stored();
    let asids: BTreeSet<u32> = seats.iter().map(|seat| seat.asid.0).collect();
    let places: BTreeSet<&Place> = seats.iter().map(|seat| &seat.place).collect();
    prop_assert_eq!((asids.len(), places.len()), (seats.len(), seats.len()));
    prop_assert!(asids.iter().all(|asid| *asid > 0 && *asid <= last.0));
    Ok(())
}

/// What a subscriber knows, without the times at which agents were heard: nobody is told of those.
fn known(agents: impl Iterator<Item = Agent>) -> BTreeMap<AgentId, String> {
    agents
        .map(|agent| (agent.id, format!("{:?}", (agent.asid, agent.incarnation, agent.info, agent.tables, agent.collectors, agent.names))))
        .collect()
}

proptest! {
    #[test]
    fn no_two_agents_share_a_number_or_a_place(messages in messages(), pauses in prop::collection::vec(0..40_u64, 1..10)) {
        let (mut registry, mut seconds) = (empty(), 0);
        for (number, message) in messages.iter().enumerate() {
            seconds += pauses[number % pauses.len()];
            registry.expire(now(seconds));
            let reply = send(&mut registry, message, now(seconds));
            if let Answer::Registered { id, asid } = reply.answer {
                prop_assert_eq!(registry.agent(id).map(|agent| agent.asid), Some(asid));
            }
            nobody_shares(&registry)?;
        }
    }

    #[test]
    fn messages_that_come_again_change_nothing(messages in messages(), prefix in any::<prop::sample::Index>()) {
        // As an agent would send them: heartbeats count up, a new process begins anew.
        let mut registry = empty();
        let mut sent = Vec::new();
        let mut next: BTreeMap<(u8, u64), u64> = BTreeMap::new();
        for message in messages {
            let message = match message {
                Message::Beat { agent, incarnation, says, .. } => {
                    let sequence = next.entry((agent, incarnation)).or_default();
                    *sequence += 1;
                    Message::Beat { agent, incarnation, sequence: *sequence, says: says.or((*sequence == 1).then_some(0)) }
                }
                Message::Register { .. } => message,
            };
            // One that makes it ask for a registration is not known yet: it is answered by one, and sent anew.
            let mut trial = registry.clone();
            if send(&mut trial, &message, now(1)).answer != Answer::Unregistered {
                registry = trial;
                sent.push(message);
            } else if let Message::Beat { agent, incarnation, .. } = message {
                next.entry((agent, incarnation)).and_modify(|sequence| *sequence -= 1);
            }
        }
        let before = (registry.stored(), registry.version());
        let again = &sent[..prefix.index(sent.len() + 1)];
        for message in again.iter().chain(again) {
            send(&mut registry, message, now(1));
        }
        prop_assert_eq!((registry.stored(), registry.version()), before);
    }

    #[test]
    fn a_restart_from_what_was_kept_gives_the_same_registry(messages in messages(), pauses in prop::collection::vec(0..40_u64, 1..10)) {
        let (mut registry, mut seconds) = (empty(), 0);
        for (number, message) in messages.iter().enumerate() {
            seconds += pauses[number % pauses.len()];
            registry.expire(now(seconds));
            send(&mut registry, message, now(seconds));
        }
        let (last, seats) = registry.stored();
        let last_told: BTreeSet<AgentId> = seats.iter().filter(|seat| seat.told).map(|seat| seat.id).collect();
        let mut again = Registry::load(last, seats, now(seconds + 1));
        prop_assert_eq!(again.stored(), registry.stored());
        prop_assert_eq!(again.schemas(), registry.schemas());
        let agents: Vec<Agent> = registry.agents().cloned().collect();
        for agent in agents {
            // The next heartbeat of one that has said everything is taken, whichever it is; another says everything first. So does a new process.
            let told = last_told.contains(&agent.id);
            let beat = Heartbeat { id: agent.id, incarnation: agent.incarnation, sequence: 77, tables: None, collectors: None, names: None };
            let expected = if told { Answer::Ack { sequence: 77 } } else { Answer::Unregistered };
            prop_assert_eq!(again.heartbeat(beat, now(seconds + 2)).answer, expected);
            let word = Registration { id: id(200), incarnation: Incarnation(99), place: agent.place, asid: None, info: agent.info };
            prop_assert_eq!(again.register(word, now(seconds + 3)).answer, Answer::Registered { id: agent.id, asid: agent.asid });
        }
    }

    #[test]
    fn a_subscriber_that_applies_changes_knows_what_there_is(messages in messages(), looks in prop::collection::vec(any::<bool>(), 1..10), pauses in prop::collection::vec(0..40_u64, 1..10)) {
        let (mut registry, mut seconds) = (empty(), 0);
        let (mut seen, mut at): (BTreeMap<AgentId, Agent>, Option<Version>) = (BTreeMap::new(), None);
        for (number, message) in messages.iter().enumerate() {
            seconds += pauses[number % pauses.len()];
            registry.expire(now(seconds));
            send(&mut registry, message, now(seconds));
            if !looks[number % looks.len()] {
                continue;
            }
            let Changes { version, full, updates } = registry.changes_since(at);
            prop_assert_eq!(full, at.is_none());
            if full {
                seen.clear();
            }
            for update in updates {
                match update {
                    AgentUpdate::Present(agent) => drop(seen.insert(agent.id, *agent)),
                    AgentUpdate::Removed(id) => drop(seen.remove(&id)),
                }
            }
            at = Some(version);
            prop_assert_eq!(known(seen.values().cloned()), known(registry.agents().cloned()));
        }
    }
}

/// A store that refuses every so many commits.
#[derive(Debug)]
struct Moody {
    inner: Memory,
    commits: std::sync::atomic::AtomicUsize,
    refuses_every: usize,
}

#[async_trait::async_trait]
impl Store for Moody {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error> {
        self.inner.get(key).await
    }

    async fn page(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Error> {
        self.inner.page(prefix, after).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, Error> {
        let number = self.commits.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        if number.is_multiple_of(self.refuses_every) { Err(Error::Stopped) } else { self.inner.commit(transaction).await }
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

proptest! {
    #[test]
    fn what_a_keeper_saved_is_there_after_a_restart(messages in messages(), refuses_every in 2..6_usize) {
        block_on(async {
            let inner = Memory::default();
            let store = Moody { inner: inner.clone(), commits: 0.into(), refuses_every };
            let (mut keeper, mut registry) = Keeper::load(&store, now(0)).await.unwrap();
            for (number, message) in messages.iter().enumerate() {
                send(&mut registry, message, now(number as u64 * 20));
                registry.expire(now(number as u64 * 20));
                if keeper.save(&mut registry, &store).await.is_ok() {
                    let (_, again) = Keeper::load(&inner.fork(), now(0)).await.unwrap();
                    prop_assert_eq!(again.stored(), registry.stored());
                }
            }
            // What was refused is written with what comes next.
            keeper.save(&mut registry, &inner).await.unwrap();
            let (_, again) = Keeper::load(&inner, now(0)).await.unwrap();
            prop_assert_eq!(again.stored(), registry.stored());
            let sets = (&inner as &dyn Store).scan(&Key::new("/tables/").unwrap()).await.unwrap().len();
            let used: BTreeSet<String> = again.agents().filter(|agent| !agent.tables.is_empty()).map(|agent| format!("{:?}", agent.tables)).collect();
            prop_assert_eq!(sets, used.len(), "each set of tables is kept once, and as long as somebody has it");
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_keeper_that_was_replaced_can_write_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(&folder.path().join("state")).unwrap();
    let (mut old, mut before) = Keeper::load(&store, now(0)).await.unwrap();
    before.register(registration(1, 1, 1), now(1));
    old.save(&mut before, &store).await.unwrap();
    let (mut new, mut after) = Keeper::load(&store, now(2)).await.unwrap();
    before.register(registration(2, 2, 1), now(3));
    assert!(matches!(old.save(&mut before, &store).await, Err(Error::Conflict { .. })));
    after.register(registration(3, 3, 1), now(3));
    new.save(&mut after, &store).await.unwrap();
    let (_, kept) = Keeper::load(&store, now(4)).await.unwrap();
    assert_eq!(kept.agents().map(|agent| (agent.id, agent.asid)).collect::<Vec<_>>(), [(id(1), Asid(1)), (id(3), Asid(2))]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_named() {
    let store = Memory::default();
    (&store as &dyn Store).put(Key::new("/agent/x").unwrap(), b"{}".to_vec()).await.unwrap();
    let error = Keeper::load(&store, now(0)).await.unwrap_err();
    let expected = "the record `/agent/x` cannot be read (missing field `id` at line 1 column 2): a newer release may have written it";
    assert_eq!(error.to_string(), expected);
}
