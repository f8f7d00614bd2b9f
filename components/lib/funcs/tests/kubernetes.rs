//! What functions tell of a small cluster: `golden/pxl/kubernetes`. And what they tell where there is none.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod support;

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::prelude::SessionContext;
use funcs::Environment;
use ids::UnixNs;
use pxl::{Catalog, CatalogTable, CompileInput, RunsOn};
use tables::{ColumnDef, DataType, Relation, SemanticType};

/// One row: processes `one`, `two`, `three` of the pods, and `lost`, of no known pod.
struct OneRow(CatalogTable);

impl OneRow {
    fn new() -> Self {
        let column = |name: &str, data_type| ColumnDef { name: name.to_owned(), data_type, semantic_type: SemanticType::None };
        let names = ["one", "two", "three", "lost"];
        let mut columns: Vec<ColumnDef> = names.iter().map(|name| column(name, DataType::Uint128)).collect();
        columns.push(column("second", DataType::Int64));
        let relation = Relation { columns };
        let process =
            |n: u32| -> ArrayRef { Arc::new(FixedSizeBinaryArray::try_from_iter([support::upid(n).to_be_bytes()].into_iter()).unwrap()) };
        let mut arrays: Vec<ArrayRef> = [1, 2, 3, 9].into_iter().map(process).collect();
        arrays.push(Arc::new(Int64Array::from(vec![1_000_000_000])));
        let schema = Arc::new(relation.arrow_schema());
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
        let source = provider_as_source(Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap()));
        Self(CatalogTable { relation, source })
    }
}

impl Catalog for OneRow {
    fn table(&self, name: &str) -> Option<CatalogTable> {
        (name == "row").then(|| self.0.clone())
    }

    fn table_names(&self) -> Vec<String> {
        vec!["row".to_owned()]
    }
}

/// What a call answers, and the semantic type.
async fn answer(call: &str, environment: &Environment) -> String {
    let script = format!("import px\ndf = px.DataFrame('row')\ndf.answer = {call}\npx.display(df[['answer']])\n");
    let (catalog, functions) = (OneRow::new(), funcs::registry(environment));
    let input = CompileInput::new(&script, UnixNs(0), &catalog, &functions);
    let output = pxl::compile(&input).unwrap_or_else(|problems| panic!("{}", problems.render("script.pxl"))).outputs.remove(0);
    let batches = SessionContext::new().execute_logical_plan(output.plan).await.unwrap().collect().await.unwrap();
    let options = FormatOptions::default();
    let value = ArrayFormatter::try_new(batches[0].column(0), &options).unwrap().value(0).to_string();
    let semantic = output.relation.columns[0].semantic_type;
    if semantic == SemanticType::None { value } else { format!("{value} ({semantic})") }
}

#[test]
fn calls_answer_as_pinned() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    golden::run("pxl/kubernetes", |case| {
        let mut text = String::new();
        for call in case.input("calls.txt")?.lines() {
            let answer = runtime.block_on(answer(call, &support::environment()));
            writeln!(text, "{call}\n  {answer}").unwrap();
        }
        case.expect("answers.txt", text.trim_end())
    });
}

#[tokio::test]
async fn without_kubernetes_texts_are_empty_and_times_zero() {
    let nowhere = Environment::default();
    let registry = funcs::registry(&nowhere);
    let known_by: [(&str, &[&str]); 2] = [("'shop/web'", &["_id_to_", "_name_to_"]), ("df.one", &["upid_to_"])];
    let mut asked = 0;
    for function in registry.scalars() {
        let of = |marks: &[&str]| marks.iter().any(|mark| function.name.contains(mark));
        let Some((argument, _)) = known_by.iter().find(|(_, marks)| of(marks) && function.args.len() == 1) else { continue };
        let tells_of_itself = ["upid_to_asid", "upid_to_pid", "upid_to_start_ts", "upid_to_string"].contains(&function.name);
        if tells_of_itself || function.name.ends_with("_to_status") || function.name.ends_with("_pod_status") {
            continue;
        }
        asked += 1;
        let answer = answer(&format!("px.{}({argument})", function.name), &nowhere).await;
        let value = answer.split(" (").next().unwrap();
        let of_text_alone = ["pod_name_to_namespace", "service_name_to_namespace"].contains(&function.name);
        let empty = if of_text_alone { "shop" } else { "" };
        let want = if function.returns == DataType::Time64Ns { "1970-01-01T00:00:00" } else { empty };
        assert_eq!(value, want, "{}", function.name);
    }
    assert!(asked > 60, "{asked} functions");
}

#[test]
fn only_its_own_agent_is_asked_of_a_process_and_only_kelvin_of_an_address() {
    let registry = funcs::registry(&Environment::default());
    for function in registry.scalars() {
        let tells_of_itself = ["upid_to_asid", "upid_to_pid", "upid_to_start_ts", "upid_to_string"].contains(&function.name);
        let want = match function.name {
            "shared_libraries" | "_upid_to_podname_local_addr_fallback" => RunsOn::Pem,
            name if name.starts_with("upid_to_") && !tells_of_itself => RunsOn::Pem,
            name if name.starts_with("ip_to_") => RunsOn::Kelvin,
            _ => RunsOn::Anywhere,
        };
        assert_eq!(function.runs_on, want, "{}", function.name);
    }
}

#[tokio::test]
async fn what_differs_from_place_to_place_is_not_computed_while_a_query_is_planned() {
    let catalog = OneRow::new();
    let functions = funcs::registry(&support::environment());
    let script = "import px\ndf = px.DataFrame('row')\ndf.a = px.asid()\ndf.h = px._exec_hostname()\ndf.c = px.get_cidrs()\npx.display(df[['a', 'h', 'c']])\n";
    let input = CompileInput::new(script, UnixNs(0), &catalog, &functions);
    let plan = pxl::compile(&input).unwrap().outputs.remove(0).plan;
    let optimized = SessionContext::new().state().optimize(&plan).unwrap().display_indent().to_string();
    for call in ["px_asid()", "px__exec_hostname()", "px_get_cidrs()"] {
        assert!(optimized.contains(call), "{optimized}");
    }
}
