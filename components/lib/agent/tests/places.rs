//! Functions that know something only on nodes, or only where all nodes come together; and agents that need not be asked.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

mod support;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType as ArrowType, Int64Type};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use engine::distributed::{NamesFilter, Own, QuerySpec, wanted};
use engine::{AgentFacts, Error, Fault, OwnNames};
use ids::{Asid, Upid};
use parking_lot::Mutex;
use pxl::{FunctionRegistry, RunsOn, ScalarFunction, ScalarLower, SemanticRule};
use support::{Fleet, Options, Row, empty_store, fill, functions};
use table_store::TableStore;
use tables::{ColumnDef, DataType, Relation, SemanticType};

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
        let may_matter = |names: &NamesFilter| wanted.may_matter(&Own { asid: Asid(0), names: Some(names.clone()) });
        let agents: Vec<_> =
            fleet.agents().into_iter().zip(&filters).filter(|(_, names)| may_matter(names)).map(|(agent, _)| agent).collect();
        assert!(agents.len() <= most, "{lines}: {wanted:?}");
        assert_eq!(wanted.is_particular(), most < 3, "{lines}: {wanted:?}");
        let all = fleet.run_spec(&compiled, fleet.spec(&compiled)).await.unwrap().0;
        let some = fleet.run_spec(&compiled, QuerySpec { agents, ..fleet.spec(&compiled) }).await.unwrap().0;
        assert_eq!(some, all, "{lines}");
    }
    fleet.stop().await;
}

/// What an agent of a test knows; it may learn more.
#[derive(Debug, Clone, Default)]
struct Known(Arc<Mutex<Option<NamesFilter>>>);

impl OwnNames for Known {
    fn filter(&self) -> Option<NamesFilter> {
        self.0.lock().clone()
    }
}

fn sorted_ids(mut ids: Vec<ids::AgentId>) -> Vec<ids::AgentId> {
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_do_not_know_a_name_are_left_out_as_long_as_they_do_not() {
    let mut fleet = Fleet::start(Vec::new(), Options { functions: Some(registry(Place::Coordinator)), ..Options::default() }).await;
    let known: Vec<Known> = (0..AGENTS).map(|_| Known::default()).collect();
    for (agent, known) in (0..AGENTS).zip(&known) {
        let store = empty_store();
        fill(&store, "a", &rows(agent));
        let facts = AgentFacts { names: Some(Arc::new(known.clone())), ..AgentFacts::default() };
        fleet.add_with(store, registry(Place::Agent(agent)).into(), facts).await;
    }
    let lines = "px.display(df[px.upid_to_pod_name(df.number) == 'ns/pod-7'][['number']])";
    let ask = async || fleet.run(&script(lines)).await.unwrap();
    // Until an agent knows all that there is, it is asked.
    let (answer, ended) = ask().await;
    assert_eq!((answer.outputs[0].1.clone(), ended.left_out.len(), ended.agents_counted), (vec![vec!["7".to_owned()]], 0, 3));
    // None has heard of the pod yet: each of them says so.
    for known in &known {
        *known.0.lock() = Some(NamesFilter::for_names(10));
    }
    let (answer, ended) = ask().await;
    assert_eq!((answer.rows(0), sorted_ids(ended.left_out), ended.missing), (0, fleet.agents(), vec![]));
    // The moment one has, it is asked: nothing that anybody was told before counts.
    for (agent, known) in (0..AGENTS).zip(&known) {
        *known.0.lock() = Some(names(agent));
    }
    let (answer, ended) = ask().await;
    assert_eq!((answer.outputs[0].1.clone(), ended.missing), (vec![vec!["7".to_owned()]], vec![]));
    assert_eq!((sorted_ids(ended.left_out), ended.agents_counted), (vec![fleet.agents()[0], fleet.agents()[2]], 1));
    // Another output wants all rows: all are asked.
    let (answer, ended) = fleet.run(&script(&format!("{lines}\npx.display(df.agg(n=('number', px.count)), 'all')"))).await.unwrap();
    assert_eq!((answer.outputs[1].1.clone(), ended.left_out), (vec![vec!["30".to_owned()]], vec![]));
    fleet.stop().await;
}

/// Two processes of that agent.
fn processes(asid: Asid) -> Arc<TableStore> {
    let column = |name: &str, data_type| ColumnDef { name: name.to_owned(), data_type, semantic_type: SemanticType::None };
    let columns = vec![column("time_", DataType::Time64Ns), column("upid", DataType::Uint128), column("n", DataType::Int64)];
    let relation = Relation { columns };
    let upids = [7, 8].map(|pid| Some(Upid::new(asid, pid, 0).to_be_bytes()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from(vec![1, 2])),
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(upids.into_iter(), 16).unwrap()),
        Arc::new(Int64Array::from(vec![i64::from(asid.0) * 10, i64::from(asid.0) * 10 + 1])),
    ];
    let rows = RecordBatch::try_new(Arc::new(relation.arrow_schema()), columns).unwrap();
    let store = empty_store();
    store.create("p", relation).unwrap().append(rows).unwrap();
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_is_looked_for_on_its_own_agent() {
    let mut fleet = Fleet::start(Vec::new(), Options::default()).await;
    for asid in 1..=3 {
        fleet.add_with(processes(Asid(asid)), functions().into(), AgentFacts { asid: Asid(asid), ..AgentFacts::default() }).await;
    }
    // How many are left out, the rows, and the script.
    let scripts: [(usize, &[&str], &str); 6] = [
        (2, &["20"], "px.display(df[df.upid == px.upid(2, 7, 0)][['n']])"),
        (2, &["30", "31"], "px.display(df[px.upid_to_asid(df.upid) == 3][['n']])"),
        (1, &["10", "21"], "px.display(df[df.upid == px.upid(1, 7, 0) or df.upid == px.upid(2, 8, 0)][['n']])"),
        (3, &[], "px.display(df[df.upid == px.upid(9, 7, 0)][['n']])"),
        (0, &["10", "11", "21", "30", "31"], "px.display(df[df.upid != px.upid(2, 7, 0)][['n']])"),
        (0, &["20", "30"], "px.display(df[df.upid == px.upid(2, 7, 0) or df.n == 30][['n']])"),
    ];
    for (left_out, rows, lines) in scripts {
        let (answer, ended) = fleet.run(&format!("import px\ndf = px.DataFrame('p')\n{lines}\n")).await.unwrap();
        let got: Vec<&str> = answer.outputs[0].1.iter().map(|row| row[0].as_str()).collect();
        assert_eq!((got.as_slice(), ended.left_out.len(), ended.missing.len()), (rows, left_out, 0), "{lines}");
    }
    fleet.stop().await;
}
