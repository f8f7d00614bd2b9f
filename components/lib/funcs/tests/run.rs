//! Compiled scripts run on DataFusion and answer what they should, without a NULL anywhere.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use ids::{Asid, UnixNs, Upid};
use pxl::{Argument, Catalog, CatalogTable, CompileInput, FunctionRegistry, FunctionRows, NoRows, TableFunction};
use tables::{ColumnDef, DataType, Relation, SemanticType};

struct Memory(BTreeMap<&'static str, CatalogTable>);

impl Catalog for Memory {
    fn table(&self, name: &str) -> Option<CatalogTable> {
        self.0.get(name).cloned()
    }

    fn table_names(&self) -> Vec<String> {
        self.0.keys().map(|name| (*name).to_owned()).collect()
    }

    fn table_function(&self, function: &TableFunction, args: &[Argument]) -> Result<FunctionRows, NoRows> {
        let schema = Arc::new(function.relation().arrow_schema());
        match function.name {
            "GetLinuxHeadersStatus" => {
                let asids: Vec<i64> = if args == [Argument::Boolean(true)] { vec![1, 2] } else { vec![1] };
                let arrays: Vec<ArrayRef> =
                    vec![Arc::new(Int64Array::from(asids.clone())), Arc::new(BooleanArray::from(vec![true; asids.len()]))];
                Ok(FunctionRows::Literal(RecordBatch::try_new(schema, arrays).unwrap()))
            }
            "GetTables" => Err(NoRows::Failed("nobody is there".to_owned())),
            "_DebugStackTrace" => {
                let arrays: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(StringArray::from(vec!["a", "b"]))];
                let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
                Ok(FunctionRows::Scan(provider_as_source(Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap()))))
            }
            "Version" => Err(NoRows::NotHere),
            _ => Ok(FunctionRows::Literal(RecordBatch::new_empty(schema))),
        }
    }
}

fn table(columns: &[(&str, DataType, SemanticType)], arrays: Vec<ArrayRef>) -> CatalogTable {
    let columns = columns.iter().map(|(name, data_type, semantic_type)| ColumnDef {
        name: (*name).to_owned(),
        data_type: *data_type,
        semantic_type: *semantic_type,
    });
    let relation = Relation { columns: columns.collect() };
    let schema = Arc::new(relation.arrow_schema());
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let provider = MemTable::try_new(schema, vec![vec![batch]]).unwrap();
    CatalogTable { relation, source: provider_as_source(Arc::new(provider)) }
}

/// `requests`: five rows of two processes; `names`: one of them and a third; `nothing`: no rows.
fn catalog() -> Memory {
    let upid = |pid: u32| Upid::new(Asid(1), pid, 7).to_be_bytes();
    let upids = |pids: &[u32]| -> ArrayRef { Arc::new(FixedSizeBinaryArray::try_from_iter(pids.iter().map(|pid| upid(*pid))).unwrap()) };
    let requests = [
        ("time_", DataType::Time64Ns, SemanticType::None),
        ("upid", DataType::Uint128, SemanticType::Upid),
        ("path", DataType::String, SemanticType::None),
        ("latency", DataType::Int64, SemanticType::DurationNs),
        ("failed", DataType::Boolean, SemanticType::None),
    ];
    let arrays = |n: usize| -> Vec<ArrayRef> {
        vec![
            Arc::new(TimestampNanosecondArray::from([30, 10, 20, 40, 50][..n].to_vec())),
            upids(&[1, 1, 2, 2, 2][..n]),
            Arc::new(StringArray::from(["/a", "/b", "/a", "/c", "/a"][..n].to_vec())),
            Arc::new(Int64Array::from([5, 7, 100, 0, i64::MAX][..n].to_vec())),
            Arc::new(BooleanArray::from([false, true, false, true, true][..n].to_vec())),
        ]
    };
    let names = [
        ("upid", DataType::Uint128, SemanticType::Upid),
        ("name", DataType::String, SemanticType::None),
        ("weight", DataType::Int64, SemanticType::None),
    ];
    let name_arrays: Vec<ArrayRef> =
        vec![upids(&[2, 3]), Arc::new(StringArray::from(vec!["two", "three"])), Arc::new(Int64Array::from(vec![22, 33]))];
    let mut nothing = arrays(5);
    for array in &mut nothing {
        *array = array.slice(0, 0);
    }
    Memory(BTreeMap::from([
        ("requests", table(&requests, arrays(5))),
        ("names", table(&names, name_arrays)),
        ("nothing", table(&requests, nothing)),
    ]))
}

/// As a plan that came from elsewhere.
fn through_the_wire(plan: &LogicalPlan, functions: &FunctionRegistry) -> LogicalPlan {
    let session = SessionContext::new();
    for udf in functions.udfs() {
        session.register_udf(udf.as_ref().clone());
    }
    let bytes = datafusion_proto::bytes::logical_plan_to_bytes(plan).unwrap();
    datafusion_proto::bytes::logical_plan_from_bytes(&bytes, &session.task_ctx()).unwrap()
}

async fn run(script: &str) -> String {
    let catalog = catalog();
    let functions = funcs::registry(&funcs::Environment::default());
    let script = format!("import px\n{script}");
    let input = CompileInput::new(&script, UnixNs(60), &catalog, &functions);
    let compiled = pxl::compile(&input).unwrap_or_else(|problems| panic!("{}", problems.render("script.pxl")));
    let mut text = String::new();
    for output in compiled.outputs {
        let plan = if output.plan.display_indent().to_string().contains("Values") {
            through_the_wire(&output.plan, &functions)
        } else {
            output.plan
        };
        let frame = SessionContext::new().execute_logical_plan(plan).await.unwrap();
        let batches = frame.collect().await.unwrap();
        for batch in &batches {
            let types: Vec<_> = batch.schema().fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect();
            let want: Vec<_> = output.relation.columns.iter().map(|c| (c.name.clone(), c.data_type.to_arrow())).collect();
            assert_eq!(types, want);
            assert!(batch.columns().iter().all(|column| column.null_count() == 0), "a NULL");
        }
        text.push_str(&arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string());
        text.push('\n');
    }
    text
}

/// Rows in a stable order: groups come in any.
async fn rows(script: &str) -> Vec<String> {
    let text = run(script).await;
    let mut rows: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(1)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" "))
        .collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn time_bounds_take_the_start_and_leave_the_end() {
    let found = rows("px.display(px.DataFrame('requests', start_time=20, end_time=50)[['path', 'latency']])").await;
    assert_eq!(found, ["/a 100", "/a 5", "/c 0"]);
}

#[tokio::test]
async fn aggregates_count_every_row_once() {
    let script = "df = px.DataFrame('requests').groupby('path').agg(n=('latency', px.count), s=('latency', px.sum), f=('failed', px.sum), m=('failed', px.mean), hi=('latency', px.max))\npx.display(df)";
    assert_eq!(
        rows(script).await,
        [
            format!("/a 3 {} 1 0.3333333333333333 {}", i64::MAX.wrapping_add(105), i64::MAX),
            "/b 1 7 1 1.0 7".into(),
            "/c 1 0 1 1.0 0".into()
        ]
    );
}

#[tokio::test]
async fn an_aggregate_of_nothing_has_defaults() {
    let script = "df = px.DataFrame('nothing').agg(n=('latency', px.count), s=('latency', px.sum), m=('latency', px.mean), p=('path', px.any), q=('latency', px.quantiles))\ndf.q = px.pluck_float64(df.q, 'p50')\npx.display(df)";
    assert_eq!(rows(script).await, ["0 0 0.0  0.0"]);
    assert!(rows("px.display(px.DataFrame('nothing').groupby('path').agg(n=('latency', px.count)))").await.is_empty());
}

#[tokio::test]
async fn a_table_function_has_rows_that_travel_in_the_plan() {
    assert_eq!(rows("px.display(px.GetLinuxHeadersStatus())").await, ["1 true", "2 true"]);
    assert_eq!(rows("df = px.GetLinuxHeadersStatus(include_kelvin=False)\ndf.x = df.asid + 1\npx.display(df[['x']])").await, ["2"]);
    assert_eq!(rows("px.display(px._DebugStackTrace())").await, ["1 a", "2 b"]);
}

#[tokio::test]
async fn a_table_function_without_rows_has_its_columns_all_the_same() {
    assert!(rows("px.display(px.GetAgentStatus())").await.is_empty());
    let script = "px.display(px.GetAgentStatus().agg(n=('asid', px.count), t=('hostname', px.any)))";
    assert_eq!(rows(script).await, ["0 "]);
}

#[test]
fn a_table_function_that_nobody_answers_says_why() {
    let (catalog, functions) = (catalog(), funcs::registry(&funcs::Environment::default()));
    for (call, code, message) in [
        ("px.GetTables()", pxl::Code::Unavailable, "px.GetTables() has no answer: nobody is there"),
        ("px.Version()", pxl::Code::Unsupported, "px.Version is not answered here"),
    ] {
        let script = format!("import px\npx.display({call})");
        let input = CompileInput::new(&script, UnixNs(60), &catalog, &functions);
        let problems = pxl::compile(&input).unwrap_err();
        assert_eq!((problems.problems()[0].code, problems.problems()[0].message.as_str()), (code, message));
    }
}

#[tokio::test]
async fn distinct_groups_without_aggregates() {
    assert_eq!(rows("px.display(px.DataFrame('requests').groupby('path').agg())").await, ["/a", "/b", "/c"]);
}

#[tokio::test]
async fn a_missing_side_of_a_merge_has_defaults() {
    let script = |how: &str| {
        format!(
            "l = px.DataFrame('requests').groupby('upid').agg(n=('latency', px.count))\nr = px.DataFrame('names')\ndf = l.merge(r, how='{how}', left_on='upid', right_on='upid')\ndf.l = px.upid_to_pid(df.upid_x)\ndf.r = px.upid_to_pid(df.upid_y)\npx.display(df[['l', 'n', 'r', 'name', 'weight']])"
        )
    };
    assert_eq!(rows(&script("inner")).await, ["2 3 2 two 22"]);
    assert_eq!(rows(&script("left")).await, ["1 2 0  0", "2 3 2 two 22"]);
    assert_eq!(rows(&script("right")).await, ["0 0 3 three 33", "2 3 2 two 22"]);
    assert_eq!(rows(&script("outer")).await, ["0 0 3 three 33", "1 2 0  0", "2 3 2 two 22"]);
}

#[tokio::test]
async fn a_filter_above_an_outer_merge_sees_defaults_not_nulls() {
    let script = "l = px.DataFrame('requests').groupby('upid').agg(n=('latency', px.count))\ndf = l.merge(px.DataFrame('names'), how='left', left_on='upid', right_on='upid')\ndf = df[df.weight == 0 and px.length(df.name) < 1]\npx.display(df[['n', 'name']])";
    assert_eq!(rows(script).await, ["2 "]);
}

#[tokio::test]
async fn appended_rows_are_ordered_by_time() {
    let text = run("df = px.DataFrame('requests')[['time_', 'path']]\nother = df[df.path == '/c']\ndf = df.append(other)\ndf.t = px.time_to_int64(df.time_)\npx.display(df[['t']])").await;
    let times: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).skip(1).map(|line| line.trim_matches(['|', ' '])).collect();
    assert_eq!(times, ["10", "20", "30", "40", "40", "50"]);
}

#[tokio::test]
async fn nothing_divides_a_query_to_death() {
    let script = "df = px.DataFrame('requests')\ndf = df[df.latency == 0]\ndf.d = df.latency / 0\ndf.m = df.latency % 0\ndf.b = px.bin(df.latency, 0)\ndf.l = px.ln(df.latency)\ndf.f = px.floor(df.l)\ndf.o = df.latency - 9223372036854775807 - 10\npx.display(df[['d', 'm', 'b', 'f', 'o']])";
    assert_eq!(rows(script).await, ["NaN 0 0 -9223372036854775808 9223372036854775799"]);
}

#[tokio::test]
async fn regular_expressions_match_whole_texts() {
    let script = "df = px.DataFrame('requests')\ndf = df[px.regex_match('/[ab]', df.path) and not px.regex_match('(', df.path)]\ndf.x = px.replace('/(.)', df.path, '<\\\\1>')\npx.display(df.groupby('x').agg())";
    assert_eq!(rows(script).await, ["<a>", "<b>"]);
}

#[tokio::test]
async fn the_deepest_plan_and_expression_fit_the_stack() {
    let column = "df.latency = df.latency + 1\n".repeat(100);
    let script = format!("df = px.DataFrame('requests')\n{column}px.display(df[['latency']].head(1))");
    assert_eq!(rows(&script).await, ["105"]);
    let sum = "df.x = df.latency".to_owned() + &" + 1".repeat(70) + "\n";
    assert_eq!(rows(&format!("df = px.DataFrame('requests')\n{sum}px.display(df[['x']].head(1))")).await, ["75"]);
}
