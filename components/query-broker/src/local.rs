//! The engine of this process as the broker's [`QueryEngine`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use engine::{Compiled, Engine, Execution, Fault};
use futures::future::{self, BoxFuture};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use ids::{AgentId, QueryId, UnixNs};
use otel::{Exported, Exporter, Exports};
use pxl::{Catalog, FuncToExecute};

use crate::engine::{CompileFailure, Output, Problem, Query, QueryEngine, QueryEvent, RunFailure, Script};
use crate::plan_graph::{plan_graph, steps_of};
use crate::quality::{Node, Quality};
use crate::state::{Facts, Stateful};
use crate::tracker::KnownCollector;

/// The agent whose tables are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalAgent {
    /// The name of its machine.
    pub hostname: String,
    /// What it captures, and what it does not.
    pub collectors: Vec<KnownCollector>,
}

/// Runs queries in this process, over the tables of one store.
#[derive(Clone)]
pub struct LocalEngine {
    engine: Arc<Engine>,
    facts: Option<Arc<dyn Facts>>,
    agent: Arc<LocalAgent>,
    exporter: Exporter,
    now: fn() -> UnixNs,
}

impl LocalEngine {
    /// `now` is what relative times of scripts count from.
    pub fn new(engine: Arc<Engine>, now: fn() -> UnixNs) -> LocalEngine {
        LocalEngine { engine, facts: None, agent: Arc::default(), exporter: Exporter::default(), now }
    }

    /// With answers to functions about the cluster. They must not wait.
    #[must_use]
    pub fn facts(self, facts: Arc<dyn Facts>) -> LocalEngine {
        LocalEngine { facts: Some(facts), ..self }
    }

    /// With another way to endpoints of exports.
    #[must_use]
    pub fn exporting(self, exporter: Exporter) -> LocalEngine {
        LocalEngine { exporter, ..self }
    }

    /// Of an agent that is told where answers are not complete.
    #[must_use]
    pub fn agent(self, agent: LocalAgent) -> LocalEngine {
        LocalEngine { agent: Arc::new(agent), ..self }
    }

    fn compiled(&self, script: &Script) -> Result<Compiled, pxl::Diagnostics> {
        let exec_funcs: Vec<FuncToExecute> = script.funcs.iter().cloned().map(func).collect();
        let request =
            engine::CompileRequest { script: &script.text, exec_funcs: &exec_funcs, now: (self.now)(), configs: script.configs() };
        let Some(facts) = &self.facts else { return self.engine.compile(&request) };
        let functions = self.engine.functions();
        let catalog = Stateful { tables: self.engine.catalog(), facts: &**facts, functions: &functions };
        self.engine.compile_with(&request, &catalog)
    }
}

impl fmt::Debug for LocalEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalEngine").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl QueryEngine for LocalEngine {
    fn compile(&self, script: Script) -> BoxFuture<'_, Result<Box<dyn Query>, CompileFailure>> {
        let compiled = match self.compiled(&script) {
            Ok(compiled) => compiled,
            Err(found) => return future::ready(Err(problems(&found))).boxed(),
        };
        let shown = compiled.outputs.iter().filter(|output| output.export.is_none());
        let outputs = shown.map(|o| Output { name: o.name.clone(), relation: o.relation.clone() }).collect();
        let query: Box<dyn Query> = Box::new(LocalQuery {
            engine: Arc::clone(&self.engine),
            agent: Arc::clone(&self.agent),
            exporter: self.exporter.clone(),
            compiled,
            outputs,
        });
        future::ready(Ok(query)).boxed()
    }

    fn otel_script(&self, script: String) -> BoxFuture<'_, Result<String, CompileFailure>> {
        let functions = self.engine.functions();
        let made = |catalog: &dyn Catalog| {
            let (now, configs) = ((self.now)(), pxl::Configs::default());
            pxl::otel_script(&pxl::CompileInput { script: &script, exec_funcs: &[], now, catalog, functions: &functions, configs })
        };
        let made = match &self.facts {
            None => made(self.engine.catalog()),
            Some(facts) => made(&Stateful { tables: self.engine.catalog(), facts: &**facts, functions: &functions }),
        };
        future::ready(made.map_err(|found| problems(&found))).boxed()
    }
}

pub(crate) fn func(call: crate::FuncCall) -> FuncToExecute {
    FuncToExecute { name: call.name, args: call.args, output_table_prefix: call.output_prefix }
}

/// Every mistake with its place.
pub(crate) fn problems(found: &pxl::Diagnostics) -> CompileFailure {
    let problem = |message: pxl::Message| Problem { line: message.place.line, column: message.place.column, message: message.message };
    CompileFailure::Script(found.messages().into_iter().map(problem).collect())
}

struct LocalQuery {
    engine: Arc<Engine>,
    agent: Arc<LocalAgent>,
    exporter: Exporter,
    compiled: Compiled,
    /// Without those that are exported, which come after them.
    outputs: Vec<Output>,
}

impl Query for LocalQuery {
    fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    fn explains(&self) -> bool {
        self.compiled.flags.explain || self.compiled.flags.analyze
    }

    fn tells_quality(&self) -> bool {
        self.compiled.flags.data_quality
    }

    fn streams(&self) -> bool {
        self.compiled.outputs.iter().any(|output| output.streaming)
    }

    fn run(self: Box<Self>, _id: QueryId) -> BoxStream<'static, Result<QueryEvent, RunFailure>> {
        let names = self.compiled.outputs.iter().map(|o| o.name.clone()).collect();
        let (streams, shown) = (self.streams(), self.outputs.len());
        let explain = self.explains().then_some(Explain { names, metrics: self.compiled.flags.analyze });
        let started = async move {
            match self.start(streams).await {
                Ok((execution, exports)) => {
                    let (agent, ready) = (self.agent, VecDeque::new());
                    Running { execution, exports, agent, streams, shown, current: 0, ready, explain, done: false }.events()
                }
                Err(failed) => stream::once(future::ready(Err(failed))).boxed(),
            }
        };
        started.into_stream().flatten().boxed()
    }
}

impl LocalQuery {
    async fn start(&self, streams: bool) -> Result<(Execution, Exports), RunFailure> {
        let mut exports = Vec::new();
        for (at, output) in self.compiled.outputs.iter().enumerate() {
            exports.extend(output.export.clone().map(|export| (at, export)));
        }
        let exports = Exports::open(&self.exporter, exports, streams).await.map_err(|error| not_exported(&error))?;
        Ok((self.engine.execute(&self.compiled).await.map_err(|error| failure(&error))?, exports))
    }
}

struct Explain {
    names: Vec<String>,
    metrics: bool,
}

struct Running {
    execution: Execution,
    exports: Exports,
    agent: Arc<LocalAgent>,
    /// Outputs come in any order, and none is complete.
    streams: bool,
    /// Outputs for whoever asked: the first ones.
    shown: usize,
    /// The output whose rows come now; those before are complete.
    current: usize,
    ready: VecDeque<QueryEvent>,
    explain: Option<Explain>,
    done: bool,
}

impl Running {
    fn events(self) -> BoxStream<'static, Result<QueryEvent, RunFailure>> {
        stream::unfold(self, |mut running| async move { running.event().await.map(|event| (event, running)) }).boxed()
    }

    async fn event(&mut self) -> Option<Result<QueryEvent, RunFailure>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.done {
                return None;
            }
            if let Err(failed) = self.advance().await {
                self.done = true;
                return Some(Err(failed));
            }
        }
    }

    /// One step: rows, or the end.
    async fn advance(&mut self) -> Result<(), RunFailure> {
        let Some(rows) = self.execution.next().await.transpose().map_err(|error| failure(&error))? else {
            let exported = self.exports.finish().await;
            self.exported(exported)?;
            self.done = true;
            self.last_words();
            return Ok(());
        };
        if !self.streams {
            let ended = self.current..rows.output.min(self.shown);
            self.ready.extend(ended.map(|output| QueryEvent::OutputEnd { output }));
            self.current = rows.output.min(self.shown).max(self.current);
        }
        if self.exports.takes(rows.output) {
            let exported = self.exports.add(rows.output, &rows.rows).await;
            self.exported(exported)?;
        } else {
            self.ready.push_back(QueryEvent::Rows { output: rows.output, batch: rows.rows });
        }
        Ok(())
    }

    fn exported(&mut self, exported: Result<Exported, otel::Error>) -> Result<(), RunFailure> {
        let Exported { rows, refused } = exported.map_err(|error| not_exported(&error))?;
        if rows > 0 {
            self.ready.push_back(QueryEvent::Exported { rows, refused });
        }
        Ok(())
    }

    fn last_words(&mut self) {
        if let Some(Explain { names, metrics }) = &self.explain {
            let plans =
                names.iter().enumerate().filter_map(|(i, name)| Some((name.as_str(), steps_of(&self.execution.explain(i, *metrics)?))));
            let graph = plan_graph(plans);
            self.ready.push_back(QueryEvent::Plan(graph));
        }
        let stats = self.execution.stats();
        self.ready.push_back(QueryEvent::Read { bytes: stats.bytes_read, records: stats.rows_read });
        let node = Node { agent: AgentId::from_halves(0, 1), hostname: self.agent.hostname.clone() };
        let mut quality = Quality { agents: 1, troubles: Vec::new() };
        quality.add_tables(&node, &self.execution.qualities());
        quality.add_collectors(&node, &self.agent.collectors);
        self.ready.push_back(QueryEvent::Quality(quality.in_order()));
    }
}

fn not_exported(error: &otel::Error) -> RunFailure {
    if error.is_internal() { RunFailure::Internal(error.to_string()) } else { RunFailure::Export(error.to_string()) }
}

fn failure(error: &engine::Error) -> RunFailure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    match error.fault() {
        Fault::Script => RunFailure::InvalidArgument(text),
        Fault::Resources => RunFailure::ResourceExhausted(text),
        Fault::Engine => RunFailure::Internal(text),
    }
}
