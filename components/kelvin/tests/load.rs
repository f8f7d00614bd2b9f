//! What many queries, large ones, slow readers and sudden ends do.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

mod support;

use agent::wire::{decode_rows, decode_schema, of_kelvin};
use api::internal::execute_plan_response::Message;
use api::internal::{CancelRequest, ExecutePlanRequest};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use engine::distributed::PLAN_VERSION;
use ids::QueryId;
use support::{EVERYTHING, MANY, NEVER, Vizier, append, read, read_on, store};
use tonic::Code;

const SUM: &str = "import px\npx.display(px.DataFrame('t').agg(n=('number', px.sum)))\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_queries_at_once_are_answered_all() {
    let vizier = Vizier::start(vec![store(1000), store(2000), store(3000)], &[]).await;
    let client = vizier.client().await;
    let sum = |rows: i64| rows * (rows - 1) / 2;
    let queries = (1..=50).map(|query| {
        let (mut client, request) = (client.clone(), vizier.request(query, SUM));
        tokio::spawn(async move { read(client.execute_plan(request).await.unwrap().into_inner()).await.unwrap() })
    });
    for query in queries.collect::<Vec<_>>() {
        let (rows, end) = query.await.unwrap();
        assert_eq!(rows[0][0].column(0).as_primitive::<Int64Type>().value(0), sum(1000) + sum(2000) + sum(3000));
        assert_eq!((end.agents_counted, end.rows_read, end.missing.len()), (3, 6000, 0));
    }
    vizier.no_leaves().await;
    assert!(vizier.workers.iter().all(|worker| worker.queries().running() == 0));
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_holds_the_agents_up_and_nobody_else() {
    let vizier = Vizier::start(vec![store(MANY)], &[]).await;
    let mut client = vizier.client().await;
    let request = ExecutePlanRequest { time_max_ms: 60_000, ..vizier.request(1, EVERYTHING) };
    let mut slow = client.execute_plan(request).await.unwrap().into_inner();
    slow.message().await.unwrap().unwrap();
    slow.message().await.unwrap().unwrap();
    // Others read all of the table meanwhile, several times.
    for query in 2..6 {
        let (_, end) = read(client.execute_plan(vizier.request(query, SUM)).await.unwrap().into_inner()).await.unwrap();
        assert_eq!(end.rows_read, MANY as u64);
    }
    let reads = vizier.workers[0].queries().end(QueryId::from_bytes([1; 16])).unwrap();
    assert!(reads.rows < MANY as u64 * 3 / 4, "{reads:?}");
    drop(slow);
    vizier.no_leaves().await;
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_many_gigabytes_is_cut_by_its_limit_and_the_agents_stop_at_once() {
    // Each of 10,000 rows with each of them, two kilobytes a row: 200 GB.
    let vizier = Vizier::start(vec![store(5000), store(5000)], &["--query-memory-bytes-max", "67108864"]).await;
    let mut client = vizier.client().await;
    let script = "#px:set max_output_rows_per_table=2000\nimport px\na = px.DataFrame('t')\na.one = 1\n\
                  px.display(a.merge(a, how='inner', left_on='one', right_on='one', suffixes=['', '_b']))\n";
    let (rows, _) = read(client.execute_plan(vizier.request(1, script)).await.unwrap().into_inner()).await.unwrap();
    assert_eq!(rows[0].iter().map(RecordBatch::num_rows).sum::<usize>(), 2000);
    let script = "#px:set max_output_rows_per_table=10\nimport px\npx.display(px.DataFrame('t'))\n";
    let (rows, end) = read(client.execute_plan(vizier.request(2, script)).await.unwrap().into_inner()).await.unwrap();
    assert_eq!(rows[0].iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
    assert!(end.rows_read <= 20, "{end:?}");
    vizier.no_leaves().await;
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_into_memory_is_refused_with_the_limit() {
    // As many groups as rows, of a kilobyte each. That such a query succeeds with a folder to spill to is `agent`'s test.
    let script = "#px:set max_output_rows_per_table=1000000\nimport px\ndf = px.DataFrame('t')\n\
                  px.display(df.groupby('text').agg(n=('number', px.count)))\n";
    let vizier = Vizier::start(vec![store(30_000), store(30_000)], &["--query-memory-bytes-max", "16777216"]).await;
    let answers = vizier.client().await.execute_plan(vizier.request(1, script)).await.unwrap().into_inner();
    let status = read_on(answers).await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("16777216 bytes of memory that one query may have"), "{status:?}");
    vizier.no_leaves().await;
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_an_older_or_newer_broker_is_refused_with_both_versions() {
    let vizier = Vizier::start(vec![store(10)], &[]).await;
    let mut client = vizier.client().await;
    for version in ["vizier 0.0.1 datafusion 55.2", "vizier 99.0.0 datafusion 60.0", ""] {
        let request = ExecutePlanRequest { plan_version: version.to_owned(), ..vizier.request(1, SUM) };
        let status = client.execute_plan(request).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), format!("the plan is of `{version}`, this Kelvin runs plans of `{PLAN_VERSION}`"));
    }
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_id_is_used_once_at_a_time_and_one_that_is_over_is_not_known() {
    let vizier = Vizier::start(vec![store(MANY)], &[]).await;
    let mut client = vizier.client().await;
    let mut first = client.execute_plan(vizier.request(1, EVERYTHING)).await.unwrap().into_inner();
    first.message().await.unwrap().unwrap();
    let status = client.execute_plan(vizier.request(1, SUM)).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
    while first.message().await.unwrap().is_some() {}
    let cancel = CancelRequest { query_id: vec![1; 16] };
    assert!(!client.cancel(cancel.clone()).await.unwrap().into_inner().known);
    // Agents remember for a while that it has ended: a task that is late must not run.
    let status = read_on(client.execute_plan(vizier.request(1, SUM)).await.unwrap().into_inner()).await;
    assert!(status.message().contains("has ended"), "{status:?}");
    assert!(!client.cancel(cancel).await.unwrap().into_inner().known);
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kelvin_that_is_killed_is_unavailable_to_its_callers() {
    let mut vizier = Vizier::start_process(vec![store(MANY)], &[]).await;
    let mut answers = vizier.client().await.execute_plan(vizier.request(1, EVERYTHING)).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    answers.message().await.unwrap().unwrap();
    vizier.kill();
    let status = of_kelvin(read_on(answers).await);
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    vizier.no_leaves().await;
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kelvin_that_stops_says_so_to_its_callers() {
    let vizier = Vizier::start(vec![store(MANY)], &[]).await;
    let mut answers = vizier.client().await.execute_plan(vizier.request(1, EVERYTHING)).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    vizier.shell.stop.cancel();
    // Kelvin lets a query go on for as long as it is read; this one is.
    let end = tokio::time::timeout(NEVER, async {
        loop {
            match answers.message().await {
                Ok(Some(answer)) if matches!(answer.message, Some(Message::End(_))) => return None,
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ends without an end"),
                Err(status) => return Some(of_kelvin(status)),
            }
        }
    });
    if let Some(status) = end.await.unwrap() {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_stream_to_the_broker_as_they_are_appended() {
    let stores = vec![store(10), store(10)];
    let vizier = Vizier::start(stores.clone(), &[]).await;
    let script = "import px\ndf = px.DataFrame('t')\ndf = df[df.number % 2 == 0]\npx.display(df[['number']])\n";
    // The limit of time is for others.
    let request = ExecutePlanRequest { streaming: true, time_max_ms: 1, ..vizier.request(1, script) };
    let mut client = vizier.client().await;
    let mut answers = client.execute_plan(request).await.unwrap().into_inner();
    let Some(Message::Schema(schema)) = answers.message().await.unwrap().unwrap().message else { panic!("no schema") };
    let schema = decode_schema(&schema).unwrap();
    for worker in &vizier.workers {
        let mut leaves = worker.queries().leaves();
        tokio::time::timeout(NEVER, leaves.wait_for(|leaves| *leaves == 1)).await.expect("no scan").unwrap();
    }
    for turn in 1..=5 {
        append(&stores[turn as usize % 2], turn * 100..turn * 100 + 3);
        let answer = tokio::time::timeout(NEVER, answers.message()).await.expect("rows that do not come").unwrap().unwrap();
        let Some(Message::Rows(rows)) = answer.message else { panic!("{answer:?}") };
        let rows = decode_rows(&rows, &schema).unwrap();
        assert_eq!(rows.column(0).as_primitive::<Int64Type>().values().to_vec(), [turn * 100, turn * 100 + 2]);
    }
    assert!(client.cancel(CancelRequest { query_id: vec![1; 16] }).await.unwrap().into_inner().known);
    assert_eq!(read_on(answers).await.code(), Code::Cancelled);
    vizier.no_leaves().await;
    let request = ExecutePlanRequest { streaming: true, ..vizier.request(2, SUM) };
    let status = read_on(client.execute_plan(request).await.unwrap().into_inner()).await;
    assert_eq!((status.code(), status.message().contains("an aggregate cannot stream")), (Code::InvalidArgument, true), "{status:?}");
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_tells_how_complete_each_agents_rows_were() {
    let vizier = Vizier::start(vec![store(10), store(20)], &[]).await;
    let script = "import px\npx.display(px.DataFrame('t', start_time=px.seconds(0) + 5))\n";
    let (_, end) = read(vizier.client().await.execute_plan(vizier.request(1, script)).await.unwrap().into_inner()).await.unwrap();
    let told: Vec<_> = end.qualities.iter().map(|quality| (quality.agent_id.clone(), quality.tables.clone())).collect();
    let want = api::internal::TableQuality { table: "t".to_owned(), asked_from_ns: 5, ..Default::default() };
    assert_eq!(told, [0, 1].map(|agent| (vizier.agent(agent).to_bytes().to_vec(), vec![want.clone()])));
    vizier.stop().await;
}
