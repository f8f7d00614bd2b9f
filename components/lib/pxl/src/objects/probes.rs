//! Functions below `@pxtrace.probe(symbol)`.

use std::rc::Rc;

use rustpython_ruff_python_ast::Decorator;

use crate::args::Args;
use crate::diagnostics::{Code, Diagnostic, Result};
use crate::eval::Evaluator;
use crate::mutations::Probe;
use crate::scope::ScopeId;
use crate::source::{Span, span};
use crate::trace::{ProbeFunction, Traced};
use crate::value::{UserFunction, Value};

/// Columns that every table of a tracepoint has.
const OWN_COLUMNS: [&str; 2] = ["time_", "upid"];

impl<'a> Evaluator<'a> {
    /// What a function is below that decorator.
    pub(crate) fn decorated(&mut self, decorator: &'a Decorator, function: UserFunction<'a>, scope: ScopeId) -> Result<Value<'a>> {
        match self.expr(&decorator.expression, scope)? {
            Value::Traced(Traced::Decorator(symbol)) => {
                let probe = ProbeFunction { symbol, function: Rc::new(function) };
                Ok(Value::Traced(Traced::Probe(Rc::new(probe))))
            }
            _ => Err(Diagnostic::new(Code::Unsupported, span(decorator), "decorators are not supported")
                .with_help("there is one: @pxtrace.probe('symbol')")),
        }
    }

    /// Calls the function to learn what is read and written.
    pub(crate) fn run_probe(&mut self, probe: &ProbeFunction<'a>, called_at: Span) -> Result<Probe> {
        let at = span(&probe.function.def.name);
        if let Some(param) = probe.function.params.iter().find(|param| param.default.is_none()) {
            return Err(Diagnostic::new(Code::Arguments, at, format!("a probe has no arguments, this one wants '{}'", param.name)));
        }
        self.trace.current =
            Some(Probe { symbol: probe.symbol.to_string(), args: vec![], returns: vec![], latency: None, columns: vec![] });
        let args = Args { positional: Vec::new(), named: Vec::new(), span: called_at };
        let result = self.call_function(&probe.function, args)?;
        let Some(mut probe) = self.trace.current.take() else {
            return Err(Diagnostic::new(Code::Internal, at, "a probe was lost"));
        };
        probe.columns = columns(&result, at)?;
        Ok(probe)
    }
}

/// `[{'column': variable}, …]`
fn columns(result: &Value<'_>, at: Span) -> Result<Vec<(String, String)>> {
    let items = match result {
        Value::None => &[][..],
        Value::List(items) | Value::Tuple(items) => &items.items,
        other => {
            let message = format!("Unable to parse probe output definition. Expected Collection, received {}", other.kind());
            return Err(Diagnostic::new(Code::Type, at, message).with_help("return [{'column': variable}, …]"));
        }
    };
    let mut columns: Vec<(String, String)> = Vec::new();
    for item in items {
        let Value::Dict(dict) = item else {
            return Err(Diagnostic::new(Code::Type, at, format!("Expected Dict, got {}", item.kind())));
        };
        for (key, value) in &dict.entries {
            let Some(name) = key.as_str().filter(|name| !name.is_empty()) else {
                return Err(Diagnostic::new(Code::Type, at, format!("Expected the name of a column, got {}", key.kind())));
            };
            let Value::Traced(Traced::Variable(variable)) = value else {
                return Err(Diagnostic::new(Code::Type, at, format!("Expected TracingVariable, got {}", value.kind()))
                    .with_help("use pxtrace.ArgExpr('…'), pxtrace.RetExpr('…') or pxtrace.FunctionLatency()"));
            };
            if OWN_COLUMNS.contains(&name) || columns.iter().any(|(known, _)| known == name) {
                return Err(Diagnostic::new(Code::Value, at, format!("the table would have two columns '{name}'")));
            }
            columns.push((name.to_owned(), variable.to_string()));
        }
    }
    if columns.is_empty() {
        let message = "Improper probe definition: missing output spec of probe, add a return statement";
        return Err(Diagnostic::new(Code::Value, at, message).with_help("return [{'column': variable}, …]"));
    }
    Ok(columns)
}
