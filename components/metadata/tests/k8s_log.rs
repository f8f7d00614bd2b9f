//! The laws of the log of updates, on every store: who follows a topic, from wherever, comes to know the same.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::collections::BTreeMap;

use ids::UnixNs;
use metadata::k8s::{Forgotten, LogKeeper, LogLimits, Published, RETENTION, Topic, UpdateLog};
use metadata::store::{Embedded, Fence, Memory, Store};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use support::Server;

#[derive(Debug, Clone)]
enum Step {
    Publish { subject: u8, value: u8, gone: bool, host: bool },
    Wait { hours: i64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..5_u8, 0..3_u8, prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(subject, value, gone, host)| Step::Publish { subject, value, gone, host }),
        1 => (1..30_i64).prop_map(|hours| Step::Wait { hours }),
        1 => Just(Step::Restart),
    ]
}

const HOST: Topic = Topic::Host(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)));

/// Takes updates that name the one before, as an agent does.
#[derive(Default)]
struct Follower {
    last: u64,
    known: BTreeMap<String, Vec<u8>>,
}

impl Follower {
    fn take(&mut self, topic: Topic, update: &Published) -> bool {
        let Some((_, previous)) = update.previous.iter().find(|(of, _)| *of == topic) else { return true };
        if *previous > self.last {
            return false;
        }
        let entry = &update.entry;
        self.set(entry.version, &entry.subject, entry.gone, &entry.body);
        true
    }

    fn set(&mut self, version: u64, subject: &str, gone: bool, body: &[u8]) {
        self.last = version;
        if gone {
            self.known.remove(subject)
        } else {
            self.known.insert(subject.to_owned(), body.to_vec())
        };
    }

    fn catch_up(&mut self, topic: Topic, log: &UpdateLog) {
        for (previous, entry) in log.between(topic, self.last + 1, 0) {
            assert!(previous <= self.last, "an update that nobody can have stands before it");
            self.set(entry.version, &entry.subject, entry.gone, &entry.body);
        }
        assert!(self.last >= log.available(topic).1);
    }
}

/// What is done with a log, and when somebody begins to follow it in the middle.
type Course = (Vec<Step>, usize);

fn course() -> impl Strategy<Value = Course> {
    (prop::collection::vec(step(), 1..80), 0..80_usize)
}

async fn load(store: &dyn Store) -> (LogKeeper, UpdateLog) {
    LogKeeper::load(store, Fence::take(store).await.unwrap()).await.unwrap()
}

/// The contract, on an empty store.
async fn check(store: &dyn Store, (steps, joins): &Course) -> Result<(), TestCaseError> {
    let (mut keeper, mut log) = load(store).await;
    let mut now = UnixNs(1);
    // One hears everything, one hears nothing and asks, one comes in the middle.
    let (mut always, mut asks, mut late) = (Follower::default(), Follower::default(), Follower::default());
    for (at, step) in steps.iter().enumerate() {
        if at == *joins {
            late.catch_up(HOST, &log);
        }
        match step {
            Step::Publish { subject, value, gone, host } => {
                let topics = if *host { vec![Topic::All, HOST] } else { vec![Topic::All] };
                let subject = format!("pod/{subject}{}", if *host { "h" } else { "" });
                let before = log.version();
                if let Some(update) = log.publish(&subject, *gone, topics, vec![*value, u8::from(*gone)], now) {
                    prop_assert_eq!(update.entry.version, before + 1);
                    prop_assert!(always.take(HOST, &update), "nothing is missing for one who hears everything");
                    if at > *joins && !late.take(HOST, &update) {
                        late.catch_up(HOST, &log);
                    }
                }
            }
            Step::Wait { hours } => {
                // Whoever missed something asks within the retention: what went longer ago is told to nobody.
                if at > *joins {
                    late.catch_up(HOST, &log);
                }
                now = UnixNs(now.0 + hours * 3_600_000_000_000);
                log.expire(now);
            }
            Step::Restart => {
                keeper.save(&mut log, store).await.unwrap();
                let kept = log.version();
                (keeper, log) = load(store).await;
                prop_assert_eq!(log.version(), kept);
            }
        }
    }
    asks.catch_up(HOST, &log);
    late.catch_up(HOST, &log);
    prop_assert_eq!(&asks.known, &always.known);
    prop_assert_eq!(&late.known, &always.known);
    Ok(())
}

/// One day of a pod on its node, kept over restarts: what an agent hears that comes with nothing, and one that missed the middle.
async fn names_are_kept_for_the_retention(store: &dyn Store) {
    const HOUR: i64 = 3_600_000_000_000;
    let (keeper, mut log) = load(store).await;
    let say = |log: &mut UpdateLog, subject: &str, gone, hour: i64| {
        log.publish(subject, gone, vec![Topic::All, HOST], vec![hour as u8, u8::from(gone)], UnixNs(hour * HOUR)).unwrap().entry.version
    };
    let first = say(&mut log, "pod/a", false, 1);
    let (_, gone, lives) = (say(&mut log, "pod/b", false, 2), say(&mut log, "pod/b", true, 3), say(&mut log, "pod/c", false, 4));
    keeper.save(&mut log, store).await.unwrap();
    let (keeper, mut log) = load(store).await;
    let versions = |log: &UpdateLog, from| log.between(HOST, from, 0).iter().map(|(_, entry)| entry.version).collect::<Vec<u64>>();
    assert_eq!(versions(&log, first + 1), [first + 1, gone, lives], "after a gap");
    // A day after the pod went it is asked for no more; the one that lives is.
    log.expire(UnixNs(26 * HOUR));
    assert_eq!(versions(&log, 0), [first, gone, lives], "its beginning was replaced by its end, which is not a day old");
    log.expire(UnixNs(28 * HOUR));
    keeper.save(&mut log, store).await.unwrap();
    let (_, log) = load(store).await;
    assert_eq!((versions(&log, 0), log.available(HOST)), (vec![first, lives], (first, lives)));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn whoever_follows_from_wherever_comes_to_know_the_same(course in course()) {
        runtime().block_on(check(&Memory::default(), &course))?;
    }
}

#[test]
fn it_holds_on_a_file() {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let files = std::cell::Cell::new(0);
    let fresh = || {
        files.set(files.get() + 1);
        Embedded::open(&folder.path().join(format!("{}.redb", files.get()))).unwrap()
    };
    TestRunner::new(config(16)).run(&course(), |course| runtime.block_on(check(&fresh(), &course))).unwrap();
    runtime.block_on(names_are_kept_for_the_retention(&fresh()));
}

#[test]
fn it_holds_in_etcd() {
    let Some(server) = Server::start(true, &[]) else { return };
    let runtime = runtime();
    let prefixes = std::cell::Cell::new(0);
    let fresh = || {
        prefixes.set(prefixes.get() + 1);
        runtime.block_on(server.connect(&format!("/px-{}", prefixes.get())))
    };
    TestRunner::new(config(16))
        .run(&course(), |course| {
            let store = fresh();
            runtime.block_on(check(&store, &course))
        })
        .unwrap();
    let store = fresh();
    runtime.block_on(names_are_kept_for_the_retention(&store));
}

#[test]
fn names_are_kept_for_the_retention_in_memory() {
    runtime().block_on(names_are_kept_for_the_retention(&Memory::default()));
}

#[test]
fn what_lives_is_kept_for_ever_and_what_was_replaced_or_went_for_a_day() {
    let mut log = UpdateLog::default();
    let say = |log: &mut UpdateLog, subject: &str, gone, value, at| {
        log.publish(subject, gone, vec![Topic::All], vec![value], UnixNs(at)).map(|update| update.entry.version)
    };
    assert_eq!(say(&mut log, "pod/a", false, 1, 1), Some(1));
    assert_eq!(say(&mut log, "pod/a", false, 1, 2), None, "it says what is known");
    assert_eq!(say(&mut log, "pod/a", false, 2, 3), Some(2));
    assert_eq!(say(&mut log, "pod/b", false, 1, 4), Some(3));
    assert_eq!(say(&mut log, "pod/b", true, 0, 5), Some(4));
    assert_eq!(say(&mut log, "pod/none", true, 0, 5), None, "nobody was told of it");
    assert_eq!(say(&mut log, "pod/c", false, 1, 6), Some(5));
    log.expire(UnixNs(RETENTION.as_nanos() as i64));
    assert_eq!(log.len(), 5);
    log.expire(UnixNs(RETENTION.as_nanos() as i64 + 10));
    let kept: Vec<u64> = log.between(Topic::All, 0, 0).iter().map(|(_, entry)| entry.version).collect();
    assert_eq!((kept, log.available(Topic::All)), (vec![2, 5], (2, 5)));
}

#[test]
fn a_log_stays_within_its_bounds_and_counts_what_it_forgot_too_early() {
    let mut log = UpdateLog::with_limits(LogLimits { entries_max: 10, bytes_max: 30 });
    let say = |log: &mut UpdateLog, subject: &str, gone, bytes: usize, at: i64| {
        log.publish(subject, gone, vec![Topic::All], [&vec![7; bytes][..], &at.to_le_bytes()].concat(), UnixNs(at)).unwrap();
    };
    for at in 0..20 {
        say(&mut log, &format!("pod/{}", at % 2), false, 0, at);
    }
    log.expire(UnixNs(20));
    // Eight bytes each: three fit, and what lives is among them.
    assert_eq!((log.len(), log.forgotten()), (3, Forgotten { expired: 0, evicted: 17 }));
    assert!(log.newest("pod/0").is_some() && log.newest("pod/1").is_some());
    say(&mut log, "pod/0", true, 0, 21);
    say(&mut log, "pod/1", true, 0, 22);
    // What was replaced goes first, then what is gone, but for the last word of all.
    log.expire(UnixNs(23));
    assert_eq!((log.len(), log.forgotten().evicted), (3, 19));
    log.expire(UnixNs(RETENTION.as_nanos() as i64 + 30));
    assert_eq!((log.len(), log.version(), log.forgotten().expired), (1, 22, 2));
}

#[test]
fn nodes_that_come_and_go_leave_nothing_behind_after_the_retention() {
    const DAY: i64 = RETENTION.as_nanos() as i64;
    let mut log = UpdateLog::default();
    for node in 0..100_u8 {
        let (topics, at) = (vec![Topic::All, Topic::Host([10, 0, 0, node].into())], i64::from(node));
        log.publish(&format!("node/{node}"), false, topics.clone(), vec![0], UnixNs(at)).unwrap();
        log.publish(&format!("node/{node}"), true, topics, vec![1], UnixNs(at)).unwrap();
    }
    log.expire(UnixNs(DAY + 200));
    assert_eq!((log.len(), log.version()), (1, 200));
    assert_eq!(log.available(Topic::Host([10, 0, 0, 7].into())), (0, 0));
}
