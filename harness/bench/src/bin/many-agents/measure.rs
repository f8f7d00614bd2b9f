//! What is measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use datafusion::arrow::datatypes::DataType as ArrowType;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use pxl::{FuncToExecute, FunctionRegistry, RunsOn, ScalarFunction, ScalarLower, SemanticRule};
use tables::DataType;

use crate::kelvin::{Script, Vizier};

/// Queries that are sent at once.
const AT_ONCE: usize = 50;
/// A group-by over all rows takes long: fewer of them.
const GROUP_ROUNDS: u32 = 5;
/// Agents from which on the group-by and many queries at once are measured.
const MANY_AGENTS: usize = 100;

/// Prints a line for each measure.
pub(crate) async fn all(agents: usize, rows: u32, rounds: u32) -> Result<()> {
    let vizier = Arc::new(Vizier::start(agents, rows, functions()).await?);
    let http_data = http_data()?;
    one_by_one(&vizier, "`px/http_data`", &http_data, agents, rounds).await?;
    if agents >= MANY_AGENTS {
        at_once(&vizier, &http_data, agents).await?;
        one_by_one(&vizier, "group-by of all rows, partial aggregates on the agents", &group("req_method"), agents, GROUP_ROUNDS).await?;
        one_by_one(&vizier, "the same, all rows to Kelvin", &group("method_at_kelvin"), agents, GROUP_ROUNDS).await?;
    }
    Arc::try_unwrap(vizier).ok().context("a query still runs")?.stop().await
}

/// All functions, and one that is the identity and may run on Kelvin only: what is above it cannot run on the agents.
fn functions() -> Arc<FunctionRegistry> {
    let mut functions = funcs::registry(&funcs::Environment::default());
    let same = |args: &[ColumnarValue]| args.first().cloned().ok_or_else(|| datafusion::common::exec_datafusion_err!("no argument"));
    let udf = create_udf("px_at_kelvin", vec![ArrowType::Utf8], ArrowType::Utf8, Volatility::Immutable, Arc::new(same));
    functions.add_scalar(ScalarFunction {
        name: "at_kelvin",
        init_args: Vec::new(),
        args: vec![DataType::String],
        returns: DataType::String,
        semantic: SemanticRule::None,
        lower: ScalarLower::Udf(Arc::new(udf)),
        runs_on: RunsOn::Kelvin,
    });
    Arc::new(functions)
}

fn http_data() -> Result<Script> {
    let text = scripts::get("px/http_data").context("no px/http_data")?.pxl.to_owned();
    let args = [("start_time", "-5m"), ("source_filter", ""), ("destination_filter", ""), ("path_filter", ""), ("max_num_records", "1000")];
    let args = args.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Ok(Script { text, calls: vec![FuncToExecute { name: "http_data".to_owned(), args, output_table_prefix: "http".to_owned() }] })
}

fn group(by: &str) -> Script {
    let text = format!(
        "import px\ndf = px.DataFrame('http_events', select=['req_method', 'resp_status', 'latency'])\n\
         df.method_at_kelvin = {}\n\
         df = df.groupby(['{by}', 'resp_status']).agg(n=('latency', px.count), mean=('latency', px.mean), worst=('latency', px.max))\n\
         px.display(df)\n",
        if by == "req_method" { "df.req_method" } else { "px.at_kelvin(df.req_method)" }
    );
    Script { text, calls: Vec::new() }
}

async fn one_by_one(vizier: &Vizier, what: &str, script: &Script, agents: usize, rounds: u32) -> Result<()> {
    for _ in 0..rounds.div_ceil(2) {
        let (_, rows) = vizier.run(script).await?;
        ensure!(rows > 0, "{what} has no rows");
    }
    let before = vizier.counts();
    let mut times = Vec::new();
    for _ in 0..rounds {
        times.push(vizier.run(script).await?.0);
    }
    let counts = vizier.counts();
    let each = |bytes: u64| bytes as f64 / f64::from(rounds) / 1024.0;
    let (from, to) = (each(counts.received_bytes - before.received_bytes), each(counts.sent_bytes - before.sent_bytes));
    let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    println!("| {what} | {agents} | {} | {} | {from:.0} KiB | {to:.0} KiB |", ms(p50), ms(p99));
    Ok(())
}

async fn at_once(vizier: &Arc<Vizier>, script: &Script, agents: usize) -> Result<()> {
    let start = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (vizier, script) = (Arc::clone(vizier), script.clone());
        running.spawn(async move { vizier.run(&script).await });
    }
    let mut times = Vec::new();
    while let Some(done) = running.join_next().await {
        times.push(done??.0);
    }
    let all = start.elapsed();
    let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    println!("| {AT_ONCE} `px/http_data` at once, the last after {} | {agents} | {} | {} | | |", ms(all), ms(p50), ms(p99));
    Ok(())
}

fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let at = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
