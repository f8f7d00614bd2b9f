//! Rows dealt to agents give the answer of one engine that has them all.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::distributed::{PlanStep, StepAt};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use support::{Answer, Fleet, Options, Row, empty_store, fill, run_local};
use table_store::TableStore;

/// Numbers of agents: none left out by chance, one (which the planner would like to treat apart), few, many.
const AGENTS: [usize; 4] = [1, 2, 3, 8];

/// Every step that a script can have and that is planned in its own way.
const SHAPES: [(&str, &str); 27] = [
    ("scan", "px.display(A)"),
    ("columns", "px.display(A[['number', 'service']])"),
    ("filter", "df = A\npx.display(df[df.number > 10])"),
    ("filters", "df = A\ndf = df[df.service == 's1' or df.share < 0.0]\npx.display(df[not df.ok][['number', 'service']])"),
    ("computed", "df = A\ndf.twice = df.number * 2 + 1\ndf.name = df.service + '/x'\npx.display(df[df.twice % 3 == 0])"),
    ("start and end", "df = px.DataFrame('a', start_time=px.now() - px.seconds(90), end_time=px.now() - px.seconds(30))\npx.display(df)"),
    ("start", "df = px.DataFrame('a', select=['service', 'number'], start_time='-50s')\npx.display(df[df.number < 30])"),
    ("no time at all", "px.display(px.DataFrame('a', start_time='-2s', end_time='-3s'))"),
    ("group", "df = A\npx.display(df.groupby('service').agg(n=('number', px.count), s=('number', px.sum), m=('share', px.mean)))"),
    ("group by two", "df = A\npx.display(df.groupby(['service', 'ok']).agg(a=('number', px.min), b=('share', px.max)))"),
    ("group a filter", "df = A\ndf = df[df.ok]\npx.display(df.groupby('service').agg(n=('number', px.count)))"),
    ("filter a group", "df = A\ndf = df.groupby('service').agg(n=('number', px.count))\npx.display(df[df.n > 2])"),
    (
        "group a group",
        "df = A\ndf = df.groupby(['service', 'ok']).agg(n=('number', px.sum))\npx.display(df.groupby('service').agg(m=('n', px.max)))",
    ),
    ("whole", "df = A\npx.display(df.agg(n=('number', px.count), m=('share', px.mean), s=('number', px.sum)))"),
    ("whole of nothing", "df = A\ndf = df[df.service == 'nobody']\npx.display(df.agg(n=('number', px.count), s=('number', px.sum)))"),
    ("bins", "df = A\ndf.bin = px.bin(df.time_, px.seconds(20))\npx.display(df.groupby(['bin', 'service']).agg(n=('number', px.count)))"),
    ("append", "a = A\nb = B\npx.display(a[a.ok].append(b))"),
    (
        "append to a group",
        "a = A\na = a.groupby('service').agg(n=('number', px.sum))\nb = B\nb.n = b.number\npx.display(a.append(b[['service', 'n']]))",
    ),
    ("group an append", "a = A\nb = B\ndf = a.append(b)\npx.display(df.groupby('service').agg(n=('number', px.count)))"),
    ("inner", "a = A\nb = B\npx.display(a.merge(b, how='inner', left_on='service', right_on='service', suffixes=['', '_b']))"),
    ("left", "a = A\nb = B\npx.display(a.merge(b, how='left', left_on='number', right_on='number', suffixes=['', '_b']))"),
    ("right", "a = A\nb = B\npx.display(a.merge(b, how='right', left_on='number', right_on='number', suffixes=['', '_b']))"),
    (
        "outer",
        "a = A\nb = B\npx.display(a.merge(b, how='outer', left_on=['service', 'number'], right_on=['service', 'number'], suffixes=['', '_b']))",
    ),
    (
        "merge groups",
        "a = A\na = a.groupby('service').agg(n=('number', px.count))\nb = B\nb = b.groupby('service').agg(m=('number', px.sum))\n\
         px.display(a.merge(b, how='outer', left_on='service', right_on='service', suffixes=['', '_b']))",
    ),
    (
        "group a merge",
        "a = A\nb = B\nb = b.groupby('service').agg(m=('number', px.max))\n\
         df = a.merge(b, how='left', left_on='service', right_on='service', suffixes=['', '_b'])\n\
         px.display(df.groupby('service').agg(n=('m', px.sum)))",
    ),
    (
        "merge with itself",
        "a = A\nb = a[a.ok]\npx.display(a.merge(b, how='inner', left_on='number', right_on='number', suffixes=['', '_b']))",
    ),
    (
        "several",
        "a = A\npx.display(a[a.ok], 'one')\npx.display(B.head(1000), 'two')\npx.display(a.groupby('ok').agg(n=('ok', px.count)), 'three')",
    ),
];

fn script(shape: &str) -> String {
    format!("import px\n{}\n", shape.replace('A', "px.DataFrame('a')").replace('B', "px.DataFrame('b')"))
}

/// Rows of one fleet: each belongs to one agent of it.
type Dealt = Vec<(usize, Row)>;

/// Shares are multiples of a quarter, so that their sums do not depend on the order.
fn dealt(rows: usize) -> impl Strategy<Value = Dealt> {
    let row = (0_i64..120, 0..4_u8, 0_i64..40, -8..8_i8, any::<bool>(), any::<prop::sample::Index>());
    let make = |(time, service, number, share, ok, agent): (i64, u8, i64, i8, bool, prop::sample::Index)| {
        let time = support::NOW.0 - time * 1_000_000_000;
        (agent.index(1000), Row { time, service: format!("s{service}"), number, share: f64::from(share) / 4.0, ok })
    };
    prop::collection::vec(row.prop_map(make), 0..rows)
}

/// The agents' stores of all fleets, and one store with everything. Tables are made anew for each case.
struct World {
    fleets: Vec<Fleet>,
}

impl World {
    async fn start() -> World {
        let mut fleets = Vec::new();
        for agents in AGENTS {
            let stores = (0..agents).map(|_| empty_store()).collect();
            fleets.push(Fleet::start(stores, Options::default()).await);
        }
        World { fleets }
    }

    /// Deals the rows in every fleet and to the store that has them all, as tables of that name. An agent without a row has no table.
    fn deal(&self, all: &TableStore, table: &str, rows: &Dealt) {
        let everything: Vec<Row> = rows.iter().map(|(_, row)| row.clone()).collect();
        fill(all, table, &everything);
        for fleet in &self.fleets {
            for (at, member) in fleet.members.iter().enumerate() {
                let own: Vec<Row> =
                    rows.iter().filter(|(agent, _)| agent % fleet.members.len() == at).map(|(_, row)| row.clone()).collect();
                if at == 0 || !own.is_empty() {
                    fill(&member.store, table, &own);
                }
            }
        }
    }

    async fn check(&self, all: &Arc<TableStore>, script: &str) -> Result<(), TestCaseError> {
        let want = run_local(all, script).await;
        for fleet in &self.fleets {
            let agents = fleet.members.len();
            let answer = fleet.run(script).await;
            let (got, ended) = answer.map_err(|error| TestCaseError::fail(format!("{agents} agents: {error:?}\n{script}")))?;
            prop_assert!(same(&got, &want), "{} agents:\n{:#?}\ninstead of\n{:#?}\n{}", agents, got, want, script);
            prop_assert!(ended.missing.is_empty(), "{:?}", ended.missing);
        }
        Ok(())
    }

    async fn stop(self) {
        for fleet in self.fleets {
            fleet.no_leaves().await;
            fleet.stop().await;
        }
    }
}

fn same(got: &Answer, want: &Answer) -> bool {
    got == want
}

/// As the compute threads: a build that is not optimised needs much stack for a plan with many operators.
const STACK_BYTES: usize = 64 << 20;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_stack_size(STACK_BYTES).enable_all().build().unwrap()
}

/// Cases of this many tables: each asks every fleet.
fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() })
}

#[test]
fn every_shape_of_script_answers_as_one_engine() {
    let runtime = runtime();
    let world = runtime.block_on(World::start());
    for (name, shape) in SHAPES {
        let compiles = std::panic::catch_unwind(|| runtime.block_on(run_local(&two_tables(), &script(shape))));
        assert!(compiles.is_ok(), "{name}");
    }
    let cases = std::cell::Cell::new(0);
    let outcome = runner(4).run(&(dealt(60), dealt(12)), |(a, b)| {
        cases.set(cases.get() + 1);
        let (a_name, b_name) = (format!("a{}", cases.get()), format!("b{}", cases.get()));
        let all = empty_store();
        world.deal(&all, &a_name, &a);
        world.deal(&all, &b_name, &b);
        for (_, shape) in SHAPES {
            let script = script(shape).replace("'a'", &format!("'{a_name}'")).replace("'b'", &format!("'{b_name}'"));
            runtime.block_on(world.check(&all, &script))?;
        }
        Ok(())
    });
    outcome.unwrap();
    runtime.block_on(world.stop());
}

fn two_tables() -> Arc<TableStore> {
    let store = empty_store();
    fill(&store, "a", &[]);
    fill(&store, "b", &[]);
    store
}

/// A script put together from steps, each of which keeps the columns of the table.
fn generated() -> impl Strategy<Value = String> {
    let filter = prop_oneof![
        (0..40).prop_map(|number| format!("df = df[df.number > {number}]")),
        (0..4).prop_map(|service| format!("df = df[df.service == 's{service}']")),
        Just("df = df[df.ok]".to_owned()),
        Just("df = df[df.share >= 0.0 and df.number % 2 == 0]".to_owned()),
    ];
    let step = prop_oneof![
        3 => filter,
        1 => Just("df.number = df.number * 3 % 40".to_owned()),
        1 => Just("df = df.append(px.DataFrame('b'))".to_owned()),
        1 => Just("df = df.append(df[df.number > 20])".to_owned()),
        1 => prop::sample::select(vec!["inner", "left", "right", "outer"]).prop_map(|how| format!(
            "o = px.DataFrame('b', select=['service', 'number'])\n\
             o = o.groupby('service').agg(extra=('number', px.sum))\n\
             df = df.merge(o, how='{how}', left_on='service', right_on='service', suffixes=['', '_o'])\n\
             df.number = df.number + df.extra\n\
             df = df[['time_', 'service', 'number', 'share', 'ok']]"
        )),
        1 => Just(
            "df = df.groupby(['time_', 'service', 'ok']).agg(number=('number', px.sum), share=('share', px.max))\n\
             df = df[['time_', 'service', 'number', 'share', 'ok']]".to_owned()
        ),
    ];
    let last = prop::sample::select(vec![
        "",
        "df = df[['service', 'share']]",
        "df = df.groupby('service').agg(n=('number', px.count), s=('share', px.sum))",
        "df = df.agg(n=('number', px.count), least=('number', px.min), mean=('share', px.mean))",
    ]);
    let table = prop::sample::select(vec!["px.DataFrame('a')", "px.DataFrame('a', start_time='-70s', end_time='-10s')"]);
    (table, prop::collection::vec(step, 0..5), last)
        .prop_map(|(table, steps, last)| format!("import px\ndf = {table}\n{}\n{last}\npx.display(df)\n", steps.join("\n")))
}

#[test]
fn any_script_answers_as_one_engine() {
    let runtime = runtime();
    let world = runtime.block_on(World::start());
    let cases = std::cell::Cell::new(0);
    let outcome = runner(24).run(&(generated(), dealt(40), dealt(10)), |(script, a, b)| {
        cases.set(cases.get() + 1);
        let (a_name, b_name) = (format!("a{}", cases.get()), format!("b{}", cases.get()));
        let all = empty_store();
        world.deal(&all, &a_name, &a);
        world.deal(&all, &b_name, &b);
        let script = script.replace("'a'", &format!("'{a_name}'")).replace("'b'", &format!("'{b_name}'"));
        runtime.block_on(world.check(&all, &script))
    });
    outcome.unwrap();
    runtime.block_on(world.stop());
}

/// Many rows, of which every agent has some: agent `i % 1000` of them all.
fn many(rows: i64) -> Dealt {
    let row = |i: i64| Row { time: i, service: format!("s{}", i % 5), number: i, share: i as f64, ok: i % 2 == 0 };
    (0..rows).map(|i| (i as usize * 7, row(i))).collect()
}

#[test]
fn the_head_of_a_table_is_of_its_rows_and_as_many_as_asked() {
    let runtime = runtime();
    runtime.block_on(async {
        let world = World::start().await;
        let all = empty_store();
        world.deal(&all, "a", &many(5000));
        for (script, rows) in [
            ("px.display(px.DataFrame('a').head(7))", 7),
            ("df = px.DataFrame('a')\npx.display(df[df.ok].head(40))", 40),
            ("px.display(px.DataFrame('a').head(100000))", 5000),
            ("df = px.DataFrame('a')\ndf = df.groupby('service').agg(n=('number', px.count))\npx.display(df.head(2))", 2),
            ("df = px.DataFrame('a').head(50)\npx.display(df.agg(n=('number', px.count)))", 1),
            ("df = px.DataFrame('a')\npx.display(df.append(df).head(6000))", 6000),
        ] {
            let whole = run_local(&all, &format!("import px\n{}\n", script.replace(".head(7)", "").replace(".head(40)", ""))).await;
            for fleet in &world.fleets {
                let (got, _) = fleet.run(&format!("import px\n{script}\n")).await.unwrap();
                assert_eq!(got.rows(0), rows, "{} agents: {script}", fleet.members.len());
                if whole.rows(0) > rows {
                    let known = &whole.outputs[0].1;
                    assert!(got.outputs[0].1.iter().all(|row| known.binary_search(row).is_ok()), "{script}");
                }
            }
        }
        world.stop().await;
    });
}

#[test]
fn a_limit_ends_the_scans_of_the_agents() {
    let runtime = runtime();
    runtime.block_on(async {
        let world = World::start().await;
        let all = empty_store();
        world.deal(&all, "a", &many(50_000));
        for fleet in &world.fleets {
            let (_, ended) = fleet.run("import px\npx.display(px.DataFrame('a').head(10))\n").await.unwrap();
            let agents = fleet.members.len();
            assert_eq!(ended.agents_counted, agents);
            assert!(ended.stats.rows_read <= 10 * agents as u64, "{agents} agents: {:?}", ended.stats);
        }
        world.stop().await;
    });
}

#[test]
fn quantiles_of_agents_are_about_those_of_all_rows() {
    let runtime = runtime();
    runtime.block_on(async {
        let world = World::start().await;
        let all = empty_store();
        world.deal(&all, "a", &many(5000));
        let script = "import px\ndf = px.DataFrame('a')\ndf = df.groupby('service').agg(q=('share', px.quantiles))\n\
                      df.p50 = px.pluck_float64(df.q, 'p50')\ndf.p99 = px.pluck_float64(df.q, 'p99')\npx.display(df[['service', 'p50', 'p99']])\n";
        let table = |answer: &Answer| -> BTreeMap<String, Vec<f64>> {
            let rows = answer.outputs[0].1.iter();
            rows.map(|row| (row[0].clone(), row[1..].iter().map(|number| number.parse().unwrap()).collect())).collect()
        };
        let want = table(&run_local(&all, script).await);
        for fleet in &world.fleets {
            let got = table(&fleet.run(script).await.unwrap().0);
            assert!(got.keys().eq(want.keys()));
            for (service, numbers) in &got {
                for (got, want) in numbers.iter().zip(&want[service]) {
                    assert!((got - want).abs() <= 50.0, "{service} with {} agents: {got} instead of {want}", fleet.members.len());
                }
            }
        }
        world.stop().await;
    });
}

#[test]
fn plans_do_the_agents_part_on_the_agents() {
    let runtime = runtime();
    runtime.block_on(async {
        let stores: Vec<_> = (0..3).map(|_| empty_store()).collect();
        for store in &stores {
            fill(store, "a", &[]);
        }
        let fleet = Fleet::start(stores, Options::default()).await;
        let script = "import px\ndf = px.DataFrame('a', start_time='-5m')\ndf = df[df.number > 10]\n\
                      px.display(df.groupby('service').agg(n=('number', px.count), s=('share', px.sum)))\n";
        let steps = fleet.execute(script).await.unwrap().steps(0).await.unwrap();
        let text = |steps: &mut dyn Iterator<Item = &PlanStep>| steps.map(|step| step.text.clone() + "\n").collect::<String>();
        let agents_part = text(&mut steps.iter().filter(|step| step.at == StepAt::EachAgent));
        let plan = text(&mut steps.iter());
        assert!(agents_part.contains("mode=Partial"), "{plan}");
        assert!(agents_part.contains("columns=[service, number, share], filters=[number@2 > 10], time_=["), "{plan}");
        assert!(!plan.contains("RepartitionExec"), "{plan}");
        assert!(!plan.contains("FilterExec"), "{plan}");
        fleet.stop().await;
    });
}

/// As [`tokio::runtime::Runtime::block_on`], with stack enough.
fn block_on<F: Future<Output = ()> + Send>(work: F) {
    std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || runtime().block_on(work)).unwrap().join().unwrap();
    });
}

#[test]
fn scripts_of_many_operators_travel_or_are_refused_with_advice() {
    block_on(async {
        let world = World::start().await;
        let all = empty_store();
        world.deal(&all, "a", &many(50));
        let script = |step: &str, times: usize| format!("import px\ndf = px.DataFrame('a')\n{}px.display(df)\n", step.repeat(times));
        world.check(&all, &script("df = df[df.number >= 0]\n", 45)).await.unwrap();
        world.check(&all, &script("df.number = df.number + 1\ndf = df[df.number > 20]\n", 20)).await.unwrap();
        world.check(&all, &script("df = df.append(px.DataFrame('a'))\n", 20)).await.unwrap();
        let group = "df = df.groupby(['time_', 'service', 'ok']).agg(number=('number', px.sum), share=('share', px.max))\n";
        world.check(&all, &script(group, 12)).await.unwrap();
        let compiled = world.fleets[0].compile(&script(group, 45));
        let refused = engine::distributed::encode_plan(&compiled.outputs[0].plan).unwrap_err();
        assert!(refused.to_string().starts_with("the plan is nested too deeply to travel: use fewer operators"), "{refused}");
        world.stop().await;
    });
}
