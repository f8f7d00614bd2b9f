//! The laws of the log of updates: who follows a topic, from wherever, comes to know the same.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeMap;

use ids::UnixNs;
use metadata::k8s::{LogKeeper, Published, RETENTION, Topic, UpdateLog};
use metadata::store::{Fence, Memory};
use proptest::prelude::*;

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_follows_from_wherever_comes_to_know_the_same(steps in prop::collection::vec(step(), 1..80), joins in 0..80_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = Memory::default();
        let (mut keeper, mut log) = runtime.block_on(async { LogKeeper::load(&store, Fence::take(&store).await.unwrap()).await.unwrap() });
        let mut now = UnixNs(1);
        // One hears everything, one hears nothing and asks, one comes in the middle.
        let (mut always, mut asks, mut late) = (Follower::default(), Follower::default(), Follower::default());
        for (at, step) in steps.iter().enumerate() {
            if at == joins {
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
                        if at > joins && !late.take(HOST, &update) {
                            late.catch_up(HOST, &log);
                        }
                    }
                }
                Step::Wait { hours } => {
                    now = UnixNs(now.0 + hours * 3_600_000_000_000);
                    log.expire(now);
                }
                Step::Restart => {
                    runtime.block_on(async { keeper.save(&mut log, &store).await.unwrap() });
                    let kept = log.version();
                    (keeper, log) = runtime.block_on(async { LogKeeper::load(&store, Fence::take(&store).await.unwrap()).await.unwrap() });
                    prop_assert_eq!(log.version(), kept);
                }
            }
        }
        asks.catch_up(HOST, &log);
        late.catch_up(HOST, &log);
        prop_assert_eq!(&asks.known, &always.known);
        prop_assert_eq!(&late.known, &always.known);
    }
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
