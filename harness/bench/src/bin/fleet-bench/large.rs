//! The control path over very many agents.

use std::time::Duration;

use anyhow::Result;
use fleet::Way;
use harness_bench::{Goal, line, ms, quantile};

use crate::Cli;
use crate::ask::{Asker, http_data};
use crate::crowd::Crowd;
use crate::vizier::Up;

const GOAL: Duration = Duration::from_secs(2);
/// Queries that count for each round.
const QUERIES_PER_ROUND: u32 = 4;
const WARM_UP: u32 = 3;

pub(crate) async fn measure(cli: &Cli) -> Result<()> {
    let up = Up::new(cli, 0)?;
    let crowd = Crowd::start(&up.fleet, cli.large_agents, cli.large_rows).await?;
    let joined = crowd.joined(&up.fleet).await?;
    let mut asker = Asker::new(&up.fleet, Way::Direct).await?;
    let queries = cli.rounds * QUERIES_PER_ROUND;
    let script = http_data(false)?;
    asker.times(&script, WARM_UP).await?;
    let mut times = asker.times(&script, queries).await?;
    let answer = asker.ask(&http_data(true)?).await?;
    let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    line(
        &format!("`px/http_data` over {} agents, p99", cli.large_agents),
        &Goal::of("≤ 2 s", p99 <= GOAL && answer.missing == 0),
        &format!("{}, p50 {}", ms(p99), ms(p50)),
        &format!(
            "{queries} one by one: real broker, metadata, Kelvin, bus and plans, agents are tasks with {} rows each; all joined within {:.1} s; {} \
             missing in one more",
            cli.large_rows,
            joined.as_secs_f64(),
            answer.missing
        ),
    );
    crowd.stop().await
}
