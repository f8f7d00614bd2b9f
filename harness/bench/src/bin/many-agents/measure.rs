//! What is measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use datafusion::arrow::datatypes::DataType as ArrowType;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use harness_bench::{Goal, line, ms, quantile};
use pxl::{FuncToExecute, FunctionRegistry, RunsOn, ScalarFunction, ScalarLower, SemanticRule};
use tables::DataType;

use crate::kelvin::{Script, Vizier};

/// Queries that are sent at once.
const AT_ONCE: usize = 50;
/// A group-by over all rows takes long: fewer of them.
const GROUP_ROUNDS: u32 = 5;
/// Agents from which on the group-by and many queries at once are measured.
const MANY_AGENTS: usize = 100;

/// Longest times of `px/http_data` over so many agents.
const GOALS: [(usize, Duration); 3] = [(1, Duration::from_millis(50)), (10, Duration::from_millis(100)), (100, Duration::from_millis(300))];

/// Prints a line for each measure.
pub(crate) async fn all(agents: usize, rows: u32, rounds: u32) -> Result<()> {
    let vizier = Arc::new(Vizier::start(agents, rows, functions()).await?);
    let http_data = http_data()?;
    let limit = GOALS.iter().find(|(count, _)| *count == agents).map(|(_, limit)| *limit);
    let plural = if agents == 1 { "" } else { "s" };
    one_by_one(&vizier, (&format!("`px/http_data` over {agents} agent{plural}, p99"), limit), &http_data, rounds).await?;
    if agents >= MANY_AGENTS {
        at_once(&vizier, &http_data, agents).await?;
        let what = format!("group-by of all rows of {agents} agents, partial aggregates on the agents");
        one_by_one(&vizier, (&what, None), &group("req_method"), GROUP_ROUNDS).await?;
        one_by_one(&vizier, ("the same, all rows to Kelvin", None), &group("method_at_kelvin"), GROUP_ROUNDS).await?;
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
    let (text, args) = harness_bench::http_data()?;
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

async fn one_by_one(vizier: &Vizier, (what, limit): (&str, Option<Duration>), script: &Script, rounds: u32) -> Result<()> {
    for _ in 0..rounds.div_ceil(2) {
        let ran = vizier.run(script).await?;
        ensure!(ran.rows > 0, "{what} has no rows");
    }
    let before = vizier.counts();
    let mut times = Vec::new();
    for _ in 0..rounds {
        let ran = vizier.run(script).await?;
        ensure!(ran.missing == 0, "{} agents are missing in an answer to {what}", ran.missing);
        times.push(ran.took);
    }
    let counts = vizier.counts();
    let each = |bytes: u64| bytes as f64 / f64::from(rounds) / 1024.0;
    let (from, to) = (each(counts.received_bytes - before.received_bytes), each(counts.sent_bytes - before.sent_bytes));
    let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    let goal = limit.map_or_else(Goal::none, |limit| Goal::within(limit, p99));
    let how = format!("{rounds} one by one; on the wire, a query: {from:.0} KiB from agents, {to:.0} KiB to them");
    line(what, &goal, &format!("{}, p50 {}", ms(p99), ms(p50)), &how);
    Ok(())
}

async fn at_once(vizier: &Arc<Vizier>, script: &Script, agents: usize) -> Result<()> {
    let start = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (vizier, script) = (Arc::clone(vizier), script.clone());
        running.spawn(async move { vizier.run(&script).await });
    }
    let (mut times, mut missing) = (Vec::new(), 0);
    while let Some(done) = running.join_next().await {
        let ran = done??;
        times.push(ran.took);
        missing += ran.missing;
    }
    let all = start.elapsed();
    let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    let what = format!("{AT_ONCE} `px/http_data` over {agents} agents at once, p99");
    line(
        &what,
        &Goal::none(),
        &format!("{}, p50 {}, all {}", ms(p99), ms(p50), ms(all)),
        &format!("{missing} of {} answers of agents are missing", AT_ONCE * agents),
    );
    Ok(())
}
