use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agent::wire::encode_output;
use api::internal::PlanOutput;
use auth::SigningKey;
use engine::Fault;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use ids::{AgentId, QueryId, UnixNs};
use parking_lot::Mutex;
use pxl::{AnsweredBy, Argument, Catalog, CatalogTable, FuncToExecute, FunctionRegistry, FunctionRows, NoRows, TableFunction};
use rpc::PeerIdentity;
use tokio::runtime::Handle;

use super::call::Call;
use super::kelvins::Kelvins;
use crate::engine::{CompileFailure, Output, Query, QueryEngine, QueryEvent, RunFailure, Script};
use crate::local::{func, problems};
use crate::metadata::Metadata;
use crate::mutations::{Mutated, MutationFailure, apply};
use crate::peers::{self, Connect};
use crate::state::{Remote, Stateful};
use crate::tracker::{ClusterView, TrackerHandle};

/// Also where there is no node yet.
const NO_TABLES: &str = "not ready yet: no agent has told its tables";

/// What the engine may do.
#[derive(Debug, Clone, Copy)]
pub struct DistributedArgs {
    /// Longest time for one query that is not a stream.
    pub query_time_max: Duration,
    /// What relative times of scripts count from.
    pub now: fn() -> UnixNs,
}

/// Runs queries on Kelvins, over the tables of all agents. A cheap handle.
#[derive(Clone)]
pub struct DistributedEngine {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) tracker: TrackerHandle,
    pub(super) kelvins: Kelvins,
    metadata: Metadata,
    functions: Arc<FunctionRegistry>,
    pub(super) args: DistributedArgs,
}

impl DistributedEngine {
    /// Over the cluster that `tracker` and `metadata` know. `identity` and `key` are what Kelvins are shown.
    pub fn new(
        (tracker, metadata): (TrackerHandle, Metadata),
        functions: Arc<FunctionRegistry>,
        (identity, key): (PeerIdentity, SigningKey),
        args: DistributedArgs,
    ) -> DistributedEngine {
        DistributedEngine::over((tracker, metadata), functions, (peers::over_tls(identity), key), args)
    }

    /// As [`Self::new`], with Kelvins that are reached otherwise.
    pub fn over(
        (tracker, metadata): (TrackerHandle, Metadata),
        functions: Arc<FunctionRegistry>,
        (connect, key): (Connect, SigningKey),
        args: DistributedArgs,
    ) -> DistributedEngine {
        let kelvins = Kelvins::new(connect, key);
        DistributedEngine { shared: Arc::new(Shared { tracker, kelvins, metadata, functions, args }) }
    }
}

impl fmt::Debug for DistributedEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistributedEngine").field("args", &self.shared.args).finish_non_exhaustive()
    }
}

impl QueryEngine for DistributedEngine {
    fn compile(&self, script: Script) -> BoxFuture<'_, Result<Box<dyn Query>, CompileFailure>> {
        let shared = Arc::clone(&self.shared);
        async move {
            let Some(view) = shared.tracker.view() else { return Err(CompileFailure::NotReady("not ready yet".to_owned())) };
            // A large script takes some tens of milliseconds, which others should not wait for.
            let runtime = Handle::current();
            let compiling = tokio::task::spawn_blocking(move || compile(&shared, (view, runtime), script));
            let compiled = compiling.await.map_err(|error| CompileFailure::Internal(format!("compiling did not end: {error}")))??;
            Ok(Box::new(compiled) as Box<dyn Query>)
        }
        .boxed()
    }

    fn otel_script(&self, script: String) -> BoxFuture<'_, Result<String, CompileFailure>> {
        let shared = Arc::clone(&self.shared);
        async move {
            let view = shared.tracker.view().ok_or_else(|| CompileFailure::NotReady("not ready yet".to_owned()))?;
            let (runtime, script) = (Handle::current(), Script { text: script, ..Script::default() });
            let making = tokio::task::spawn_blocking(move || Compiler::new(&shared, view, runtime, script).run(pxl::otel_script).0);
            making.await.map_err(|error| CompileFailure::Internal(format!("compiling did not end: {error}")))?
        }
        .boxed()
    }

    fn mutate(&self, script: Script) -> BoxFuture<'_, Result<Mutated, MutationFailure>> {
        let shared = Arc::clone(&self.shared);
        async move {
            let not_ready = || MutationFailure::Compile(CompileFailure::NotReady("not ready yet".to_owned()));
            let view = shared.tracker.view().ok_or_else(not_ready)?;
            let (compiler, runtime) = (Arc::clone(&shared), Handle::current());
            let compiling =
                tokio::task::spawn_blocking(move || Compiler::new(&compiler, view, runtime, script).run(pxl::compile_mutations).0);
            let internal = |error| MutationFailure::Compile(CompileFailure::Internal(format!("compiling did not end: {error}")));
            let changes = compiling.await.map_err(internal)?.map_err(MutationFailure::Compile)?;
            let known = |table: &str| shared.tracker.view().is_some_and(|view| view.tables.contains_key(table));
            apply(changes, &shared.metadata, known).await
        }
        .boxed()
    }
}

/// One script and what it is compiled with. On a thread that may wait: functions over the cluster's state ask the metadata service.
struct Compiler<'a> {
    shared: &'a Shared,
    view: Arc<ClusterView>,
    runtime: Handle,
    script: Script,
}

impl<'a> Compiler<'a> {
    fn new(shared: &'a Shared, view: Arc<ClusterView>, runtime: Handle, script: Script) -> Compiler<'a> {
        Compiler { shared, view, runtime, script }
    }

    /// What came of it, and what the script reads.
    fn run<T>(self, compile: impl FnOnce(&pxl::CompileInput<'_>) -> Result<T, pxl::Diagnostics>) -> (Result<T, CompileFailure>, Read) {
        let Compiler { shared, view, runtime, script } = self;
        let exec_funcs: Vec<FuncToExecute> = script.funcs.iter().cloned().map(func).collect();
        let tables = Tables { view: &view, read: Mutex::default() };
        let facts = Remote { view: Arc::clone(&view), metadata: shared.metadata.clone(), runtime };
        let catalog = Stateful { tables: &tables, facts: &facts, functions: &shared.functions };
        let input = pxl::CompileInput {
            script: &script.text,
            exec_funcs: &exec_funcs,
            now: (shared.args.now)(),
            catalog: &catalog,
            functions: &shared.functions,
            configs: script.configs(),
        };
        let compiled = compile(&input);
        let read = tables.read.into_inner();
        // The script may well be right: whoever asks shall come again.
        let early = read.missed && view.tables.is_empty();
        let failed = |found| if early { CompileFailure::NotReady(NO_TABLES.to_owned()) } else { problems(&found) };
        (compiled.map_err(failed), read)
    }
}

fn compile(shared: &Arc<Shared>, (view, runtime): (Arc<ClusterView>, Handle), script: Script) -> Result<DistributedQuery, CompileFailure> {
    let (compiled, read) = Compiler::new(shared, Arc::clone(&view), runtime, script).run(pxl::compile);
    let compiled = compiled?;
    let (mut asked, refused) = view.asked(&read.tables);
    if read.every_pem {
        asked = view.collecting().map(|(id, _)| id).filter(|id| !refused.contains_key(id)).collect();
    }
    if read.every_kelvin {
        asked.extend(view.kelvins().map(|(id, _)| id));
    }
    let explain = (compiled.flags.explain || compiled.flags.analyze)
        .then(|| Explain { names: compiled.outputs.iter().map(|output| output.name.clone()).collect(), analyze: compiled.flags.analyze });
    let plans = compiled.outputs.iter().map(|output| {
        let plan = encode_output(output).map_err(|error| too_large(&error))?;
        Ok(PlanOutput { export: output.export.as_ref().map(otel::encode), ..plan })
    });
    let plans = plans.collect::<Result<Vec<_>, CompileFailure>>()?;
    Ok(DistributedQuery {
        shared: Arc::clone(shared),
        streams: compiled.outputs.iter().any(|output| output.streaming),
        outputs: compiled
            .outputs
            .into_iter()
            .filter(|output| output.export.is_none())
            .map(|o| Output { name: o.name, relation: o.relation })
            .collect(),
        tells_quality: compiled.flags.data_quality,
        work: Work { view, plans, asked, refused, explain },
    })
}

fn too_large(error: &engine::Error) -> CompileFailure {
    match error.fault() {
        Fault::Resources => CompileFailure::TooLarge(error.to_string()),
        Fault::Script | Fault::Engine => CompileFailure::Internal(chain(error)),
    }
}

/// The error and its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// The tables of a view, and which of them a script reads.
struct Tables<'a> {
    view: &'a ClusterView,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    tables: BTreeSet<String>,
    /// Something that each agent tells of itself.
    every_pem: bool,
    /// Each Kelvin too.
    every_kelvin: bool,
    /// A table that is not there.
    missed: bool,
}

impl Catalog for Tables<'_> {
    fn table(&self, name: &str) -> Option<CatalogTable> {
        let table = self.view.catalog.table(name);
        let mut read = self.read.lock();
        if table.is_some() {
            read.tables.insert(name.to_owned());
        } else {
            read.missed = true;
        }
        table
    }

    fn table_names(&self) -> Vec<String> {
        self.view.catalog.table_names()
    }

    fn table_function(&self, function: &TableFunction, args: &[Argument]) -> Result<FunctionRows, NoRows> {
        {
            let mut read = self.read.lock();
            read.every_pem = true;
            read.every_kelvin |= function.answered_by == AnsweredBy::AllAgents;
        }
        self.view.catalog.table_function(function, args)
    }
}

/// What a Kelvin is given, and what is known beside it.
pub(super) struct Work {
    pub(super) view: Arc<ClusterView>,
    pub(super) plans: Vec<PlanOutput>,
    /// Whose rows are asked for.
    pub(super) asked: Vec<AgentId>,
    /// Whose are not, and why.
    pub(super) refused: BTreeMap<AgentId, String>,
    /// Whether it is to be told how the outputs are made.
    pub(super) explain: Option<Explain>,
}

/// How the outputs are made is asked for.
pub(super) struct Explain {
    /// Of the outputs.
    pub(super) names: Vec<String>,
    /// With what each step took.
    pub(super) analyze: bool,
}

struct DistributedQuery {
    shared: Arc<Shared>,
    outputs: Vec<Output>,
    streams: bool,
    tells_quality: bool,
    work: Work,
}

impl Query for DistributedQuery {
    fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    fn explains(&self) -> bool {
        self.work.explain.is_some()
    }

    fn tells_quality(&self) -> bool {
        self.tells_quality
    }

    fn streams(&self) -> bool {
        self.streams
    }

    fn run(self: Box<Self>, id: QueryId) -> BoxStream<'static, Result<QueryEvent, RunFailure>> {
        Call::new(self.shared, self.work, (id, self.streams)).events()
    }
}
