//! What every store promises, on each of them; and what etcd alone does.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use metadata::Error;
use metadata::store::{
    Committed, Embedded, Etcd, EtcdSettings, Key, Memory, PAGE_ENTRIES_MAX, Store, TRANSACTION_BYTES_MAX, TRANSACTION_OPERATIONS_MAX,
    Transaction,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::{Server, free_port};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// The contract, on an empty store.
async fn check(store: &dyn Store) {
    values_come_back(store).await;
    pages_are_in_order(store).await;
    transactions_do_all_or_nothing(store).await;
    limits_are_the_same(store).await;
    one_of_many_wins(store).await;
}

async fn values_come_back(store: &dyn Store) {
    assert_eq!(store.get(&key("/a")).await.unwrap(), None);
    let bytes: Vec<u8> = (0..=255).collect();
    store.put(key("/a"), bytes.clone()).await.unwrap();
    store.put(key("/empty"), vec![]).await.unwrap();
    assert_eq!(store.get(&key("/a")).await.unwrap(), Some(bytes));
    assert_eq!(store.get(&key("/empty")).await.unwrap(), Some(vec![]), "an empty value is a value");
    assert_eq!(store.get(&key("/emp")).await.unwrap(), None, "a prefix is no key");
    store.delete(key("/a")).await.unwrap();
    store.delete(key("/a")).await.unwrap();
    assert_eq!(store.get(&key("/a")).await.unwrap(), None);
}

async fn pages_are_in_order(store: &dyn Store) {
    let count = PAGE_ENTRIES_MAX + 3;
    let names: Vec<Key> = (0..count).map(|number| key(&format!("/list/{number:05}"))).collect();
    for names in names.chunks(TRANSACTION_OPERATIONS_MAX) {
        let all = names.iter().fold(Transaction::new(), |all, name| all.put(name.clone(), name.as_str().into()));
        assert_eq!(store.commit(all).await.unwrap(), Committed::Done);
    }
    // Neighbours on both sides.
    for neighbour in ["/list", "/list.", "/list0", "/lisz/00000"] {
        store.put(key(neighbour), vec![1]).await.unwrap();
    }
    let page = store.page(&key("/list/"), None).await.unwrap();
    assert_eq!((page.entries.len(), page.more), (PAGE_ENTRIES_MAX, true));
    let rest = store.page(&key("/list/"), page.entries.last().map(|(key, _)| key)).await.unwrap();
    assert_eq!((rest.entries.len(), rest.more), (3, false));
    let found: Vec<Key> = store.scan(&key("/list/")).await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, names);
    let from_outside = store.page(&key("/list/"), Some(&key("/a"))).await.unwrap();
    assert_eq!(from_outside.entries, page.entries);
    assert_eq!(store.page(&key("/none/"), None).await.unwrap().entries, vec![]);
}

async fn transactions_do_all_or_nothing(store: &dyn Store) {
    let create = || Transaction::new().expect(key("/t/a"), None).put(key("/t/a"), vec![1]).put(key("/t/b"), vec![1]);
    assert_eq!(store.commit(create()).await.unwrap(), Committed::Done);
    assert_eq!(store.commit(create()).await.unwrap(), Committed::Conflict);
    let wrong = Transaction::new().expect(key("/t/a"), Some(vec![1])).expect(key("/t/b"), Some(vec![2])).delete(key("/t/a"));
    assert_eq!(store.commit(wrong).await.unwrap(), Committed::Conflict);
    assert_eq!(store.get(&key("/t/a")).await.unwrap(), Some(vec![1]));
    let absent = Transaction::new().expect(key("/t/none"), Some(vec![])).delete(key("/t/a"));
    assert_eq!(store.commit(absent).await.unwrap(), Committed::Conflict, "a key that is not there has no empty value");
    let swap = Transaction::new().expect(key("/t/a"), Some(vec![1])).delete(key("/t/a")).put(key("/t/b"), vec![3]);
    assert_eq!(store.commit(swap).await.unwrap(), Committed::Done);
    assert_eq!(store.scan(&key("/t/")).await.unwrap(), vec![(key("/t/b"), vec![3])]);
    assert_eq!(store.commit(Transaction::new()).await.unwrap(), Committed::Done, "nothing to do is done");
}

async fn limits_are_the_same(store: &dyn Store) {
    let largest = vec![7; TRANSACTION_BYTES_MAX - "/l".len()];
    store.put(key("/l"), largest.clone()).await.unwrap();
    assert_eq!(store.get(&key("/l")).await.unwrap(), Some(largest));
    assert!(matches!(store.put(key("/ll"), vec![7; TRANSACTION_BYTES_MAX]).await, Err(Error::TooLarge { what: "bytes", .. })));
    let most = |count| {
        (0..count).fold(Transaction::new(), |all, at| all.expect(key(&format!("/m/{at}")), None).put(key(&format!("/m/{at}")), vec![]))
    };
    assert_eq!(store.commit(most(TRANSACTION_OPERATIONS_MAX)).await.unwrap(), Committed::Done);
    assert!(matches!(store.commit(most(TRANSACTION_OPERATIONS_MAX + 1)).await, Err(Error::TooLarge { .. })));
    let twice = Transaction::new().put(key("/x"), vec![]).put(key("/x"), vec![]);
    assert!(matches!(store.commit(twice).await, Err(Error::WrittenTwice { .. })));
}

async fn one_of_many_wins(store: &dyn Store) {
    let claim = |number: u8| store.commit(Transaction::new().expect(key("/leader"), None).put(key("/leader"), vec![number]));
    let (a, b, c, d) = tokio::join!(claim(1), claim(2), claim(3), claim(4));
    let won: Vec<bool> = [a, b, c, d].into_iter().map(|outcome| outcome.unwrap() == Committed::Done).collect();
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
    let winner = won.iter().position(|won| *won).map(|place| vec![place as u8 + 1]);
    assert_eq!(store.get(&key("/leader")).await.unwrap(), winner);
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    check(&Memory::default()).await;
}

#[tokio::test]
async fn a_file_keeps_the_contract_and_its_content_when_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/by/us/metadata.redb");
    let store = Embedded::open(&path).unwrap();
    check(&store).await;
    let everything = (&store as &dyn Store).scan(&key("/")).await.unwrap();
    drop(store);
    let store = Embedded::open(&path).unwrap();
    assert_eq!((&store as &dyn Store).scan(&key("/")).await.unwrap(), everything);
}

#[tokio::test]
async fn etcd_keeps_the_contract() {
    let Some(server) = Server::start(false, &[]) else { return };
    check(&server.connect("").await).await;
    // Another prefix is another store; a prefix that begins like ours as well.
    check(&server.connect("/pl").await).await;
    check(&server.connect("/pl/list").await).await;
}

#[tokio::test]
async fn etcd_with_certificates_on_both_sides_keeps_the_contract() {
    let Some(server) = Server::start(true, &[]) else { return };
    check(&server.connect("/px").await).await;

    let mut strangers = server.settings("");
    if let Some(tls) = &mut strangers.tls {
        // Signed by nobody that etcd trusts.
        let own = rcgen::generate_simple_self_signed(vec!["stranger".to_owned()]).unwrap();
        (tls.certificate, tls.key) = (own.cert.pem(), own.signing_key.serialize_pem());
    }
    let error = Etcd::connect(&strangers).await.unwrap_err();
    assert!(matches!(error, Error::EtcdUnreachable { .. }), "{error:?}");
    let mut plain = server.settings("");
    plain.endpoints = vec![server.endpoint.replace("https", "http")];
    let error = Etcd::connect(&plain).await.unwrap_err();
    assert!(matches!(error, Error::EtcdUnreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_member_that_is_gone_is_passed_over() {
    let Some(server) = Server::start(false, &[]) else { return };
    let mut settings = server.settings("");
    settings.endpoints.insert(0, format!("http://127.0.0.1:{}", free_port()));
    let store = Etcd::connect(&settings).await.unwrap();
    assert_eq!(store.commit(Transaction::new().put(key("/a"), vec![1])).await.unwrap(), Committed::Done);
    assert_eq!(store.get(&key("/a")).await.unwrap(), Some(vec![1]));
    drop(server);
    let gone = store.commit(Transaction::new().put(key("/a"), vec![2])).await.unwrap_err();
    assert!(matches!(gone, Error::EtcdUnreachable { .. } | Error::EtcdUncertain { .. }), "{gone:?}");
    assert!(matches!(store.get(&key("/a")).await, Err(Error::EtcdUnreachable { .. })));
}

#[tokio::test]
async fn an_endpoint_that_is_none_is_named() {
    let settings = EtcdSettings { endpoints: vec!["pl-etcd:2379".to_owned()], tls: None, prefix: String::new() };
    let error = Etcd::connect(&settings).await.unwrap_err();
    assert_eq!(error.to_string(), "`pl-etcd:2379` is no endpoint of etcd: it looks like https://pl-etcd-client:2379");
}

#[tokio::test]
async fn etcd_without_space_says_so_and_keeps_what_it_has() {
    let Some(server) = Server::start(false, &["--quota-backend-bytes", "4000000"]) else { return };
    let store = server.connect("").await;
    let mut failure = None;
    for number in 0..32_u8 {
        if let Err(error) = store.commit(Transaction::new().put(key("/large"), vec![number; 500_000])).await {
            failure = Some((number, error));
            break;
        }
    }
    let (number, error) = failure.expect("4 MB are used up");
    assert!(matches!(error, Error::EtcdFull { .. }), "{error:?}");
    assert_eq!(store.get(&key("/large")).await.unwrap(), Some(vec![number - 1; 500_000]));
}

#[tokio::test]
async fn etcds_history_is_forgotten() {
    let Some(server) = Server::start(false, &[]) else { return };
    let store = server.connect("").await;
    for number in 0..10 {
        assert_eq!(store.commit(Transaction::new().put(key("/a"), vec![number])).await.unwrap(), Committed::Done);
    }
    let first = store.maintain().await.unwrap();
    assert!(first.revision >= 10 && !first.defragmented, "{first:?}");
    assert_eq!(store.maintain().await.unwrap().revision, first.revision, "once more does no harm");
    assert_eq!(store.get(&key("/a")).await.unwrap(), Some(vec![9]));
}

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    Scan(u8),
    Commit { conditions: Vec<(u8, Option<u8>)>, writes: BTreeMap<u8, Option<u8>> },
}

fn step() -> impl Strategy<Value = Step> {
    let condition = (0..6_u8, prop::option::of(0..2_u8));
    prop_oneof![
        (0..6_u8).prop_map(Step::Get),
        (0..3_u8).prop_map(Step::Scan),
        (prop::collection::vec(condition, 0..2), prop::collection::btree_map(0..6_u8, prop::option::weighted(0.7, 0..2_u8), 0..4))
            .prop_map(|(conditions, writes)| Step::Commit { conditions, writes }),
    ]
}

/// Keys that share beginnings.
fn name(number: u8) -> Key {
    key(["/a", "/a/", "/a/b", "/a/c", "/b", "/\u{10ffff}"][usize::from(number) % 6])
}

async fn behaves_like_a_map(store: &dyn Store, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut model: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Get(number) => {
                let found = store.get(&name(number)).await.unwrap();
                prop_assert_eq!(found.as_ref(), model.get(&name(number)));
            }
            Step::Scan(number) => {
                let found = store.scan(&name(number)).await.unwrap();
                let expected = model.iter().filter(|(key, _)| key.after(&name(number)).is_some());
                prop_assert_eq!(found, expected.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>());
            }
            Step::Commit { conditions, writes } => {
                let mut transaction = Transaction::new();
                let holds = conditions.iter().all(|(number, value)| model.get(&name(*number)) == value.map(|value| vec![value]).as_ref());
                for (number, value) in &conditions {
                    transaction = transaction.expect(name(*number), value.map(|value| vec![value]));
                }
                for (number, value) in writes {
                    transaction = match value {
                        Some(value) => transaction.put(name(number), vec![value]),
                        None => transaction.delete(name(number)),
                    };
                    match value {
                        Some(value) if holds => drop(model.insert(name(number), vec![value])),
                        None if holds => drop(model.remove(&name(number))),
                        Some(_) | None => {}
                    }
                }
                let expected = if holds { Committed::Done } else { Committed::Conflict };
                prop_assert_eq!(store.commit(transaction).await.unwrap(), expected);
            }
        }
    }
    Ok(())
}

/// Runs cases, each on a store of its own.
fn every_case(cases: u32, fresh: impl AsyncFn(u32) -> Arc<dyn Store>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let number = std::cell::Cell::new(0);
    runner
        .run(&prop::collection::vec(step(), 1..40), |steps| {
            number.set(number.get() + 1);
            runtime.block_on(async { behaves_like_a_map(fresh(number.get()).await.as_ref(), steps).await })
        })
        .unwrap();
}

#[test]
fn memory_behaves_like_a_map() {
    every_case(200, async |_| Arc::new(Memory::default()) as Arc<dyn Store>);
}

#[test]
fn a_file_behaves_like_a_map() {
    let folder = tempfile::tempdir().unwrap();
    every_case(12, async |number| Arc::new(Embedded::open(&folder.path().join(number.to_string())).unwrap()) as Arc<dyn Store>);
}

#[test]
fn etcd_behaves_like_a_map() {
    let Some(server) = Server::start(false, &[]) else { return };
    every_case(12, async |number| Arc::new(server.connect(&format!("/case-{number}")).await) as Arc<dyn Store>);
}
