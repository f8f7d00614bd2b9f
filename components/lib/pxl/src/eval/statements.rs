//! Statements.

use rustpython_ruff_python_ast::{Expr, Stmt, StmtAssign, StmtFunctionDef, StmtImport, StmtImportFrom};

use super::Evaluator;
use super::expressions::expr_name;
use crate::diagnostics::{Code, Diagnostic, Result};
use crate::scope::ScopeId;
use crate::source::{Span, span};
use crate::suggest::did_you_mean;
use crate::value::{Module, Param, UserFunction, Value};

/// Modules of the original that we do not have yet.
const OTHER_MODULES: [&str; 1] = ["pxviews"];

impl<'a> Evaluator<'a> {
    /// Runs statements up to a `return`, and gives what it returns.
    pub(crate) fn block(&mut self, body: &'a [Stmt], scope: ScopeId, in_function: bool) -> Result<Option<Value<'a>>> {
        for (i, stmt) in body.iter().enumerate() {
            if let Stmt::Return(node) = stmt {
                if !in_function {
                    return Err(Diagnostic::new(Code::Syntax, span(stmt), "'return' outside function"));
                }
                let value = node.value.as_deref().map(|expr| self.expr(expr, scope)).transpose()?;
                return Ok(Some(value.unwrap_or(Value::None)));
            }
            self.statement(stmt, i == 0, scope)?;
        }
        Ok(None)
    }

    fn statement(&mut self, stmt: &'a Stmt, first: bool, scope: ScopeId) -> Result<()> {
        match stmt {
            Stmt::Expr(node) => match &*node.value {
                Expr::StringLiteral(_) if first => Ok(()),
                Expr::StringLiteral(_) => {
                    Err(Diagnostic::new(Code::Syntax, span(stmt), "Doc strings are only allowed at the start of a module or function."))
                }
                call @ Expr::Call(_) => self.expr(call, scope).map(drop),
                other => {
                    let message = format!("Expression node '{}' not defined", expr_name(other));
                    Err(Diagnostic::new(Code::Unsupported, span(other), message).with_help("its value is not used: assign or display it"))
                }
            },
            Stmt::Assign(node) => self.assign(node, scope),
            Stmt::FunctionDef(node) => self.define(node, scope),
            Stmt::Import(node) => self.import(node, scope),
            Stmt::ImportFrom(node) => self.import_from(node, scope),
            other => {
                Err(Diagnostic::new(Code::Unsupported, first_line(other), format!("Can't parse expression of type {}", stmt_name(other))))
            }
        }
    }

    fn assign(&mut self, node: &'a StmtAssign, scope: ScopeId) -> Result<()> {
        let [target] = &node.targets[..] else {
            return Err(Diagnostic::new(Code::Unsupported, span(node), "We only support single target assignment."));
        };
        match target {
            Expr::Name(name) => {
                let value = self.expr(&node.value, scope)?;
                self.scopes.set(scope, &name.id, value);
                Ok(())
            }
            Expr::Attribute(attribute) => {
                let value = self.expr(&node.value, scope)?;
                let column = attribute.attr.as_str().to_owned();
                self.assign_column(&attribute.value, &column, value, (span(&attribute.attr), span(&*node.value)), scope)
            }
            Expr::Subscript(subscript) => {
                let value = self.expr(&node.value, scope)?;
                let index = self.expr(&subscript.slice, scope)?;
                let Some(column) = index.as_str() else {
                    let message = format!("Expected string type. Got {}", index.kind());
                    return Err(Diagnostic::new(Code::Type, span(&*subscript.slice), message));
                };
                let column = column.to_owned();
                self.assign_column(&subscript.value, &column, value, (span(&*subscript.slice), span(&*node.value)), scope)
            }
            Expr::Tuple(_) | Expr::List(_) | Expr::Starred(_) => {
                Err(Diagnostic::new(Code::Unsupported, span(target), "We only support single target assignment."))
            }
            other => Err(Diagnostic::new(Code::Unsupported, span(other), "Assignment target must be a Name or Subscript")),
        }
    }

    /// `df.column = value` and `df['column'] = value`: `df` then names a new frame; other names of the old one keep it.
    fn assign_column(
        &mut self,
        object: &'a Expr,
        column: &str,
        value: Value<'a>,
        (column_at, value_at): (Span, Span),
        scope: ScopeId,
    ) -> Result<()> {
        let Expr::Name(name) = object else {
            let message = format!("Can only assign to Dataframe by subscript from Name, received {}", expr_name(object));
            return Err(Diagnostic::new(Code::Unsupported, span(object), message));
        };
        let frame = match self.expr(object, scope)? {
            Value::Frame(_) if value.is_unknown() => {
                self.scopes.set(scope, &name.id, Value::Unknown);
                return Ok(());
            }
            Value::Frame(frame) => frame,
            Value::Unknown => return Ok(()),
            other => {
                let message = format!("Subscript assignment not allowed for {} objects", other.kind());
                return Err(Diagnostic::new(Code::Type, span(object), message));
            }
        };
        let Value::Expr(value) = value else {
            let message = format!("Expected a column or a value for '{column}', got '{}'", value.kind());
            return Err(Diagnostic::new(Code::Type, value_at, message));
        };
        if column.is_empty() {
            return Err(Diagnostic::new(Code::Value, column_at, "a column needs a name"));
        }
        let frame = frame.assign(&mut self.ops, column, &value, value_at)?;
        self.scopes.set(scope, &name.id, Value::Frame(frame));
        Ok(())
    }

    fn define(&mut self, node: &'a StmtFunctionDef, scope: ScopeId) -> Result<()> {
        if let Some(decorator) = node.decorator_list.get(1) {
            return Err(unsupported(span(decorator), "a function can have one decorator"));
        }
        if node.is_async {
            return Err(unsupported(span(&node.name), "async functions are not supported"));
        }
        let parameters = &node.parameters;
        if let Some(parameter) = &parameters.vararg {
            return Err(unsupported(span(&**parameter), "variable length args are not supported in function definitions"));
        }
        if let Some(parameter) = &parameters.kwarg {
            return Err(unsupported(span(&**parameter), "variable length kwargs are not supported in function definitions"));
        }
        let mut params = Vec::new();
        for parameter in parameters.posonlyargs.iter().chain(&parameters.args).chain(&parameters.kwonlyargs) {
            let annotation = match parameter.parameter.annotation.as_deref() {
                None => None,
                Some(expr) => match self.expr(expr, scope)? {
                    Value::Type(name) => Some(name),
                    other => {
                        let message = format!("'{}' is not a type that an argument can have", other.kind());
                        return Err(Diagnostic::new(Code::Type, span(expr), message)
                            .with_help("use str, int, float, bool, list, or one of px.Time, px.UPID, px.Bytes, …"));
                    }
                },
            };
            let default = parameter.default.as_deref().map(|expr| self.expr(expr, scope)).transpose()?;
            params.push(Param { name: parameter.parameter.name.as_str(), annotation, default });
        }
        let function = UserFunction { def: node, scope, params };
        let value = match node.decorator_list.first() {
            None => Value::Function(function.into()),
            Some(decorator) => self.decorated(decorator, function, scope)?,
        };
        self.scopes.set(scope, node.name.as_str(), value);
        Ok(())
    }

    fn import(&mut self, node: &'a StmtImport, scope: ScopeId) -> Result<()> {
        for alias in &node.names {
            let module = module(alias.name.as_str(), span(&alias.name))?;
            let name = alias.asname.as_ref().unwrap_or(&alias.name);
            self.scopes.set(scope, name.as_str(), Value::Module(module));
        }
        Ok(())
    }

    fn import_from(&mut self, node: &'a StmtImportFrom, scope: ScopeId) -> Result<()> {
        if node.level != 0 {
            return Err(unsupported(span(node), format!("Unexpected import level {}, expected 0", node.level)));
        }
        let Some(from) = &node.module else {
            return Err(unsupported(span(node), "Unexpected import level 1, expected 0"));
        };
        let module = module(from.as_str(), span(from))?;
        for alias in &node.names {
            let at = span(&alias.name);
            let value = self.get_attribute(Value::Module(module), alias.name.as_str(), at).map_err(|problem| {
                let message = format!("cannot import name '{}' from '{from}'", alias.name);
                Box::new(Diagnostic { message, ..*problem })
            })?;
            let name = alias.asname.as_ref().unwrap_or(&alias.name);
            self.scopes.set(scope, name.as_str(), value);
        }
        Ok(())
    }
}

fn module(name: &str, at: Span) -> Result<Module> {
    match name {
        "px" => Ok(Module::Px),
        "pxtrace" => Ok(Module::Pxtrace),
        "pxconfig" => Ok(Module::Pxconfig),
        _ if OTHER_MODULES.contains(&name) => Err(unsupported(at, format!("module '{name}' is not supported yet"))),
        _ => {
            let help = did_you_mean(name, ["px", "pxtrace", "pxconfig"]);
            Err(Diagnostic::new(Code::Unknown, at, format!("ModuleNotFoundError: No module named '{name}'")).maybe_help(help))
        }
    }
}

fn unsupported(at: Span, message: impl Into<String>) -> Box<Diagnostic> {
    Diagnostic::new(Code::Unsupported, at, message)
}

/// A compound statement is shown by its keyword, not by all of its lines.
fn first_line(stmt: &Stmt) -> Span {
    /// The longest keyword that begins a statement.
    const KEYWORD_BYTES_MAX: usize = 8;
    let whole = span(stmt);
    Span { start: whole.start, end: whole.end.min(whole.start + KEYWORD_BYTES_MAX) }
}

fn stmt_name(stmt: &Stmt) -> &'static str {
    match stmt {
        Stmt::FunctionDef(_) => "FunctionDef",
        Stmt::ClassDef(_) => "ClassDef",
        Stmt::Return(_) => "Return",
        Stmt::Delete(_) => "Delete",
        Stmt::TypeAlias(_) => "TypeAlias",
        Stmt::Assign(_) => "Assign",
        Stmt::AugAssign(_) => "AugAssign",
        Stmt::AnnAssign(_) => "AnnAssign",
        Stmt::For(_) => "For",
        Stmt::While(_) => "While",
        Stmt::If(_) => "If",
        Stmt::With(_) => "With",
        Stmt::Match(_) => "Match",
        Stmt::Raise(_) => "Raise",
        Stmt::Try(_) => "Try",
        Stmt::Assert(_) => "Assert",
        Stmt::Import(_) => "Import",
        Stmt::ImportFrom(_) => "ImportFrom",
        Stmt::Global(_) => "Global",
        Stmt::Nonlocal(_) => "Nonlocal",
        Stmt::Expr(_) => "Expr",
        Stmt::Pass(_) => "Pass",
        Stmt::Break(_) => "Break",
        Stmt::Continue(_) => "Continue",
        Stmt::IpyEscapeCommand(_) => "IpyEscapeCommand",
    }
}
