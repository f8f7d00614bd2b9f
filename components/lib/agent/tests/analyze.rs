//! How a query is made, and what each step of it took, where it ran.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use engine::distributed::{PlanStep, QuerySpec, StepAt};
use support::{Fleet, NEVER, Options, Row, empty_store, fill};

const ROWS: [i64; 3] = [100, 200, 0];
const SCRIPT: &str = "import px\ndf = px.DataFrame('a')\ndf = df[df.number < 150]\n\
                      px.display(df.groupby('service').agg(n=('number', px.count)))\n";

fn rows(count: i64) -> Vec<Row> {
    (0..count).map(|n| Row { time: n, service: format!("s{}", n % 4), number: n, share: 0.0, ok: true }).collect()
}

async fn fleet() -> Fleet {
    let stores = ROWS.map(|count| {
        let store = empty_store();
        fill(&store, "a", &rows(count));
        store
    });
    Fleet::start(stores.into(), Options::default()).await
}

/// The steps when all rows have come; `kill`: an agent that goes away before.
async fn steps(fleet: &Fleet, analyze: bool, kill: Option<usize>) -> (Vec<PlanStep>, usize) {
    let compiled = fleet.compile(SCRIPT);
    let mut execution = fleet.begin(QuerySpec { analyze, ..fleet.spec(&compiled) }).await.unwrap();
    if let Some(at) = kill {
        fleet.members[at].proxy.cut();
    }
    let steps = async {
        while let Some(batch) = execution.next().await {
            batch.unwrap();
        }
        execution.steps(0).await.unwrap()
    };
    let steps = tokio::time::timeout(NEVER, steps).await.expect("steps that never come");
    (steps, execution.end().await.missing.len())
}

fn number(text: &str, name: &str) -> u64 {
    let value = text.split(&format!("{name}=")).nth(1).unwrap_or_else(|| panic!("no {name} in {text}"));
    value.split([',', ']']).next().unwrap().parse().unwrap_or_else(|_| panic!("{name} of {text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_agents_steps_and_those_of_the_coordinator_are_told_with_their_rows_bytes_and_times() {
    let fleet = fleet().await;
    let (steps, _) = steps(&fleet, true, None).await;
    for (agent, count) in fleet.agents().into_iter().zip(ROWS) {
        let own: Vec<&PlanStep> = steps.iter().filter(|step| step.at == StepAt::Agent(agent)).collect();
        let scan = own.iter().find(|step| step.text.starts_with("AgentScan")).unwrap_or_else(|| panic!("{steps:#?}"));
        let kept = count.min(150) as u64;
        assert_eq!((number(&scan.text, "rows_read"), number(&scan.text, "output_rows")), (count as u64, kept), "{}", scan.text);
        assert!(scan.text.contains("bytes_read=") && scan.text.contains("elapsed_compute="), "{}", scan.text);
        let partial = own.iter().find(|step| step.text.contains("mode=Partial")).unwrap();
        assert!(partial.depth < scan.depth);
        assert_eq!(number(&partial.text, "output_rows"), kept.min(4));
    }
    let whole = steps.iter().find(|step| step.text.contains("mode=Final")).unwrap_or_else(|| panic!("{steps:#?}"));
    assert_eq!((whole.at, number(&whole.text, "output_rows")), (StepAt::Coordinator, 4));
    assert!(steps.iter().any(|step| step.at == StepAt::Coordinator && step.text.contains("bytes_transferred=")), "{steps:#?}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_times_the_agents_part_is_told_once() {
    let fleet = fleet().await;
    let (steps, _) = steps(&fleet, false, None).await;
    assert!(steps.iter().all(|step| !step.text.contains("metrics=")), "{steps:#?}");
    let scans: Vec<_> = steps.iter().filter(|step| step.text.starts_with("AgentScan")).collect();
    let [scan] = scans[..] else { panic!("{steps:#?}") };
    assert!(scan.at == StepAt::EachAgent && scan.text.ends_with("agents=3"), "{}", scan.text);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_dies_keeps_nobody_waiting_for_its_times() {
    let fleet = fleet().await;
    let (steps, missing) = steps(&fleet, true, Some(1)).await;
    let of = |at: usize| steps.iter().filter(|step| step.at == StepAt::Agent(fleet.agents()[at])).count();
    assert!(of(0) > 0 && of(2) > 0, "{steps:#?}");
    assert!(missing == 1 && of(1) == 0 || missing == 0, "it is told of, or it is missing: {steps:#?}");
    fleet.stop().await;
}
