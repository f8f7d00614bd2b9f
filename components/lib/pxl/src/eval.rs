//! Runs a script over descriptions of tables.

mod calls;
mod expressions;
mod statements;

use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use rustpython_ruff_python_ast::ModModule;
use tables::Relation;

use crate::compile::{CompileInput, Output};
use crate::diagnostics::{Code, Diagnostic, Result};
use crate::exec::ParsedArguments;
use crate::export::Export;
use crate::flags::Flags;
use crate::frame::{Frame, Operators, internal};
use crate::limits::{EVAL_DEPTH_MAX, OUTPUTS_MAX, STEPS_MAX};
use crate::otel_script::Displayed;
use crate::scope::{ScopeId, Scopes};
use crate::source::Span;
use crate::trace::Trace;

/// The state of one run.
pub(crate) struct Evaluator<'a> {
    pub(crate) input: &'a CompileInput<'a>,
    pub(crate) flags: Flags,
    pub(crate) scopes: Scopes<'a>,
    pub(crate) ops: Operators,
    pub(crate) trace: Trace,
    /// `px.display` does nothing while functions are called from outside.
    pub(crate) display_off: bool,
    /// What `px.display` was called with, in its order.
    pub(crate) displayed: Vec<Displayed>,
    outputs: Vec<Output>,
    exports: Vec<Output>,
    steps: u32,
    depth: u32,
    calls: usize,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(input: &'a CompileInput<'a>, flags: Flags) -> Evaluator<'a> {
        let mut scopes = Scopes::new();
        for (name, value) in crate::objects::globals() {
            scopes.set(ScopeId::MODULE, name, value);
        }
        Evaluator {
            input,
            flags,
            scopes,
            ops: Operators::default(),
            trace: Trace::default(),
            display_off: !input.exec_funcs.is_empty(),
            displayed: Vec::new(),
            outputs: Vec::new(),
            exports: Vec::new(),
            steps: 0,
            depth: 0,
            calls: 0,
        }
    }

    /// The module, then the calls from outside.
    pub(crate) fn run(&mut self, module: &'a ModModule, arguments: &'a ParsedArguments) -> Result<()> {
        self.block(&module.body, ScopeId::MODULE, false)?;
        for (func, arguments) in self.input.exec_funcs.iter().zip(arguments) {
            self.exec_func(func, arguments)?;
        }
        Ok(())
    }

    /// Those for whoever asked, then those that are exported.
    pub(crate) fn into_outputs(self) -> Vec<Output> {
        let mut outputs = self.outputs;
        outputs.extend(self.exports);
        outputs
    }

    fn room_for_output(&self, span: Span) -> Result<()> {
        if self.outputs.len() + self.exports.len() >= OUTPUTS_MAX {
            return Err(Diagnostic::new(Code::Limit, span, format!("too many outputs: at most {OUTPUTS_MAX}")));
        }
        Ok(())
    }

    /// Adds an output whose rows leave the query for elsewhere: all of them.
    pub(crate) fn add_export(
        &mut self,
        (plan, relation, streaming): (LogicalPlan, Relation, bool),
        export: Export,
        span: Span,
    ) -> Result<()> {
        self.room_for_output(span)?;
        let name = format!("export_{}", self.exports.len());
        let output = Output { name, relation, plan, streaming, export: Some(export) };
        self.exports.push(checked(output, span)?);
        Ok(())
    }

    /// Adds an output. A name that is taken gets `_1`, `_2`, … behind it.
    pub(crate) fn add_output(&mut self, frame: &Frame, name: &str, span: Span) -> Result<()> {
        self.room_for_output(span)?;
        let taken = |name: &str| self.outputs.iter().any(|output| output.name == name);
        let mut unique = name.to_owned();
        let mut n = 0;
        while taken(&unique) {
            n += 1;
            unique = format!("{name}_{n}");
        }
        let mut plan = frame.plan().map_err(|e| internal(&e, span))?;
        if let Ok(rows @ 1..) = usize::try_from(self.flags.max_output_rows_per_table)
            && !frame.streaming
        {
            plan =
                LogicalPlanBuilder::from(plan).limit(0, Some(rows)).and_then(LogicalPlanBuilder::build).map_err(|e| internal(&e, span))?;
        }
        let relation = (*frame.relation).clone();
        let output = Output { name: unique, relation, plan, streaming: frame.streaming, export: None };
        self.outputs.push(checked(output, span)?);
        Ok(())
    }

    /// Counts one node of the syntax tree.
    fn enter(&mut self, span: Span) -> Result<()> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(Diagnostic::new(Code::Limit, span, format!("script too long: more than {STEPS_MAX} steps")));
        }
        if self.depth >= EVAL_DEPTH_MAX {
            return Err(Diagnostic::new(Code::Limit, span, format!("nested too deeply: at most {EVAL_DEPTH_MAX} levels")));
        }
        self.depth += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }
}

/// An output whose plan has the columns that it says.
fn checked(output: Output, span: Span) -> Result<Output> {
    let types = |schema: &datafusion::arrow::datatypes::Schema| {
        schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect::<Vec<_>>()
    };
    if types(output.plan.schema().as_arrow()) != types(&output.relation.arrow_schema()) {
        let message = format!("the plan of output '{}' has other columns than it should", output.name);
        return Err(Diagnostic::new(Code::Internal, span, message));
    }
    Ok(output)
}
