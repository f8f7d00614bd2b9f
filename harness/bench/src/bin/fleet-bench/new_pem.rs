//! From the start of a new node's agent to a query that has its rows.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fleet::Way;
use harness_bench::{Goal, line, ms, quantile};

use crate::Cli;
use crate::ask::{Asker, script};
use crate::traffic::Traffic;
use crate::vizier::Up;

const GOAL: Duration = Duration::from_secs(2);
/// A node that takes longer does not come.
const WAIT_MAX: Duration = Duration::from_mins(1);
/// Between two queries.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) async fn measure(cli: &Cli) -> Result<()> {
    // One node is there before, as in a cluster that grows.
    let mut up = Up::new(cli, 1)?;
    let mut asker = Asker::new(&up.fleet, Way::Direct).await?;
    let (mut to_rows, mut to_ready) = (Vec::new(), Vec::new());
    for round in 1..=cli.rounds {
        let (rows, ready) = one(&mut up, &mut asker, round).await?;
        to_rows.push(rows);
        to_ready.push(ready);
    }
    let (median, worst) = (quantile(&mut to_rows, 0.5), quantile(&mut to_rows, 1.0));
    let captures = quantile(&mut to_ready, 0.5);
    line(
        "a new node takes part in queries",
        &Goal::within(GOAL, worst),
        &format!("worst {}, median {}", ms(worst), ms(median)),
        &format!(
            "{} new nodes, one after the other: from the start of `vizier-pem` to a query with rows of requests on its node; registered and \
             capturing after {}",
            cli.rounds,
            ms(captures)
        ),
    );
    Ok(())
}

/// How long until a query had rows of a new node, and until its agent said that it captures.
async fn one(up: &mut Up, asker: &mut Asker, round: u32) -> Result<(Duration, Duration)> {
    let pem = up.fleet.add_node()?;
    let marker = format!("new{round}");
    let _traffic = Traffic::start(&up.fleet, &pem, &marker)?;
    let rows = script(&format!(
        "import px\ndf = px.DataFrame('http_events')\ndf = df[px.contains(df.req_path, 'm={marker}-')]\npx.display(df.head(1)[['time_']])\n"
    ));
    let (start, mut ready) = (Instant::now(), None);
    up.fleet.launch(&pem)?;
    loop {
        if ready.is_none() && up.fleet.ready_lines(&pem).is_ok_and(|lines| !lines.is_empty()) {
            ready = Some(start.elapsed());
        }
        if asker.ask(&rows).await?.rows > 0 {
            break;
        }
        ensure!(up.fleet.is_running(&pem), "{pem} ended; its log:\n{}", up.fleet.log_end(&pem));
        ensure!(start.elapsed() < WAIT_MAX, "no rows of {pem} within {WAIT_MAX:?}; its log ends:\n{}", up.fleet.log_end(&pem));
        tokio::time::sleep(PAUSE).await;
    }
    let took = start.elapsed();
    // It would capture along with the next one.
    up.fleet.stop(&pem)?;
    Ok((took, ready.unwrap_or(took)))
}
