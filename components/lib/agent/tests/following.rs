//! Queries that stream over agents.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use engine::Error;
use engine::distributed::{CoordinatorArgs, DistributedExecution, QuerySpec};
use support::{Fleet, NEVER, Options, Row, empty_store, fill};

const ALL: &str = "#px:set max_output_rows_per_table=1000000\nimport px\npx.display(px.DataFrame('a'))\n";
/// Only as long as a test has to wait for it.
const SILENCE_MAX: Duration = Duration::from_millis(300);

fn rows(agent: i64, numbers: std::ops::Range<i64>) -> Vec<Row> {
    let row = |number: i64| Row { time: number, service: format!("s{agent}"), number, share: 0.0, ok: number % 2 == 0 };
    numbers.map(row).collect()
}

async fn fleet(agents: i64, coordinator: CoordinatorArgs) -> Fleet {
    let stores = (0..agents).map(|agent| {
        let store = empty_store();
        fill(&store, "a", &rows(agent, 0..10));
        store
    });
    Fleet::start(stores.collect(), Options { coordinator, ..Options::default() }).await
}

async fn stream(fleet: &Fleet, script: &str) -> Result<DistributedExecution, Error> {
    let mut compiled = fleet.compile(script);
    compiled.outputs.iter_mut().for_each(|output| output.streaming = true);
    fleet.begin(QuerySpec { streaming: true, ..fleet.spec(&compiled) }).await
}

/// Reads on until so many rows have come: service and number of each.
async fn read(execution: &mut DistributedExecution, rows: usize) -> Vec<(String, i64)> {
    let mut read = Vec::new();
    let enough = async {
        while read.len() < rows {
            let batch = execution.next().await.unwrap().unwrap().rows;
            let services = batch.column_by_name("service").unwrap().as_string::<i32>();
            let numbers = batch.column_by_name("number").unwrap().as_primitive::<Int64Type>().values();
            read.extend(services.iter().flatten().map(str::to_owned).zip(numbers.iter().copied()));
        }
    };
    tokio::time::timeout(NEVER, enough).await.unwrap_or_else(|_| panic!("rows that do not come"));
    read
}

/// Until each agent follows its table: rows appended before are not wanted.
async fn following(fleet: &Fleet, execution: &mut DistributedExecution) {
    let all = async {
        for member in &fleet.members {
            let mut leaves = member.worker.queries().leaves();
            leaves.wait_for(|leaves| *leaves == 1).await.unwrap();
        }
    };
    tokio::select! {
        next = execution.next() => panic!("{next:?}"),
        done = tokio::time::timeout(NEVER, all) => done.expect("no scan"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_every_agent_come_as_they_are_appended_each_once_and_in_order() {
    let fleet = fleet(3, CoordinatorArgs::default()).await;
    let script = "import px\ndf = px.DataFrame('a')\ndf = df[df.ok]\ndf.number = df.number * 10\npx.display(df[['service', 'number']])\n";
    let mut execution = stream(&fleet, script).await.unwrap();
    following(&fleet, &mut execution).await;
    let mut seen = vec![Vec::new(); 3];
    for turn in 1..=5 {
        for (agent, member) in (0..).zip(&fleet.members) {
            fill(&member.store, "a", &rows(agent, turn * 10..turn * 10 + 3));
            member.store.seal().unwrap();
        }
        // All that are there are read before more come: nothing is held back.
        for (service, number) in read(&mut execution, 6).await {
            seen[service[1..].parse::<usize>().unwrap()].push(number);
        }
    }
    let want: Vec<i64> = (1..=5).flat_map(|turn| [turn * 100, turn * 100 + 20]).collect();
    assert_eq!(seen, [want.clone(), want.clone(), want]);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_cancelled_or_dropped_frees_the_agents() {
    let fleet = fleet(2, CoordinatorArgs::default()).await;
    let mut dropped = stream(&fleet, ALL).await.unwrap();
    following(&fleet, &mut dropped).await;
    drop(dropped);
    fleet.no_leaves().await;
    let compiled = fleet.compile(ALL);
    let spec = QuerySpec { streaming: true, time_max: Duration::ZERO, ..fleet.spec(&compiled) };
    let query = spec.query;
    let mut cancelled = fleet.begin(spec).await.unwrap();
    following(&fleet, &mut cancelled).await;
    assert!(fleet.coordinator.cancel(query));
    assert!(matches!(cancelled.next().await, Some(Err(Error::Cancelled))));
    drop(cancelled);
    fleet.no_leaves().await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_with_nothing_to_say_is_asked_and_one_that_is_frozen_is_missing() {
    let fleet = fleet(2, CoordinatorArgs { agent_silence_max: SILENCE_MAX, ..CoordinatorArgs::default() }).await;
    let mut execution = stream(&fleet, ALL).await.unwrap();
    following(&fleet, &mut execution).await;
    // Nothing for several times as long as an agent may be silent. The query reads on meanwhile.
    let quiet = tokio::time::timeout(SILENCE_MAX * 5, execution.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    assert_eq!(execution.missing(), []);
    fleet.members[1].proxy.freeze();
    let missing = async {
        while execution.missing().is_empty() {
            let next = tokio::time::timeout(SILENCE_MAX, execution.next()).await;
            assert!(next.is_err(), "{next:?}");
        }
    };
    tokio::time::timeout(NEVER, missing).await.expect("a frozen agent is not noticed");
    assert_eq!(execution.missing()[0].agent, fleet.members[1].id);
    fill(&fleet.members[0].store, "a", &rows(0, 50..51));
    assert_eq!(read(&mut execution, 1).await, [("s0".to_owned(), 50)]);
    fleet.members[1].proxy.cut();
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_stream_is_refused_and_streams_take_no_other_querys_place() {
    let args = CoordinatorArgs { queries_running_max: 1, queries_waiting_max: 0, streams_running_max: 1, ..CoordinatorArgs::default() };
    let fleet = fleet(1, args).await;
    let error = stream(&fleet, "import px\npx.display(px.DataFrame('a').agg(n=('number', px.sum)))\n").await.unwrap_err();
    assert!(matches!(error, Error::Blocking { operator: "an aggregate" }), "{error:?}");
    let running = stream(&fleet, ALL).await.unwrap();
    assert!(matches!(stream(&fleet, ALL).await, Err(Error::Busy { running_max: 1, waiting_max: 0 })));
    assert_eq!(fleet.run(ALL).await.unwrap().0.rows(0), 10);
    drop(running);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_slows_no_writer_and_what_expired_meanwhile_is_counted() {
    let store = empty_store();
    let limits = table_store::Limits { bytes_max: 8 << 20, seal_raw_bytes: 1 << 20 };
    let table = store.create_with_limits("a", support::relation(), limits).unwrap();
    let fleet = Fleet::start(vec![Arc::clone(&store)], Options::default()).await;
    let mut execution = stream(&fleet, ALL).await.unwrap();
    following(&fleet, &mut execution).await;
    // Far more than windows, buffers and the table hold together.
    let row = |number: i64| Row { time: number, service: support::noise(number), number, share: 0.0, ok: true };
    for from in (0..40_000).step_by(500) {
        table.append(support::batch(&(from..from + 500).map(row).collect::<Vec<_>>())).unwrap();
    }
    assert!(table.stats().rows_expired > 20_000);
    let (mut next, mut missed) = (0, 0);
    while next < 40_000 {
        for (_, number) in read(&mut execution, 1).await {
            missed += number - next;
            assert!(number >= next, "{number} after {next}");
            next = number + 1;
        }
    }
    assert!(missed > 0);
    let ended = execution.end().await;
    let quality = &ended.qualities[0].tables[0];
    assert!(quality.expired_in_range && quality.rows_expired >= missed as u64, "{quality:?}");
    fleet.stop().await;
}
