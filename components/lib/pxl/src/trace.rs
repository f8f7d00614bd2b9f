//! Mutations in the making.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::diagnostics::{Code, Diagnostic, Diagnostics, Result};
use crate::limits::MUTATIONS_MAX;
use crate::mutations::{Captured, Mutation, Probe, Selector, Target};
use crate::source::Span;
use crate::value::UserFunction;

/// Functions of `pxtrace` and `pxconfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TraceFunction {
    Probe,
    ArgExpr,
    RetExpr,
    FunctionLatency,
    UpsertTracepoint,
    DeleteTracepoint,
    TraceProgram,
    SharedObject,
    Kprobe,
    PodProcess,
    LabelSelector,
    SetAgentConfig,
}

/// What those functions make.
#[derive(Debug, Clone)]
pub(crate) enum Traced<'a> {
    Target(Rc<Target>),
    /// What `@pxtrace.probe(symbol)` is before the function stands below it.
    Decorator(Rc<str>),
    Probe(Rc<ProbeFunction<'a>>),
    Program(Rc<TraceProgram<'a>>),
    /// What has the value of an expression of a probe.
    Variable(Rc<str>),
}

impl Traced<'_> {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Traced::Target(_) => "TracepointTarget",
            Traced::Decorator(_) => "Decorator",
            Traced::Probe(_) => "Probe",
            Traced::Program(_) => "TraceProgram",
            Traced::Variable(_) => "TracingVariable",
        }
    }
}

/// A function of the script below `@pxtrace.probe(symbol)`.
#[derive(Debug)]
pub(crate) struct ProbeFunction<'a> {
    pub(crate) symbol: Rc<str>,
    pub(crate) function: Rc<UserFunction<'a>>,
}

/// A program with what it demands of the node.
#[derive(Debug)]
pub(crate) struct TraceProgram<'a> {
    pub(crate) program: ProgramText<'a>,
    pub(crate) selectors: Vec<Selector>,
}

#[derive(Debug, Clone)]
pub(crate) enum ProgramText<'a> {
    Probe(Rc<ProbeFunction<'a>>),
    BpfTrace(Rc<str>),
}

/// What a script's mutations came to so far.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// Tables may be read that only the tracepoints will bring: what is made of them is not known.
    pub(crate) tables_to_come: bool,
    pub(crate) mutations: Vec<Mutation>,
    /// The probe whose function runs now.
    pub(crate) current: Option<Probe>,
    /// Columns of the tables that probes fill.
    tables: BTreeMap<String, Option<Vec<String>>>,
    /// Tables that were read and are not there, with what to say if no tracepoint brings them.
    missing: Vec<(String, Box<Diagnostic>)>,
}

impl Trace {
    pub(crate) fn missing_table(&mut self, name: &str, problem: Box<Diagnostic>) {
        if self.missing.iter().all(|(known, _)| known != name) {
            self.missing.push((name.to_owned(), problem));
        }
    }

    /// All mutations, if every table that was read is there or will be.
    pub(crate) fn finish(self, script: &str) -> std::result::Result<Vec<Mutation>, Diagnostics> {
        let lost = self.missing.into_iter().filter(|(name, _)| !self.tables.contains_key(name));
        let problems: Vec<Diagnostic> = lost.map(|(_, problem)| *problem).collect();
        if problems.is_empty() { Ok(self.mutations) } else { Err(Diagnostics::new(script, problems)) }
    }

    pub(crate) fn push(&mut self, mutation: Mutation, at: Span) -> Result<()> {
        if self.mutations.len() >= MUTATIONS_MAX {
            return Err(Diagnostic::new(Code::Limit, at, format!("too many mutations: at most {MUTATIONS_MAX}")));
        }
        self.mutations.push(mutation);
        Ok(())
    }

    /// A table that a tracepoint fills; `columns` where they are known now.
    pub(crate) fn fills(&mut self, table: &str, columns: Option<Vec<String>>, at: Span) -> Result<()> {
        match (self.tables.get(table), columns) {
            (Some(Some(old)), Some(new)) if *old != new => {
                let show = |columns: &[String]| columns.join(", ");
                let message =
                    format!("New output schema '{}' for '{table}' doesnt match previously defined schema '{}'", show(&new), show(old));
                Err(Diagnostic::new(Code::Value, at, message).with_help("give the tables different names"))
            }
            (Some(Some(_)), _) => Ok(()),
            (_, columns) => {
                self.tables.insert(table.to_owned(), columns);
                Ok(())
            }
        }
    }

    fn probe(&mut self, at: Span) -> Result<&mut Probe> {
        let missing = || Diagnostic::new(Code::Value, at, "Missing current probe");
        self.current.as_mut().ok_or_else(|| missing().with_help("use it in a function below @pxtrace.probe('symbol')"))
    }

    /// The variable of an argument's expression.
    pub(crate) fn arg(&mut self, expr: &str, at: Span) -> Result<Rc<str>> {
        let probe = self.probe(at)?;
        capture("arg", &mut probe.args, expr, at)
    }

    /// The variable of an expression over what is returned.
    pub(crate) fn returned(&mut self, expr: &str, at: Span) -> Result<Rc<str>> {
        let probe = self.probe(at)?;
        capture("ret", &mut probe.returns, expr, at)
    }

    /// The variable of the time it takes.
    pub(crate) fn latency(&mut self, at: Span) -> Result<Rc<str>> {
        Ok(self.probe(at)?.latency.get_or_insert_with(|| "lat0".to_owned()).as_str().into())
    }
}

/// Most expressions of one kind in a probe: each is code in the kernel.
const CAPTURES_MAX: usize = 64;

fn capture(prefix: &str, captures: &mut Vec<Captured>, expr: &str, at: Span) -> Result<Rc<str>> {
    if expr.is_empty() {
        return Err(Diagnostic::new(Code::Value, at, "the expression is empty"));
    }
    if captures.len() >= CAPTURES_MAX {
        return Err(Diagnostic::new(Code::Limit, at, format!("too many expressions in a probe: at most {CAPTURES_MAX}")));
    }
    let id = format!("{prefix}{}", captures.len());
    captures.push(Captured { id: id.clone(), expr: expr.to_owned() });
    Ok(id.into())
}
