//! The way from a script to its outputs.

use datafusion::logical_expr::LogicalPlan;
use ids::UnixNs;
use rustpython_ruff_python_ast::Stmt;
use tables::Relation;

use crate::catalog::{Catalog, SchemaCatalog};
use crate::diagnostics::{Code, Diagnostic, Diagnostics};
use crate::eval::Evaluator;
use crate::export::{Configs, Endpoint, Export, PluginTimes};
use crate::flags::Flags;
use crate::functions::FunctionRegistry;
use crate::mutations::Mutation;
use crate::parse::parse_script;

/// What a compile starts from. The result depends on nothing else.
#[derive(Clone, Copy)]
pub struct CompileInput<'a> {
    /// The script.
    pub script: &'a str,
    /// Functions of the script to call. With any, `px.display` does nothing and the functions' results are the outputs.
    pub exec_funcs: &'a [FuncToExecute],
    /// What `px.now()` is and relative times count from.
    pub now: UnixNs,
    /// Which tables there are.
    pub catalog: &'a dyn Catalog,
    /// Which functions there are.
    pub functions: &'a FunctionRegistry,
    /// What the request says beside the script.
    pub configs: Configs<'a>,
}

impl<'a> CompileInput<'a> {
    /// Of a script as it stands: nothing of it is called, and the request says nothing beside it.
    pub fn new(script: &'a str, now: UnixNs, catalog: &'a dyn Catalog, functions: &'a FunctionRegistry) -> Self {
        Self { script, exec_funcs: &[], now, catalog, functions, configs: Configs::default() }
    }
}

/// One call of a function of a script, from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FuncToExecute {
    /// Which function.
    pub name: String,
    /// Names and values of its arguments; values are text, read as the parameter's annotation says.
    pub args: Vec<(String, String)>,
    /// Name of the output; several outputs get `[0]`, `[1]`, … behind it.
    pub output_table_prefix: String,
}

/// One table that a query makes, for whoever asked or for an export.
#[derive(Debug, Clone)]
pub struct Output {
    /// Unique within the query.
    pub name: String,
    /// Its columns.
    pub relation: Relation,
    /// How it is made: columns and types are those of `relation`, no value is NULL.
    pub plan: LogicalPlan,
    /// Its rows never end: those that come later are wanted too. Then the plan has no limit, join, sort or aggregate.
    pub streaming: bool,
    /// Where its rows go instead of to whoever asked. Such outputs come after the others.
    pub export: Option<Export>,
}

/// A script that compiled.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// At least one.
    pub outputs: Vec<Output>,
    /// From the `#px:set` lines.
    pub flags: Flags,
}

/// Compiles a script. What it wants changed is checked and left out: see [`compile_mutations`].
///
/// # Errors
/// Whatever is wrong with the script or with the calls.
pub fn compile(input: &CompileInput<'_>) -> Result<Compiled, Diagnostics> {
    run(input, false, |evaluator, flags| {
        let outputs = evaluator.into_outputs();
        if outputs.is_empty() {
            let message = "query does not output a result, please add a px.display() statement";
            return Err(Diagnostics::new(input.script, vec![*Diagnostic::whole(Code::NoOutput, message)]));
        }
        Ok(Compiled { outputs, flags })
    })
}

/// What a script wants changed, in the order in which it says so; nothing, if it changes nothing. Tables that its own tracepoints fill may be
/// read although the catalog does not have them: the query part is compiled by [`compile`], when they are there.
///
/// # Errors
/// Whatever is wrong with the script or with the calls.
pub fn compile_mutations(input: &CompileInput<'_>) -> Result<Vec<Mutation>, Diagnostics> {
    run(input, true, |evaluator, _| evaluator.trace.finish(input.script))
}

/// Whether a script may want something changed: it imports `pxtrace` or `pxconfig`. False also if it is not Python.
pub fn mutates(script: &str) -> bool {
    let changes = |name: &str| matches!(name, "pxtrace" | "pxconfig");
    parse_script(script).is_ok_and(|module| any_import(&module.body, &changes))
}

fn any_import(body: &[Stmt], wanted: &impl Fn(&str) -> bool) -> bool {
    body.iter().any(|stmt| match stmt {
        Stmt::Import(import) => import.names.iter().any(|alias| wanted(alias.name.as_str())),
        Stmt::ImportFrom(import) => import.module.as_ref().is_some_and(|module| wanted(module.as_str())),
        Stmt::FunctionDef(function) => any_import(&function.body, wanted),
        _ => false,
    })
}

fn run<T>(
    input: &CompileInput<'_>,
    tables_to_come: bool,
    finish: impl FnOnce(Evaluator<'_>, Flags) -> Result<T, Diagnostics>,
) -> Result<T, Diagnostics> {
    let fail = |problem: Box<Diagnostic>| Diagnostics::new(input.script, vec![*problem]);
    let flags = Flags::parse(input.script).map_err(fail)?;
    let module = parse_script(input.script).map_err(|problems| Diagnostics::new(input.script, problems))?;
    if module.body.is_empty() {
        return Err(fail(Diagnostic::whole(Code::Syntax, "Query should not be empty.")));
    }
    let arguments = crate::exec::parse_arguments(input.exec_funcs).map_err(fail)?;
    let mut evaluator = Evaluator::new(input, flags);
    evaluator.trace.tables_to_come = tables_to_come;
    evaluator.run(&module, &arguments).map_err(fail)?;
    finish(evaluator, flags)
}

/// Checks a script against the tables that agents fill, without any running. A script of functions only, which wants to be called, passes.
///
/// # Errors
/// Whatever is wrong with the script.
pub fn check(script: &str, functions: &FunctionRegistry) -> Result<(), Diagnostics> {
    let catalog = SchemaCatalog::of_agents();
    // Whoever runs it says where exports go that name no endpoint, and of which time.
    let endpoint = Endpoint { url: "localhost:4317".to_owned(), ..Endpoint::default() };
    let configs = Configs { endpoint: Some(&endpoint), plugin_times: Some(PluginTimes { start: UnixNs(0), end: UnixNs(1) }) };
    let input = CompileInput { script, exec_funcs: &[], now: UnixNs(0), catalog: &catalog, functions, configs };
    if mutates(script) {
        return compile_mutations(&input).map(drop);
    }
    match compile(&input) {
        Ok(_) => Ok(()),
        Err(problems) => {
            let no_output = problems.problems().iter().all(|problem| problem.code == Code::NoOutput);
            let defines = parse_script(script).is_ok_and(|module| module.body.iter().any(Stmt::is_function_def_stmt));
            if no_output && defines { crate::exec::check_functions(&input) } else { Err(problems) }
        }
    }
}
