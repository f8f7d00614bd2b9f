//! Calls: of the script's functions, of ours, of the registry's.

use rustpython_ruff_python_ast::ExprCall;
use tables::DataType;

use super::Evaluator;
use crate::args::{Arg, Args};
use crate::diagnostics::{Code, Diagnostic, Result};
use crate::expr::Typed;
use crate::limits::CALLS_MAX;
use crate::scope::ScopeId;
use crate::source::{Span, span};
use crate::value::{TypeName, UserFunction, Value};

impl<'a> Evaluator<'a> {
    pub(crate) fn call(&mut self, node: &'a ExprCall, scope: ScopeId) -> Result<Value<'a>> {
        let callee = self.expr(&node.func, scope)?;
        let mut args = Args { positional: Vec::new(), named: Vec::new(), span: span(node) };
        for expr in &node.arguments.args {
            args.positional.push(Arg { value: self.expr(expr, scope)?, span: span(expr) });
        }
        for keyword in &node.arguments.keywords {
            let Some(name) = &keyword.arg else {
                return Err(Diagnostic::new(Code::Unsupported, span(keyword), "'**' is not supported in calls"));
            };
            let arg = Arg { value: self.expr(&keyword.value, scope)?, span: span(&keyword.value) };
            args.named.push((name.as_str().to_owned(), span(name), arg));
        }
        self.call_value(callee, args, span(&*node.func))
    }

    fn call_value(&mut self, callee: Value<'a>, args: Args<'a>, callee_at: Span) -> Result<Value<'a>> {
        let runs_here = matches!(callee, Value::Function(_) | Value::Trace(_));
        if callee.is_unknown() || (!runs_here && args.have_unknown()) {
            return Ok(Value::Unknown);
        }
        match callee {
            Value::Function(function) => self.call_function(&function, args),
            Value::Builtin(builtin) => self.call_builtin(builtin, args),
            Value::Method(frame, method) => self.call_frame_method(&frame, method, args),
            Value::GroupedMethod(grouped) => self.aggregate(&grouped.frame, &grouped.by, &args),
            Value::Registered(name) => self.call_registered(name, args),
            Value::TableFunction(function) => self.call_table_function(function, args),
            Value::Type(name) => cast(name, args),
            Value::Trace(function) => self.call_trace(function, args),
            other => Err(Diagnostic::new(Code::Type, callee_at, format!("'{}' object is not callable", other.kind()))),
        }
    }

    fn call_registered(&mut self, name: &'static str, args: Args<'a>) -> Result<Value<'a>> {
        let (args, at) = args.positional_only(name)?;
        let functions = self.input.functions;
        if functions.scalar_overloads(name).is_empty() {
            let message = format!("'{name}' is an aggregate function");
            return Err(Diagnostic::new(Code::Type, at, message).with_help(format!("use it in agg(): df.agg(out=('column', px.{name}))")));
        }
        let mut exprs = Vec::with_capacity(args.len());
        for (i, arg) in args.iter().enumerate() {
            let Value::Expr(expr) = &arg.value else {
                let message = format!("Argument {} to '{name}' must be an expression, received {}", i + 1, arg.value.kind());
                return Err(Diagnostic::new(Code::Type, arg.span, message));
            };
            exprs.push(expr.clone());
        }
        Typed::call(functions, name, exprs, at).map(Value::Expr)
    }

    /// A call of a function of the script.
    pub(crate) fn call_function(&mut self, function: &UserFunction<'a>, args: Args<'a>) -> Result<Value<'a>> {
        let name = function.def.name.as_str();
        let at = args.span;
        if self.calls >= CALLS_MAX {
            return Err(Diagnostic::new(Code::Limit, at, format!("calls nested too deeply: at most {CALLS_MAX}"))
                .with_help("a function cannot call itself"));
        }
        let params: Vec<&str> = function.params.iter().map(|param| param.name).collect();
        let slots = args.bind(name, &params)?;
        let scope = self.scopes.open(function.scope);
        for (param, slot) in function.params.iter().zip(slots) {
            let value = match (slot, &param.default) {
                (Some(arg), _) => {
                    if let Some(annotation) = param.annotation {
                        check_annotation(annotation, &arg, param.name)?;
                    }
                    arg.value
                }
                (None, Some(default)) => default.clone(),
                (None, None) => {
                    let message = format!("{name}() missing required argument '{}'", param.name);
                    return Err(Diagnostic::new(Code::Arguments, at, message));
                }
            };
            self.scopes.set(scope, param.name, value);
        }
        self.calls += 1;
        let result = self.block(&function.def.body, scope, true);
        self.calls -= 1;
        Ok(result?.unwrap_or(Value::None))
    }
}

/// Whether a value may be given for a parameter of that type. None may always: it is the default of many.
fn check_annotation(annotation: TypeName, arg: &Arg<'_>, param: &str) -> Result<()> {
    let fits = match &arg.value {
        Value::None | Value::Unknown => true,
        Value::Expr(expr) if annotation.data_type == DataType::Time64Ns => {
            matches!(expr.data_type, DataType::Time64Ns | DataType::Int64 | DataType::String)
        }
        Value::Expr(expr) => !annotation.is_list && expr.data_type == annotation.data_type,
        Value::List(_) | Value::Tuple(_) => annotation.is_list,
        _ => false,
    };
    if fits { Ok(()) } else { Err(arg.expected(annotation.name, param)) }
}

/// `px.Bytes(df.size)`: the same value, meaning something else.
fn cast(to: TypeName, args: Args<'_>) -> Result<Value<'_>> {
    let [arg] = args.bind_all(to.name, ["expr"])?;
    let expr = arg.expr("expr")?;
    if to.is_list || expr.data_type != to.data_type {
        let message = format!("Cannot cast from '{}' to '{}'. Only semantic type casts are allowed.", expr.data_type, to.data_type);
        return Err(Diagnostic::new(Code::Type, arg.span, message));
    }
    Ok(Value::Expr(expr.meaning(to.semantic_type)))
}
