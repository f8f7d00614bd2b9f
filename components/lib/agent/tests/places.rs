//! Functions that know something only on nodes, or only where all nodes come together; and agents that need not be asked.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

mod support;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType as ArrowType, Int64Type};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use engine::distributed::{NamesFilter, QuerySpec, wanted};
use engine::{AgentFacts, Error, Fault};
use pxl::{FunctionRegistry, RunsOn, ScalarFunction, ScalarLower, SemanticRule};
use support::{Fleet, Options, Row, empty_store, fill, functions};
use tables::DataType;

const AGENTS: i64 = 3;
/// What no answer may hold: a function was asked where it knows nothing.
const WRONG: &str = "asked in the wrong place";

/// Where a registry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Agent(i64),
    Coordinator,
}

fn of_number(name: &str, f: impl Fn(i64) -> String + Send + Sync + 'static) -> ScalarUDF {
    let run = move |args: &[ColumnarValue]| {
        let args = ColumnarValue::values_to_arrays(args)?;
        let values = args[0].as_primitive::<Int64Type>().values();
        Ok(ColumnarValue::Array(Arc::new(StringArray::from_iter_values(values.iter().map(|value| f(*value)))) as ArrayRef))
    };
    create_udf(name, vec![ArrowType::Int64], ArrowType::Utf8, Volatility::Immutable, Arc::new(run))
}

fn of_text(name: &str, f: impl Fn(&str) -> String + Send + Sync + 'static) -> ScalarUDF {
    let run = move |args: &[ColumnarValue]| {
        let args = ColumnarValue::values_to_arrays(args)?;
        let values = args[0].as_string::<i32>();
        Ok(ColumnarValue::Array(Arc::new(StringArray::from_iter_values(values.iter().flatten().map(&f))) as ArrayRef))
    };
    create_udf(name, vec![ArrowType::Utf8], ArrowType::Utf8, Volatility::Immutable, Arc::new(run))
}

/// Of the process of that number, on its own agent.
fn pod(number: i64) -> String {
    if number % 5 == 0 { String::new() } else { format!("ns/pod-{number}") }
}

/// All functions, and three that know something in one place only.
fn registry(place: Place) -> Arc<FunctionRegistry> {
    marked(place, |runs_on| runs_on)
}

fn marked(place: Place, mark: fn(RunsOn) -> RunsOn) -> Arc<FunctionRegistry> {
    let mut registry = FunctionRegistry::clone(&functions());
    let wrong = || WRONG.to_owned();
    let pod_name = move |number| match place {
        Place::Agent(agent) if number % AGENTS == agent => pod(number),
        Place::Agent(_) | Place::Coordinator => wrong(),
    };
    let of_kelvin = move |text: &str| if place == Place::Coordinator { format!("id of {text}") } else { wrong() };
    let of_agent = move |text: &str| if place == Place::Coordinator { wrong() } else { format!("args of {text}") };
    let mut add = |name: &'static str, arg: DataType, runs_on: RunsOn, udf: ScalarUDF| {
        let lower = ScalarLower::Udf(Arc::new(udf));
        let (init_args, args, returns) = (Vec::new(), vec![arg], DataType::String);
        registry.add_scalar(ScalarFunction { name, init_args, args, returns, semantic: SemanticRule::None, lower, runs_on: mark(runs_on) });
    };
    add("upid_to_pod_name", DataType::Int64, RunsOn::Pem, of_number("px_upid_to_pod_name", pod_name));
    add("id_of", DataType::String, RunsOn::Kelvin, of_text("px_id_of", of_kelvin));
    add("args_of", DataType::String, RunsOn::Pem, of_text("px_args_of", of_agent));
    Arc::new(registry)
}

fn rows(agent: i64) -> Vec<Row> {
    let numbers = (0..30).filter(|number| number % AGENTS == agent);
    numbers.map(|number| Row { time: number, service: format!("s{}", number % 4), number, share: 0.0, ok: number % 2 == 0 }).collect()
}

async fn fleet() -> Fleet {
    let mut fleet = Fleet::start(Vec::new(), Options { functions: Some(registry(Place::Coordinator)), ..Options::default() }).await;
    for agent in 0..AGENTS {
        let store = empty_store();
        fill(&store, "a", &rows(agent));
        fleet.add_with(store, registry(Place::Agent(agent)).into(), AgentFacts::default()).await;
    }
    fleet
}

fn script(lines: &str) -> String {
    format!("import px\ndf = px.DataFrame('a')\n{lines}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_run_where_they_know_something() {
    let fleet = fleet().await;
    let answer =
        async |lines: &str| fleet.run(&script(lines)).await.unwrap_or_else(|error| panic!("{lines}: {error:?}")).0.outputs[0].1.clone();
    let numbers = || 0..30_i64;
    let sorted = |mut rows: Vec<Vec<String>>| {
        rows.sort();
        rows
    };

    let got = answer("df.pod = px.upid_to_pod_name(df.number)\npx.display(df[['number', 'pod']])").await;
    assert_eq!(got, sorted(numbers().map(|number| vec![number.to_string(), pod(number)]).collect()));

    let got =
        answer("df.pod = px.upid_to_pod_name(df.number)\ndf.id = px.id_of(df.pod)\npx.display(df[['number', 'id', 'service']])").await;
    let row = |number: i64| vec![number.to_string(), format!("id of {}", pod(number)), format!("s{}", number % 4)];
    assert_eq!(got, sorted(numbers().map(row).collect()));

    let got = answer("df.pod = px.upid_to_pod_name(df.number)\ndf = df[px.id_of(df.pod) != 'id of ']\npx.display(df[['pod']])").await;
    assert_eq!(got, sorted(numbers().filter(|number| number % 5 != 0).map(|number| vec![pod(number)]).collect()));

    let got =
        answer("df = df[px.id_of(df.service) == 'id of s1']\ndf = df[px.upid_to_pod_name(df.number) != '']\npx.display(df[['number']])")
            .await;
    assert_eq!(got, sorted(numbers().filter(|n| n % 4 == 1 && n % 5 != 0).map(|n| vec![n.to_string()]).collect()));

    let got = answer(
        "df.both = px.args_of(df.service) + px.id_of(df.service)\ndf = df.groupby('both').agg(n=('number', px.count))\npx.display(df)",
    )
    .await;
    let count = |rest: i64| numbers().filter(|number| number % 4 == rest).count().to_string();
    assert_eq!(got, (0..4).map(|s| vec![format!("args of s{s}id of s{s}"), count(s)]).collect::<Vec<_>>());

    let got = answer("df.pod = px.upid_to_pod_name(df.number)\ndf = df.groupby('pod').agg(n=('number', px.count))\ndf.id = px.id_of(df.pod)\npx.display(df[df.n > 1])").await;
    assert_eq!(got, [vec![String::new(), "6".to_owned(), "id of ".to_owned()]]);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_tells_where_it_runs_runs_with_the_rows_as_long_as_they_are_single_ones() {
    let of = |asid| Arc::new(funcs::registry(&funcs::Environment { asid: ids::Asid(asid), ..funcs::Environment::default() }));
    let mut fleet = Fleet::start(Vec::new(), Options { functions: Some(of(99)), ..Options::default() }).await;
    for agent in 0..AGENTS {
        let store = empty_store();
        fill(&store, "a", &rows(agent));
        fleet.add_with(store, of(u32::try_from(agent).unwrap() + 1).into(), AgentFacts::default()).await;
    }
    let answer = async |lines: &str| fleet.run(&script(lines)).await.unwrap().0.outputs[0].1.clone();
    let own = |row: &Vec<String>| row[1] == (row[0].parse::<i64>().unwrap() % AGENTS + 1).to_string();

    for lines in ["df.a = px.asid()", "df.a = px.asid()\ndf = df.head(7)", "df = df.head(7)\ndf.a = px.asid()"] {
        let got = answer(&format!("{lines}\npx.display(df[['number', 'a']])")).await;
        assert!(!got.is_empty() && got.iter().all(own), "{lines}: {got:?}");
    }
    let got = answer("df = df[px.asid() == 2]\npx.display(df[['number']].head(100))").await;
    assert_eq!(got.len(), 10, "the rows of one agent: {got:?}");
    let got = answer("df = df.agg(n=('number', px.count))\ndf.a = px.asid()\npx.display(df)").await;
    assert_eq!(got, [["30", "99"]], "a sum of all is the coordinator's");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_where_nobody_knows_is_refused_by_name() {
    let fleet = fleet().await;
    let after = "df = df.groupby('number').agg(n=('ok', px.count))\ndf.pod = px.upid_to_pod_name(df.number)\npx.display(df)";
    let of_the_other = "df.args = px.args_of(px.id_of(df.service))\npx.display(df)";
    for (lines, text) in [
        (after, "px.upid_to_pod_name must execute before blocking nodes such as limit, agg, and join"),
        (of_the_other, "px.args_of runs on the nodes"),
    ] {
        // The compiler would refuse it first, if it knew.
        let functions = marked(Place::Coordinator, |_| RunsOn::Anywhere);
        let compiled = support::compile(&script(lines), &fleet.catalog(), &functions);
        let error = fleet.run_spec(&compiled, fleet.spec(&compiled)).await.unwrap_err();
        assert!(matches!(error, Error::Misplaced { .. }) && error.to_string().starts_with(text), "{error:?}");
        assert_eq!(error.fault(), Fault::Script);
    }
    fleet.stop().await;
}

/// Names that an agent's functions can give.
fn names(agent: i64) -> NamesFilter {
    let mut names = NamesFilter::for_names(100);
    rows(agent).iter().map(|row| pod(row.number)).filter(|name| !name.is_empty()).for_each(|name| names.insert(&name));
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_out_agents_that_do_not_know_a_name_never_changes_the_answer() {
    let fleet = fleet().await;
    let filters: Vec<NamesFilter> = (0..AGENTS).map(names).collect();
    let pod = "px.upid_to_pod_name(df.number)";
    // How many agents at most, and the script.
    let scripts = [
        (1, format!("px.display(df[{pod} == 'ns/pod-7'])")),
        (1, format!("df.pod = {pod}\ndf = df[df.ok]\ndf = df[df.pod == 'ns/pod-4']\npx.display(df)")),
        (1, format!("df.pod = {pod}\ndf = df[df.pod == 'ns/pod-4' and df.number > 3]\npx.display(df.agg(n=('number', px.count)))")),
        (0, format!("df = df[{pod} == 'ns/nobody']\npx.display(df.agg(n=('number', px.count), s=('number', px.sum)))")),
        (2, format!("px.display(df[{pod} == 'ns/pod-7' or {pod} == 'ns/pod-8'])")),
        (2, format!("a = df[{pod} == 'ns/pod-7']\nb = df[{pod} == 'ns/pod-8']\npx.display(a.append(b))")),
        (2, format!("px.display(df[{pod} == 'ns/pod-7'], 'a')\npx.display(df[{pod} == 'ns/pod-8'], 'b')")),
        (3, format!("px.display(df[{pod} == ''])")),
        (3, format!("px.display(df[{pod} != 'ns/pod-7'])")),
        (3, format!("px.display(df[{pod} == 'ns/pod-7' or df.number == 2])")),
        (3, format!("px.display(df[{pod} == 'ns/pod-7'], 'a')\npx.display(df.agg(n=('number', px.count)), 'b')")),
    ];
    for (most, lines) in scripts {
        let compiled = fleet.compile(&script(&lines));
        let wanted = wanted(compiled.outputs.iter().map(|output| &output.plan));
        let agents: Vec<_> =
            fleet.agents().into_iter().zip(&filters).filter(|(_, names)| wanted.may_matter(names)).map(|(agent, _)| agent).collect();
        assert!(agents.len() <= most, "{lines}: {wanted:?}");
        assert_eq!(wanted.is_particular(), most < 3, "{lines}: {wanted:?}");
        let all = fleet.run_spec(&compiled, fleet.spec(&compiled)).await.unwrap().0;
        let some = fleet.run_spec(&compiled, QuerySpec { agents, ..fleet.spec(&compiled) }).await.unwrap().0;
        assert_eq!(some, all, "{lines}");
    }
    fleet.stop().await;
}
