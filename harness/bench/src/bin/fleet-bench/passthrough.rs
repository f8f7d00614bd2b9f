//! The way through cloud and connector against the direct one, in turn.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fleet::{Fleet, Way};
use harness_bench::{Goal, line, ms, quantile};

use crate::Cli;
use crate::ask::{Asker, script};
use crate::crowd::Crowd;
use crate::vizier::{Up, Used};

/// Few, so that the query itself is small against the way.
const AGENTS: u32 = 4;
/// Queries before those that count.
const WARM_UP: u32 = 20;
/// Some heartbeats of the connector.
const HEALTHY_MAX: Duration = Duration::from_mins(2);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const MORE_MAX: Duration = Duration::from_millis(10);
const LESS_MAX_PERCENT: f64 = 10.0;

/// What a large answer goes through, beside the agents and the client.
const PARTS: [(&str, &str); 5] = [
    ("kelvin-1", "Kelvin"),
    ("query-broker", "query broker"),
    ("nats", "nats-server"),
    ("cloud-connector", "cloud-connector"),
    ("cloud", "cloud"),
];

const SMALL: &str = "import px\ndf = px.DataFrame('http_events', select=['time_', 'req_path', 'resp_status'])\npx.display(df.head(10))\n";
const LARGE: &str = "#px:set max_output_rows_per_table=10000000\nimport px\npx.display(px.DataFrame('http_events'))\n";

pub(crate) async fn measure(cli: &Cli) -> Result<()> {
    let up = Up::new(cli, 0)?;
    let crowd = Crowd::start(&up.fleet, AGENTS, cli.answer_rows / AGENTS).await?;
    crowd.joined(&up.fleet).await?;
    let mut ways = [Asker::new(&up.fleet, Way::Direct).await?, Asker::new(&up.fleet, Way::Cloud).await?];
    healthy(&mut ways[1]).await?;
    small(cli, &mut ways).await?;
    large(cli, &up.fleet, &mut ways).await?;
    crowd.stop().await
}

/// Waits until the control plane knows that the cluster has agents by now.
async fn healthy(cloud: &mut Asker) -> Result<()> {
    let (start, small) = (Instant::now(), script(SMALL));
    while let Err(error) = cloud.ask(&small).await {
        if start.elapsed() > HEALTHY_MAX {
            return Err(error.context(format!("the cluster is not healthy after {HEALTHY_MAX:?}")));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

async fn small(cli: &Cli, [direct, cloud]: &mut [Asker; 2]) -> Result<()> {
    let small = script(SMALL);
    direct.times(&small, WARM_UP).await?;
    cloud.times(&small, WARM_UP).await?;
    let (mut directly, mut through) = (Vec::new(), Vec::new());
    for _ in 0..cli.queries {
        directly.push(direct.time(&small).await?);
        through.push(cloud.time(&small).await?);
    }
    let told = |what: &str, times: &mut Vec<Duration>| {
        let (p50, p99) = (quantile(times, 0.5), quantile(times, 0.99));
        let how = format!("{} queries for 10 rows of {AGENTS} agents, both ways in turn", cli.queries);
        line(&format!("small query {what}, p99"), &Goal::none(), &format!("{}, p50 {}", ms(p99), ms(p50)), &how);
        (p50, p99)
    };
    let (direct, through) = (told("directly", &mut directly), told("through cloud and connector", &mut through));
    let (p50, p99) = (through.0.saturating_sub(direct.0), through.1.saturating_sub(direct.1));
    line("small query, more through cloud and connector, p99", &Goal::within(MORE_MAX, p99), &format!("{}, p50 {}", ms(p99), ms(p50)), "");
    Ok(())
}

async fn large(cli: &Cli, fleet: &Fleet, ways: &mut [Asker; 2]) -> Result<()> {
    let (large, expected) = (script(LARGE), (cli.answer_rows / AGENTS * AGENTS) as usize);
    let mut times = [Vec::new(), Vec::new()];
    let mut used = [[Duration::ZERO; PARTS.len()]; 2];
    // The first round warms up.
    for round in 0..=cli.rounds {
        for ((asker, times), used) in ways.iter_mut().zip(&mut times).zip(&mut used) {
            let before = cpu(fleet)?;
            let answer = asker.ask(&large).await?;
            ensure!(answer.rows == expected, "{} rows of {expected} came", answer.rows);
            if round > 0 {
                times.push(answer.took);
                for ((used, before), after) in used.iter_mut().zip(before).zip(cpu(fleet)?) {
                    *used += after.saturating_sub(before);
                }
            }
        }
    }
    let told = |used: [Duration; PARTS.len()]| {
        let each = PARTS.iter().zip(used).map(|((_, name), used)| format!("{name} {}", ms(used / cli.rounds)));
        each.collect::<Vec<_>>().join(", ")
    };
    let [directly, through] = used;
    let how = format!("a large answer, mean of {}; the kernel counts in steps of 10 ms", cli.rounds);
    line("CPU of the parts directly", &Goal::none(), &told(directly), &how);
    line("CPU of the parts through cloud and connector", &Goal::none(), &told(through), &how);
    let rate = |times: &mut Vec<Duration>| expected as f64 / quantile(times, 0.5).as_secs_f64();
    let [direct, through] = &mut times;
    let (direct, through) = (rate(direct), rate(through));
    let how = format!("median of {} answers of {expected} rows with all columns of http_events, both ways in turn", cli.rounds);
    line("large answer directly", &Goal::none(), &format!("{direct:.0} rows/s"), &how);
    line("large answer through cloud and connector", &Goal::none(), &format!("{through:.0} rows/s"), &how);
    let less = (1.0 - through / direct) * 100.0;
    line(
        "large answer, less throughput through cloud and connector",
        &Goal::of("≤ 10 %", less <= LESS_MAX_PERCENT),
        &format!("{less:.1} %"),
        "",
    );
    Ok(())
}

/// What each of the parts has used so far.
fn cpu(fleet: &Fleet) -> Result<[Duration; PARTS.len()]> {
    let mut all = [Duration::ZERO; PARTS.len()];
    for (cpu, (part, _)) in all.iter_mut().zip(PARTS) {
        *cpu = Used::by(fleet, part)?.cpu;
    }
    Ok(all)
}
