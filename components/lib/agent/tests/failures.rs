//! What an agent that is gone, frozen, silent or foreign does to a query, and what a query that ends does to the agents.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use agent::{Compute, DialState, Dialer, HubArgs, KeepAlive};
use engine::distributed::{AgentWorker, AgentWorkerArgs, CoordinatorArgs, DistributedExecution, QuerySpec, SpillArgs};
use engine::{Error, Fault};
use ids::{AgentId, QueryId};
use support::{Fleet, NEVER, Options, Row, authority, empty_store, fill, functions, mutual, noise, quick_dial};
use table_store::TableStore;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Rows of an agent: 40 MB of text, far more than all windows and buffers between agent and reader hold.
const MANY: i64 = 40_000;
const EVERYTHING: &str = "#px:set max_output_rows_per_table=1000000\nimport px\npx.display(px.DataFrame('a'))\n";
const GROUPS: &str = "import px\ndf = px.DataFrame('a')\npx.display(df.groupby('ok').agg(n=('number', px.count)))\n";

/// A loaded machine is not a dead one: still long enough for that, and short enough for a test.
const KEEP_ALIVE: KeepAlive = KeepAlive { every: Duration::from_secs(1), answer_max: Duration::from_secs(5) };

fn store(rows: i64) -> Arc<TableStore> {
    let store = empty_store();
    let row = |i: i64| Row { time: i, service: noise(i), number: i, share: 0.0, ok: i % 2 == 0 };
    for from in (0..rows).step_by(1000) {
        fill(&store, "a", &(from..rows.min(from + 1000)).map(row).collect::<Vec<_>>());
    }
    store
}

async fn fleet(agents: usize, rows: i64, options: Options) -> Fleet {
    Fleet::start((0..agents).map(|_| store(rows)).collect(), options).await
}

fn reasons(missing: &[engine::distributed::MissingAgent]) -> Vec<(AgentId, &str)> {
    missing.iter().map(|missing| (missing.agent, missing.reason.as_str())).collect()
}

/// The rest of a query's rows.
async fn rest(execution: &mut DistributedExecution) -> Result<usize, Error> {
    let all = async {
        let mut rows = 0;
        while let Some(batch) = execution.next().await {
            rows += batch?.rows.num_rows();
        }
        Ok(rows)
    };
    tokio::time::timeout(NEVER, all).await.expect("a query that never ends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_gone_costs_its_rows_and_is_named() {
    let fleet = fleet(3, 10, Options::default()).await;
    fleet.members[1].proxy.cut();
    fleet.connected(2).await;
    let (answer, ended) = fleet.run(GROUPS).await.unwrap();
    assert_eq!(answer.outputs[0].1, [["false", "10"], ["true", "10"]]);
    assert_eq!(reasons(&ended.missing), [(fleet.members[1].id, "it is not connected to this Kelvin")]);
    assert_eq!(ended.agents_counted, 2);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_are_all_gone_leave_an_answer_without_rows() {
    let fleet = fleet(2, 10, Options::default()).await;
    fleet.members.iter().for_each(|member| member.proxy.cut());
    fleet.connected(0).await;
    let (answer, ended) = fleet.run(GROUPS).await.unwrap();
    assert_eq!((answer.rows(0), ended.missing.len()), (0, 2));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_dies_during_a_query_is_named_once_and_the_others_answer_in_full() {
    let fleet = fleet(3, MANY, Options::default()).await;
    let mut execution = fleet.execute(EVERYTHING).await.unwrap();
    let first = execution.next().await.unwrap().unwrap().rows.num_rows();
    fleet.members[1].proxy.cut();
    let rows = first + rest(&mut execution).await.unwrap();
    let ended = execution.end().await;
    assert!((2 * MANY as usize..3 * MANY as usize).contains(&rows), "{rows}");
    assert_eq!(ended.missing.len(), 1, "{ended:?}");
    assert_eq!(ended.missing[0].agent, fleet.members[1].id);
    assert!(ended.missing[0].reason.starts_with("its connection broke: "), "{ended:?}");
    fleet.no_leaves().await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_dials_again_and_is_whole_again() {
    let fleet = fleet(3, 10, Options::default()).await;
    fleet.members[1].proxy.cut();
    fleet.connected(2).await;
    let mut state = fleet.members[1].state.clone();
    let tried = state.wait_for(|state| !state.connected && state.failed > 2);
    assert!(tokio::time::timeout(NEVER, tried).await.unwrap().unwrap().reason.is_some());
    fleet.members[1].proxy.pass();
    fleet.connected(3).await;
    let (answer, ended) = fleet.run(GROUPS).await.unwrap();
    assert_eq!(answer.outputs[0].1, [["false", "15"], ["true", "15"]]);
    assert_eq!(ended.missing, []);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_agent_is_found_out_by_the_keep_alive() {
    let hub = HubArgs { keep_alive: KEEP_ALIVE, ..HubArgs::default() };
    let fleet = fleet(3, 10, Options { hub, ..Options::default() }).await;
    fleet.members[2].proxy.freeze();
    let (answer, ended) = fleet.run(GROUPS).await.unwrap();
    assert_eq!(answer.outputs[0].1, [["false", "10"], ["true", "10"]]);
    assert_eq!(ended.missing.len(), 1);
    assert!(ended.missing[0].reason.contains("keep-alive timed out"), "{ended:?}");
    fleet.connected(2).await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_says_nothing_for_too_long_is_not_waited_for() {
    let coordinator = CoordinatorArgs { agent_silence_max: Duration::from_secs(5), ..CoordinatorArgs::default() };
    let fleet = fleet(2, MANY, Options { coordinator, ..Options::default() }).await;
    let mut execution = fleet.execute(EVERYTHING).await.unwrap();
    let first = execution.next().await.unwrap().unwrap().rows.num_rows();
    fleet.members[0].proxy.freeze();
    let rows = first + rest(&mut execution).await.unwrap();
    let ended = execution.end().await;
    assert!((MANY as usize..2 * MANY as usize).contains(&rows), "{rows}");
    assert_eq!(reasons(&ended.missing), [(fleet.members[0].id, "sent nothing for 5s")]);
    fleet.members[0].proxy.cut();
    fleet.no_leaves().await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_slow_is_not_an_agent_that_is_silent() {
    let coordinator = CoordinatorArgs { agent_silence_max: Duration::from_secs(5), ..CoordinatorArgs::default() };
    let fleet = fleet(3, MANY, Options { coordinator, ..Options::default() }).await;
    let compiled = fleet.compile(EVERYTHING);
    let (read, frozen) = (fleet.agents()[..2].to_vec(), fleet.agents()[2..].to_vec());
    let mut slow = fleet.begin(QuerySpec { agents: read, ..fleet.spec(&compiled) }).await.unwrap();
    let first = slow.next().await.unwrap().unwrap().rows.num_rows();
    // Meanwhile another query finds its only agent silent: nothing of the first was read for as long.
    fleet.members[2].proxy.freeze();
    let mut other = fleet.begin(QuerySpec { agents: frozen, ..fleet.spec(&compiled) }).await.unwrap();
    assert_eq!(rest(&mut other).await.unwrap(), 0);
    assert_eq!(reasons(&other.end().await.missing), [(fleet.members[2].id, "sent nothing for 5s")]);
    assert_eq!(first + rest(&mut slow).await.unwrap(), 2 * MANY as usize);
    assert_eq!(slow.end().await.missing, []);
    fleet.members[2].proxy.cut();
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_is_cancelled_frees_the_agents() {
    let fleet = fleet(3, MANY, Options::default()).await;
    let spec = fleet.spec(&fleet.compile(EVERYTHING));
    let query = spec.query;
    let mut execution = fleet.begin(spec).await.unwrap();
    execution.next().await.unwrap().unwrap();
    for member in &fleet.members {
        let mut leaves = member.worker.queries().leaves();
        tokio::time::timeout(NEVER, leaves.wait_for(|leaves| *leaves == 1)).await.unwrap().unwrap();
    }
    assert!(fleet.coordinator.cancel(query));
    let error = rest(&mut execution).await.unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    assert_eq!(execution.end().await.agents_counted, 3);
    fleet.no_leaves().await;
    assert!(fleet.members.iter().all(|member| member.worker.queries().running() == 0));
    assert!(!fleet.coordinator.cancel(query));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_is_dropped_frees_the_agents() {
    let fleet = fleet(3, MANY, Options::default()).await;
    let mut execution = fleet.execute(EVERYTHING).await.unwrap();
    execution.next().await.unwrap().unwrap();
    drop(execution);
    fleet.no_leaves().await;
    assert_eq!(fleet.coordinator.running(), 0);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_has_ended_on_the_agent_fails_and_is_not_cut_short() {
    let fleet = fleet(1, MANY, Options::default()).await;
    let spec = fleet.spec(&fleet.compile(EVERYTHING));
    let query = spec.query;
    let mut execution = fleet.begin(spec).await.unwrap();
    execution.next().await.unwrap().unwrap();
    assert!(fleet.members[0].worker.queries().end(query).is_some());
    let error = rest(&mut execution).await.unwrap_err();
    assert!(format!("{error:?}").contains("the query was stopped"), "{error:?}");
    fleet.no_leaves().await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_ends_when_its_time_is_over() {
    let fleet = fleet(2, MANY, Options::default()).await;
    let spec = QuerySpec { time_max: Duration::from_secs(8), ..fleet.spec(&fleet.compile(EVERYTHING)) };
    let mut execution = fleet.begin(spec).await.unwrap();
    // Its reader does not read on: the agents stop by themselves.
    execution.next().await.unwrap().unwrap();
    fleet.no_leaves().await;
    let (mut last, mut rows) = (None, 0);
    while let Some(batch) = execution.next().await {
        match batch {
            Ok(batch) => rows += batch.rows.num_rows(),
            Err(error) => last = Some(error),
        }
    }
    assert!(last.is_some(), "{rows} rows, missing {:?}", execution.missing());
    assert!(matches!(last, Some(Error::OutOfTime { .. })), "{last:?}");
    drop(execution);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_refuses_fails_the_query() {
    let fleet = fleet(2, 10, Options::default()).await;
    let other = tables::Relation { columns: support::relation().columns.into_iter().take(2).collect() };
    for (member, relation) in fleet.members.iter().zip([support::relation(), other]) {
        member.store.create("c", relation).unwrap();
    }
    let catalog = engine::distributed::AgentCatalog::new([("c".to_owned(), support::relation())]);
    let spec = fleet.spec(&support::compile("import px\npx.display(px.DataFrame('c'))\n", &catalog, &functions()));
    let mut execution = fleet.begin(spec).await.unwrap();
    let error = rest(&mut execution).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Script);
    assert!(format!("{error:?}").contains("this agent's table c has no such column number"), "{error:?}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_beyond_those_that_run_and_wait_are_refused_and_an_id_is_used_once() {
    let coordinator = CoordinatorArgs { queries_running_max: 1, queries_waiting_max: 1, ..CoordinatorArgs::default() };
    let fleet = fleet(2, 10, Options { coordinator, ..Options::default() }).await;
    let compiled = fleet.compile(GROUPS);
    let first = fleet.spec(&compiled);
    let running = fleet.begin(first.clone()).await.unwrap();
    let again = fleet.begin(first).await.unwrap_err();
    assert!(matches!(again, Error::QueryExists { .. }), "{again:?}");
    let spec = fleet.spec(&compiled);
    let cancelled = spec.query;
    let mut waiting = Box::pin(fleet.begin(spec));
    assert!(futures::poll!(&mut waiting).is_pending());
    let refused = fleet.begin(fleet.spec(&compiled)).await.unwrap_err();
    assert_eq!(refused.to_string(), "1 queries run and 1 wait already: try again later");
    assert!(fleet.coordinator.cancel(cancelled));
    assert!(matches!(waiting.await, Err(Error::Cancelled)));
    let spec = QuerySpec { time_max: Duration::from_millis(50), ..fleet.spec(&compiled) };
    assert!(matches!(fleet.begin(spec).await, Err(Error::OutOfTime { .. })));
    drop(running);
    assert_eq!(fleet.run(GROUPS).await.unwrap().0.rows(0), 2);
    fleet.stop().await;
}

/// As many groups as rows, of a kilobyte each: more than the memory that the queries below may have.
const GROUPS_OF_ONE: &str = "#px:set max_output_rows_per_table=1000000\nimport px\ndf = px.DataFrame('a')\n\
                             px.display(df.groupby('service').agg(n=('number', px.count)))\n";

fn little_memory(spill: Option<SpillArgs>) -> Options {
    let coordinator = CoordinatorArgs { query_memory_bytes_max: 16 << 20, batch_rows: 512, spill, ..CoordinatorArgs::default() };
    Options { coordinator, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_reaches_its_memory_limit_fails_and_says_so() {
    let fleet = fleet(2, MANY, little_memory(None)).await;
    let error = fleet.run(GROUPS_OF_ONE).await.unwrap_err();
    assert!(matches!(error, Error::QueryMemory { bytes_max: 16_777_216, .. }), "{error:?}");
    fleet.no_leaves().await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_folder_to_spill_to_the_same_query_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let stale = folder.path().join("datafusion-of-an-earlier-run");
    std::fs::create_dir(&stale).unwrap();
    let spill = SpillArgs { folder: folder.path().to_owned(), bytes_max: 1 << 30 };
    let fleet = fleet(2, MANY, little_memory(Some(spill))).await;
    assert!(!stale.exists());
    let (answer, _) = fleet.run(GROUPS_OF_ONE).await.unwrap();
    assert_eq!(answer.rows(0), MANY as usize);
    assert!(answer.outputs[0].1.iter().all(|row| row[1] == "2"));
    assert_eq!(fleet.coordinator.spilled_bytes(), 0, "what was spilled is removed");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_spilled_has_a_limit_too() {
    let folder = tempfile::tempdir().unwrap();
    let spill = SpillArgs { folder: folder.path().to_owned(), bytes_max: 64 << 10 };
    let fleet = fleet(2, MANY, little_memory(Some(spill))).await;
    let error = fleet.run(GROUPS_OF_ONE).await.unwrap_err();
    assert!(matches!(error, Error::Resources(_)), "{error:?}");
    fleet.stop().await;
}

/// Waits until Kelvin has counted so many.
async fn refusals(fleet: &Fleet, number: u64) {
    let seen = async {
        while fleet.hub.counts().refused < number {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(NEVER, seen).await.unwrap_or_else(|_| panic!("{:?}", fleet.hub.counts()));
}

/// Dials with that identity until Kelvin has refused it twice.
async fn refused(fleet: &Fleet, tls: &rpc::MutualTls) -> String {
    let compute = Compute::new(1).unwrap();
    let id = AgentId::from_halves(8, 8);
    let worker = AgentWorker::new(id, empty_store(), functions(), AgentWorkerArgs::default());
    let dialer = Dialer::new(id, worker, compute.handle().clone(), tls.client());
    let (sender, mut state) = watch::channel(DialState::default());
    let (args, stop) = (quick_dial(fleet.hub_address), CancellationToken::new());
    let dialing = {
        let stop = stop.clone();
        tokio::spawn(async move { dialer.run(&args, &sender, &stop).await })
    };
    let state = tokio::time::timeout(NEVER, state.wait_for(|state| state.failed >= 2)).await.unwrap().unwrap().clone();
    stop.cancel();
    dialing.await.unwrap().unwrap();
    state.reason.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_with_another_authoritys_certificate_is_refused() {
    let fleet = fleet(1, 10, Options::default()).await;
    let (_folder, foreign) = authority();
    let reason = refused(&fleet, &mutual(&foreign)).await;
    assert!(reason.contains("invalid peer certificate"), "{reason}");
    // One that takes Kelvin for ours, but shows another's certificate.
    let identity = foreign.issue_peer(&[], std::time::SystemTime::now()).unwrap();
    let mixed = rpc::PeerIdentity { ca: fleet.authority.ca_pem().to_owned(), ..identity };
    let reason = refused(&fleet, &rpc::MutualTls::new(&mixed, agent::DIAL_PROTOCOL).unwrap()).await;
    assert!(reason.contains("the greeting") || reason.contains("no TLS"), "{reason}");
    refusals(&fleet, 4).await;
    assert_eq!(fleet.hub.agents(), fleet.agents());
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_agent_is_refused_and_disturbs_nobody() {
    use tokio::io::AsyncWriteExt;
    let fleet = fleet(1, 10, Options::default()).await;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"", &[0x16, 3, 1, 255, 255, 1]] {
        let mut socket = tokio::net::TcpStream::connect(fleet.hub_address).await.unwrap();
        // Kelvin may have closed it by then.
        socket.write_all(bytes).await.ok();
        socket.shutdown().await.ok();
    }
    refusals(&fleet, 3).await;
    assert_eq!(fleet.run(GROUPS).await.unwrap().0.rows(0), 2);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_agent_too_many_is_refused_and_told_why() {
    let fleet = fleet(2, 10, Options { hub: HubArgs { agents_max: 2, ..HubArgs::default() }, ..Options::default() }).await;
    let reason = refused(&fleet, &fleet.tls).await;
    assert!(reason.ends_with("refused: 2 agents are connected to this Kelvin already"), "{reason}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_not_known_is_missing_and_a_plan_that_is_none_is_refused() {
    let fleet = fleet(1, 10, Options::default()).await;
    let nobody = AgentId::from_halves(1, 2);
    let spec = fleet.spec(&fleet.compile(GROUPS));
    let spec = QuerySpec { agents: vec![fleet.members[0].id, nobody, fleet.members[0].id], ..spec };
    let mut execution = fleet.begin(spec).await.unwrap();
    assert_eq!(rest(&mut execution).await.unwrap(), 2);
    assert_eq!(reasons(&execution.end().await.missing), [(nobody, "it is not connected to this Kelvin")]);
    for bytes in [vec![1, 2, 3], Vec::new(), vec![0x0a; 5 << 20]] {
        let spec = QuerySpec {
            query: QueryId::from_halves(3, bytes.len() as u64),
            agents: fleet.agents(),
            outputs: vec![(bytes, support::relation())],
            time_max: NEVER,
            streaming: false,
            analyze: false,
        };
        let error = fleet.begin(spec).await.unwrap_err();
        assert!(matches!(error, Error::Plan(_) | Error::PlanBytes { .. }), "{error:?}");
    }
    assert_eq!(fleet.coordinator.running(), 0);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_for_older_or_newer_plans_is_refused_with_both_versions() {
    use prost::Message;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let fleet = fleet(1, 10, Options::default()).await;
    for version in ["vizier 0.0.1 datafusion 55.2", "vizier 99.0.0 datafusion 60.0", ""] {
        let socket = tokio::net::TcpStream::connect(fleet.hub_address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(fleet.tls.client());
        let mut stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
        let hello = api::internal::Hello { agent_id: vec![4; 16], plan_version: version.to_owned() }.encode_to_vec();
        stream.write_all(&(hello.len() as u16).to_be_bytes()).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut reply = vec![0; usize::from(length)];
        stream.read_exact(&mut reply).await.unwrap();
        let reply = api::internal::HelloReply::decode(reply.as_slice()).unwrap();
        let ours = engine::distributed::PLAN_VERSION;
        assert_eq!(reply.refusal, format!("the agent's plans are of `{version}`, this Kelvin's of `{ours}`"));
    }
    refusals(&fleet, 3).await;
    assert_eq!(fleet.hub.agents(), fleet.agents());
    fleet.stop().await;
}
