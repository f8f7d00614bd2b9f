//! Kelvin as the query broker and the agents see it: over real connections, with real certificates.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

mod support;

use std::time::SystemTime;

use api::internal::kelvin_client::KelvinClient;
use api::internal::plan_step::At;
use api::internal::{CancelRequest, ExecutePlanRequest};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use engine::distributed::PLAN_VERSION;
use kelvin::{Args, run};
use rpc::{CertificateAuthority, PeerIdentity};
use service::Shell;
use support::{EVERYTHING, MANY, Vizier, read, read_on, relation, store};
use tokio_util::sync::CancellationToken;
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_answered_with_schemas_rows_and_an_end() {
    let vizier = Vizier::start(vec![store(10), store(20)], &[]).await;
    let script =
        "import px\ndf = px.DataFrame('t')\npx.display(df.agg(n=('number', px.sum)), 'sum')\npx.display(df[df.number > 14], 'some')\n";
    let mut request = vizier.request(1, script);
    request.agent_ids.push(vec![9; 16]);
    let answers = vizier.client().await.execute_plan(request).await.unwrap().into_inner();
    let (rows, end) = read(answers).await.unwrap();
    assert_eq!(rows[0][0].column(0).as_primitive::<Int64Type>().value(0), 45 + 190);
    assert_eq!(*rows[1][0].schema(), relation().arrow_schema());
    assert_eq!(rows[1].iter().map(RecordBatch::num_rows).sum::<usize>(), 5);
    assert_eq!((end.agents_counted, end.rows_read), (2, 60));
    assert_eq!(end.missing.iter().map(|missing| missing.agent_id.clone()).collect::<Vec<_>>(), [vec![9; 16]]);
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_an_output_is_made_is_told_at_the_end_with_what_each_agents_steps_took() {
    let vizier = Vizier::start(vec![store(10), store(20)], &[]).await;
    let script = "import px\ndf = px.DataFrame('t')\npx.display(df.agg(n=('number', px.sum)))\n";
    let ask = async |query: u8, explain: bool, analyze: bool| {
        let request = ExecutePlanRequest { explain, analyze, ..vizier.request(query, script) };
        let answers = vizier.client().await.execute_plan(request).await.unwrap().into_inner();
        read(answers).await.unwrap().1.plans
    };
    assert_eq!(ask(1, false, false).await, []);
    let plans = ask(2, true, false).await;
    assert!(plans.len() == 1 && plans[0].steps.iter().any(|step| step.at == Some(At::EachAgent(true))), "{plans:#?}");
    let plans = ask(3, false, true).await;
    for (at, rows) in [(0, 10), (1, 20)] {
        let own = plans[0].steps.iter().filter(|step| step.at == Some(At::AgentId(vizier.agent(at).to_bytes().to_vec())));
        let scan = own.filter(|step| step.text.starts_with("AgentScan")).collect::<Vec<_>>();
        assert!(scan.len() == 1 && scan[0].text.contains(&format!("rows_read={rows}")), "{plans:#?}");
    }
    assert!(plans[0].steps[0].at.is_none() && plans[0].steps[0].text.contains("metrics=["), "{plans:#?}");
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_come_in_messages_that_a_client_takes() {
    let vizier = Vizier::start(vec![store(MANY)], &[]).await;
    let answers = vizier.client().await.execute_plan(vizier.request(1, EVERYTHING)).await.unwrap().into_inner();
    let (rows, _) = read(answers).await.unwrap();
    assert_eq!(rows[0].iter().map(RecordBatch::num_rows).sum::<usize>(), MANY as usize);
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_cancelled_by_its_id() {
    let vizier = Vizier::start(vec![store(MANY), store(MANY)], &[]).await;
    let mut client = vizier.client().await;
    let answers = client.execute_plan(vizier.request(1, EVERYTHING)).await.unwrap().into_inner();
    let known = client.cancel(CancelRequest { query_id: vec![1; 16] }).await.unwrap().into_inner().known;
    assert!(known);
    assert_eq!(read(answers).await.unwrap_err().code(), Code::Cancelled);
    vizier.no_leaves().await;
    let known = client.cancel(CancelRequest { query_id: vec![1; 16] }).await.unwrap().into_inner().known;
    assert!(!known);
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_hangs_up_ends_its_query() {
    let vizier = Vizier::start(vec![store(MANY), store(MANY)], &[]).await;
    let mut answers = vizier.client().await.execute_plan(vizier.request(1, EVERYTHING)).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    answers.message().await.unwrap().unwrap();
    drop(answers);
    vizier.no_leaves().await;
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_gets_the_time_it_asks_for_and_no_more_than_is_allowed() {
    let vizier = Vizier::start(vec![store(MANY)], &["--query-time-max-ms", "8000"]).await;
    let request = ExecutePlanRequest { time_max_ms: u64::MAX, ..vizier.request(1, EVERYTHING) };
    let mut answers = vizier.client().await.execute_plan(request).await.unwrap().into_inner();
    // The schema, and the first rows.
    answers.message().await.unwrap().unwrap();
    answers.message().await.unwrap().unwrap();
    // Not read on: the agent stops when the time is over.
    vizier.no_leaves().await;
    assert_eq!(read_on(answers).await.code(), Code::DeadlineExceeded);
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_make_no_sense_are_refused_with_what_is_wrong() {
    let vizier = Vizier::start(vec![store(10)], &[]).await;
    let mut client = vizier.client().await;
    let good = vizier.request(1, EVERYTHING);
    let other = ExecutePlanRequest { plan_version: "vizier 0.0.1".to_owned(), ..good.clone() };
    let status = client.execute_plan(other).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), format!("the plan is of `vizier 0.0.1`, this Kelvin runs plans of `{PLAN_VERSION}`"));
    let status = client.execute_plan(ExecutePlanRequest { query_id: vec![1], ..good.clone() }).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "query_id: not 16 bytes"));
    let mut garbage = good.clone();
    garbage.outputs[0].plan = vec![1, 2, 3];
    let answers = client.execute_plan(garbage).await.unwrap().into_inner();
    assert_eq!(read(answers).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(read(client.execute_plan(good).await.unwrap().into_inner()).await.unwrap().1.rows_read, 10);
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_without_a_certificate_of_ours_is_refused() {
    let vizier = Vizier::start(vec![store(10)], &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let foreign = CertificateAuthority::open(folder.path(), &[], SystemTime::now()).unwrap().issue_peer(&[], SystemTime::now()).unwrap();
    let mixed = PeerIdentity { ca: vizier.identity.ca.clone(), ..foreign };
    let refused = match vizier.channel(&mixed).await {
        Err(_) => true,
        Ok(channel) => KelvinClient::new(channel).cancel(CancelRequest { query_id: vec![1; 16] }).await.is_err(),
    };
    assert!(refused);
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_queries_run_at_once_and_one_too_many_is_refused() {
    let vizier = Vizier::start(vec![store(MANY)], &["--queries-running-max", "2", "--queries-waiting-max", "0"]).await;
    let mut client = vizier.client().await;
    let mut running = Vec::new();
    for query in 1..=2 {
        let mut answers = client.execute_plan(vizier.request(query, EVERYTHING)).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap();
        running.push(answers);
    }
    let refused = client.execute_plan(vizier.request(3, EVERYTHING)).await.unwrap().into_inner();
    let status = read(refused).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "2 queries run and 0 wait already: try again later");
    drop(running);
    vizier.no_leaves().await;
    vizier.stop().await;
}

#[test]
fn the_command_line_is_as_documented() {
    let command = <Args as clap::CommandFactory>::command();
    command.clone().debug_assert();
    let readme = include_str!("../README.md");
    let shell = <service::ServiceArgs as clap::Args>::augment_args(clap::Command::new("shell"));
    let of_the_shell = |argument: &clap::Arg| shell.get_arguments().any(|other| other.get_id() == argument.get_id());
    for argument in command.get_arguments().filter(|argument| argument.get_env().is_some() && !of_the_shell(argument)) {
        let row = format!("| `--{}` | `{}` |", argument.get_long().unwrap(), argument.get_env().unwrap().to_string_lossy());
        assert!(readme.contains(&row), "README.md has no row {row}");
    }
}

#[tokio::test]
async fn kelvin_says_which_certificate_it_cannot_read() {
    let line = ["kelvin", "--tls-ca-cert", "/nowhere/ca.crt", "--tls-cert", "/nowhere/a", "--tls-key", "/nowhere/b"];
    let args = <Args as clap::Parser>::try_parse_from(line).unwrap();
    let shell = Shell { stop: CancellationToken::new(), ..Shell::default() };
    let error = run(args, shell).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nowhere/"), "{error}");
}
