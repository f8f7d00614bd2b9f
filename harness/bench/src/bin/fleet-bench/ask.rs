//! A client: the published API, directly or through the control plane.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use arrow::array::AsArray as _;
use client::{Access, Client, Credentials, Event, Script, ScriptFunc};
use fleet::{Fleet, Way};

/// The table that `#px:set data_quality=true` adds, and how it names an agent without an answer.
const QUALITY_TABLE: &str = "__data_quality__";
const MISSING: &str = "agent_missing";
/// No query takes longer.
const ANSWER_MAX: Duration = Duration::from_mins(2);

/// A connection.
pub(crate) struct Asker {
    client: Client,
    cluster: String,
}

/// What came, and when the last of it did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answer {
    pub(crate) took: Duration,
    pub(crate) rows: usize,
    /// Agents without an answer, where the script asks for them.
    pub(crate) missing: usize,
}

impl Asker {
    pub(crate) async fn new(fleet: &Fleet, way: Way) -> Result<Asker> {
        let authority = Some(std::fs::read(fleet.ca()).context("the authority's certificate")?);
        let key = fleet.api_key()?;
        let (address, credentials, cluster) = match way {
            Way::Direct => (fleet.vizier_address(), Credentials::DirectKey(key), ""),
            Way::Cloud => (fleet.cloud_address(), Credentials::ApiKey(key), fleet.cluster_id().context("the cluster has no id")?),
        };
        let client = Client::connect(&address.parse()?, &Access { authority, credentials }).await?;
        Ok(Asker { client, cluster: cluster.to_owned() })
    }

    /// From the call to the end of the last table.
    pub(crate) async fn ask(&mut self, script: &Script) -> Result<Answer> {
        let script = Script { cluster: self.cluster.clone(), ..script.clone() };
        tokio::time::timeout(ANSWER_MAX, self.run(script)).await.with_context(|| format!("no answer within {ANSWER_MAX:?}"))?
    }

    async fn run(&mut self, script: Script) -> Result<Answer> {
        let start = Instant::now();
        let mut results = self.client.execute(script).await?;
        let (mut answer, mut names) = (Answer::default(), Vec::new());
        while let Some(event) = results.next().await? {
            match event {
                Event::Table(table) => names.push(table.name),
                Event::Rows { table, batch } if names.get(table).is_some_and(|name| name == QUALITY_TABLE) => {
                    let what = batch.column_by_name("what").and_then(|what| what.as_string_opt::<i32>()).context("no column `what`")?;
                    answer.missing += what.iter().filter(|what| *what == Some(MISSING)).count();
                }
                Event::Rows { batch, .. } => answer.rows += batch.num_rows(),
                Event::End { .. } | Event::Cost(_) => {}
            }
        }
        answer.took = start.elapsed();
        Ok(answer)
    }

    /// Agents that the metadata service takes for alive, Kelvins too.
    pub(crate) async fn healthy(&mut self) -> Result<usize> {
        let text = "#px:set max_output_rows_per_table=100000\nimport px\ndf = px.GetAgentStatus()\n\
                    px.display(df[df.agent_state == 'AGENT_STATE_HEALTHY'])\n";
        Ok(self.ask(&script(text)).await?.rows)
    }

    /// The times of so many queries, each of which has rows.
    pub(crate) async fn times(&mut self, script: &Script, queries: u32) -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        for _ in 0..queries {
            times.push(self.time(script).await?);
        }
        Ok(times)
    }

    /// The time of a query that has rows.
    pub(crate) async fn time(&mut self, script: &Script) -> Result<Duration> {
        let answer = self.ask(script).await?;
        ensure!(answer.rows > 0, "an answer without rows");
        Ok(answer.took)
    }
}

/// A script whose displays are its results.
pub(crate) fn script(text: &str) -> Script {
    Script { text: text.to_owned(), ..Script::default() }
}

/// `px/http_data`; `tells_missing`: with agents that did not answer.
pub(crate) fn http_data(tells_missing: bool) -> Result<Script> {
    let (text, args) = harness_bench::http_data()?;
    let text = if tells_missing { format!("#px:set data_quality=true\n{text}") } else { text };
    let func = ScriptFunc { name: "http_data".to_owned(), args, output_prefix: "http".to_owned() };
    Ok(Script { text, funcs: vec![func], ..Script::default() })
}
