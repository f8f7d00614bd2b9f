//! Calls of a script's functions from outside: arguments come as text.

use rustpython_ruff_python_ast::Expr;
use tables::DataType;

use crate::args::{Arg, Args};
use crate::compile::{CompileInput, FuncToExecute};
use crate::diagnostics::{Code, Diagnostic, Diagnostics, Result};
use crate::eval::Evaluator;
use crate::expr::{Literal, Typed};
use crate::flags::Flags;
use crate::parse::{parse_script, parse_value};
use crate::scope::ScopeId;
use crate::source::{Span, span};
use crate::suggest::did_you_mean;
use crate::time::moment;
use crate::value::{Sequence, TypeName, UserFunction, Value};

/// Per call and argument, its text as an expression, if it is one. Lists are read so.
pub(crate) type ParsedArguments = Vec<Vec<Option<Expr>>>;

pub(crate) fn parse_arguments(funcs: &[FuncToExecute]) -> Result<ParsedArguments> {
    for func in funcs {
        if func.name.is_empty() {
            return Err(Diagnostic::whole(Code::Call, "Must specify func_name for each FuncToExecute."));
        }
        if func.output_table_prefix.is_empty() {
            let message = format!("Output_table_prefix must be specified for function {}.", func.name);
            return Err(Diagnostic::whole(Code::Call, message));
        }
    }
    Ok(funcs.iter().map(|func| func.args.iter().map(|(_, text)| parse_value(text).ok()).collect()).collect())
}

/// Checks the functions that can be called without arguments, by calling them.
pub(crate) fn check_functions(input: &CompileInput<'_>) -> std::result::Result<(), Diagnostics> {
    let module = parse_script(input.script).map_err(|problems| Diagnostics::new(input.script, problems))?;
    let mut evaluator = Evaluator::new(input, Flags::default());
    let mut check = || {
        let scope = ScopeId::MODULE;
        evaluator.block(&module.body, scope, false)?;
        for stmt in module.body.iter().filter_map(|stmt| stmt.as_function_def_stmt()) {
            if let Some(Value::Function(function)) = evaluator.scopes.get(scope, stmt.name.as_str()).cloned()
                && function.params.iter().all(|param| param.default.is_some())
            {
                let args = Args { positional: Vec::new(), named: Vec::new(), span: span(&stmt.name) };
                evaluator.call_function(&function, args)?;
            }
        }
        Ok(())
    };
    check().map_err(|problem: Box<Diagnostic>| Diagnostics::new(input.script, vec![*problem]))
}

impl<'a> Evaluator<'a> {
    pub(crate) fn exec_func(&mut self, func: &'a FuncToExecute, parsed: &'a [Option<Expr>]) -> Result<()> {
        let scope = ScopeId::MODULE;
        let function = match self.scopes.get(scope, &func.name) {
            Some(Value::Function(function)) => std::rc::Rc::clone(function),
            Some(other) => {
                let message = format!("'{}' is a '{}' not a function.", func.name, other.kind());
                return Err(Diagnostic::whole(Code::Call, message));
            }
            None => {
                let help = did_you_mean(&func.name, self.scopes.names(scope));
                return Err(Diagnostic::whole(Code::Call, format!("Function to execute, '{}', not found.", func.name)).maybe_help(help));
            }
        };
        let at = span(&function.def.name);
        let mut args = Args { positional: Vec::new(), named: Vec::new(), span: at };
        for ((name, text), parsed) in func.args.iter().zip(parsed) {
            let value = self.outside_argument(&function, name, text, parsed.as_ref())?;
            args.named.push((name.clone(), at, Arg { value, span: at }));
        }
        let result = self.call_function(&function, args)?;
        self.outputs_of_call(func, &result, at)
    }

    fn outputs_of_call(&mut self, func: &FuncToExecute, result: &Value<'a>, at: Span) -> Result<()> {
        let frames = match result {
            Value::Frame(frame) => return self.add_output(frame, &func.output_table_prefix, at),
            unknown if unknown.is_unknown() => return Ok(()),
            Value::List(items) | Value::Tuple(items) => &items.items,
            other => {
                let message = format!("Function '{}' returns '{}' but should return a DataFrame.", func.name, other.kind());
                return Err(Diagnostic::new(Code::Call, at, message));
            }
        };
        for (i, item) in frames.iter().enumerate() {
            let Value::Frame(frame) = item else {
                let message =
                    format!("Function '{}' returns '{}' at index {i}. All returned objects must be dataframes.", func.name, item.kind());
                return Err(Diagnostic::new(Code::Call, at, message));
            };
            let name = if frames.len() == 1 { func.output_table_prefix.clone() } else { format!("{}[{i}]", func.output_table_prefix) };
            self.add_output(frame, &name, at)?;
        }
        Ok(())
    }

    fn outside_argument(&mut self, function: &UserFunction<'a>, name: &str, text: &str, parsed: Option<&'a Expr>) -> Result<Value<'a>> {
        let called = function.def.name.as_str();
        let Some(param) = function.params.iter().find(|param| param.name == name) else {
            let help = did_you_mean(name, function.params.iter().map(|param| param.name));
            let message = format!("Function '{called}' does not have an argument called '{name}'");
            return Err(Diagnostic::new(Code::Call, span(&function.def.name), message).maybe_help(help));
        };
        let Some(annotation) = param.annotation else {
            let message = format!("Arg type annotation required. Function: '{called}', arg: '{name}'");
            return Err(Diagnostic::new(Code::Call, span(&function.def.name), message));
        };
        if annotation.is_list {
            return self.list_argument(text, parsed, span(&function.def.name));
        }
        argument(annotation, text, self.input.now.0).map(|literal| Value::Expr(Typed::literal(literal))).map_err(|message| {
            Diagnostic::new(Code::Call, span(&function.def.name), message).with_help(format!("argument '{name}' of {called}()"))
        })
    }

    fn list_argument(&mut self, text: &str, parsed: Option<&'a Expr>, at: Span) -> Result<Value<'a>> {
        let wrong = || Diagnostic::new(Code::Call, at, format!("Failed to parse arg with value '{text}' as list."));
        let scope = ScopeId::MODULE;
        // Spans within the argument's text mean nothing in the script.
        match self.expr(parsed.ok_or_else(wrong)?, scope).map_err(|problem| Box::new(Diagnostic { span: Some(at), ..*problem }))? {
            Value::List(items) if items.items.iter().all(|item| item.as_str().is_some()) => {
                Ok(Value::List(Sequence { items: items.items.clone(), depth: 1, unknown: false }.into()))
            }
            _ => Err(wrong()),
        }
    }
}

fn argument(annotation: TypeName, text: &str, now: i64) -> std::result::Result<Literal, String> {
    let wrong = |kind: &str| format!("Failed to parse arg with value '{text}' as {kind}.");
    match annotation.data_type {
        DataType::String => Ok(Literal::Str(text.into())),
        DataType::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" => Ok(Literal::Bool(true)),
            "false" | "f" | "no" | "n" | "0" => Ok(Literal::Bool(false)),
            _ => Err(wrong("bool")),
        },
        DataType::Int64 => text.trim().parse().map(Literal::Int).map_err(|_| wrong("int64")),
        DataType::Float64 => text.trim().parse().map(Literal::Float).map_err(|_| wrong("float64")),
        DataType::Time64Ns => {
            let number = text.trim().parse().map_or_else(|_| Literal::Str(text.into()), Literal::Int);
            moment(&number, now, Span::default()).map(Literal::Time).map_err(|_| wrong("time"))
        }
        DataType::Uint128 => Err("Passing arg of type UINT128 is currently unsupported.".to_owned()),
    }
}
