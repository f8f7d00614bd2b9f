//! The engine of this process as the broker's [`QueryEngine`].

use std::collections::VecDeque;
use std::sync::Arc;

use engine::{Compiled, Engine, Execution, Fault};
use futures::future::{self, BoxFuture};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use ids::{QueryId, UnixNs};
use pxl::FuncToExecute;

use crate::engine::{CompileFailure, Output, Problem, Query, QueryEngine, QueryEvent, RunFailure, Script};
use crate::plan_graph::plan_graph;

/// Runs queries in this process, over the tables of one store.
#[derive(Debug, Clone)]
pub struct LocalEngine {
    engine: Arc<Engine>,
    now: fn() -> UnixNs,
}

impl LocalEngine {
    /// `now` is what relative times of scripts count from.
    pub fn new(engine: Arc<Engine>, now: fn() -> UnixNs) -> LocalEngine {
        LocalEngine { engine, now }
    }
}

impl QueryEngine for LocalEngine {
    fn compile(&self, script: Script) -> BoxFuture<'_, Result<Box<dyn Query>, CompileFailure>> {
        let exec_funcs: Vec<FuncToExecute> = script.funcs.into_iter().map(func).collect();
        let request = engine::CompileRequest { script: &script.text, exec_funcs: &exec_funcs, now: (self.now)() };
        let compiled = match self.engine.compile(&request) {
            Ok(compiled) => compiled,
            Err(problems) => {
                return future::ready(Err(CompileFailure::Script(problems.messages().into_iter().map(problem).collect()))).boxed();
            }
        };
        let outputs = compiled.outputs.iter().map(|o| Output { name: o.name.clone(), relation: o.relation.clone() }).collect();
        let query: Box<dyn Query> = Box::new(LocalQuery { engine: Arc::clone(&self.engine), compiled, outputs });
        future::ready(Ok(query)).boxed()
    }
}

fn func(call: crate::FuncCall) -> FuncToExecute {
    FuncToExecute { name: call.name, args: call.args, output_table_prefix: call.output_prefix }
}

fn problem(message: pxl::Message) -> Problem {
    Problem { line: message.place.line, column: message.place.column, message: message.message }
}

struct LocalQuery {
    engine: Arc<Engine>,
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

    fn run(self: Box<Self>, _id: QueryId) -> BoxStream<'static, Result<QueryEvent, RunFailure>> {
        let names = self.outputs.iter().map(|o| o.name.clone()).collect();
        let explain = self.explains().then_some(Explain { names, metrics: self.compiled.flags.analyze });
        let started = async move {
            match self.engine.execute(&self.compiled).await {
                Ok(execution) => Running { execution, current: 0, ready: VecDeque::new(), explain, done: false }.events(),
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
                self.ready.extend((self.current..rows.output).map(|output| QueryEvent::OutputEnd { output }));
                self.current = rows.output.max(self.current);
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
