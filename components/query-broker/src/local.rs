//! The engine of this process as the broker's [`QueryEngine`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use engine::{Compiled, Engine, Execution, Fault};
use futures::future::{self, BoxFuture};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use ids::{AgentId, QueryId, UnixNs};
use pxl::FuncToExecute;

use crate::engine::{CompileFailure, Output, Problem, Query, QueryEngine, QueryEvent, RunFailure, Script};
use crate::plan_graph::plan_graph;
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
    now: fn() -> UnixNs,
}

impl LocalEngine {
    /// `now` is what relative times of scripts count from.
    pub fn new(engine: Arc<Engine>, now: fn() -> UnixNs) -> LocalEngine {
        LocalEngine { engine, facts: None, agent: Arc::default(), now }
    }

    /// With answers to functions about the cluster. They must not wait.
    #[must_use]
    pub fn facts(self, facts: Arc<dyn Facts>) -> LocalEngine {
        LocalEngine { facts: Some(facts), ..self }
    }

    /// Of an agent that is told where answers are not complete.
    #[must_use]
    pub fn agent(self, agent: LocalAgent) -> LocalEngine {
        LocalEngine { agent: Arc::new(agent), ..self }
    }

    fn compiled(&self, script: Script) -> Result<Compiled, pxl::Diagnostics> {
        let exec_funcs: Vec<FuncToExecute> = script.funcs.into_iter().map(func).collect();
        let request = engine::CompileRequest { script: &script.text, exec_funcs: &exec_funcs, now: (self.now)() };
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
        let compiled = match self.compiled(script) {
            Ok(compiled) => compiled,
            Err(found) => return future::ready(Err(problems(&found))).boxed(),
        };
        let outputs = compiled.outputs.iter().map(|o| Output { name: o.name.clone(), relation: o.relation.clone() }).collect();
        let query: Box<dyn Query> =
            Box::new(LocalQuery { engine: Arc::clone(&self.engine), agent: Arc::clone(&self.agent), compiled, outputs });
        future::ready(Ok(query)).boxed()
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
    compiled: Compiled,
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
        let names = self.outputs.iter().map(|o| o.name.clone()).collect();
        let streams = self.streams();
        let explain = self.explains().then_some(Explain { names, metrics: self.compiled.flags.analyze });
        let started = async move {
            match self.engine.execute(&self.compiled).await {
                Ok(execution) => {
                    Running { execution, agent: self.agent, streams, current: 0, ready: VecDeque::new(), explain, done: false }.events()
                }
                Err(error) => stream::once(future::ready(Err(failure(&error)))).boxed(),
            }
        };
        started.into_stream().flatten().boxed()
    }
}

struct Explain {
    names: Vec<String>,
    metrics: bool,
}

struct Running {
    execution: Execution,
    agent: Arc<LocalAgent>,
    /// Outputs come in any order, and none is complete.
    streams: bool,
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
        if let Some(event) = self.ready.pop_front() {
            return Some(Ok(event));
        }
        if self.done {
            return None;
        }
        match self.execution.next().await {
            Some(Ok(rows)) => {
                if !self.streams {
                    self.ready.extend((self.current..rows.output).map(|output| QueryEvent::OutputEnd { output }));
                    self.current = rows.output.max(self.current);
                }
                self.ready.push_back(QueryEvent::Rows { output: rows.output, batch: rows.rows });
            }
            Some(Err(error)) => {
                self.done = true;
                return Some(Err(failure(&error)));
            }
            None => {
                self.done = true;
                self.last_words();
            }
        }
        self.ready.pop_front().map(Ok)
    }

    fn last_words(&mut self) {
        if let Some(Explain { names, metrics }) = &self.explain {
            let plans = names.iter().enumerate().filter_map(|(i, name)| Some((name.as_str(), self.execution.explain(i, *metrics)?)));
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
