//! Expressions.

use std::rc::Rc;

use rustpython_ruff_python_ast::{
    BoolOp, CmpOp, Expr, ExprAttribute, ExprBinOp, ExprBoolOp, ExprCompare, ExprDict, ExprSubscript, ExprUnaryOp, Number, Operator, UnaryOp,
};

use super::Evaluator;
use crate::diagnostics::{Code, Diagnostic, Result};
use crate::expr::{Literal, Typed};
use crate::fold::fold;
use crate::limits::{LITERAL_BYTES_MAX, VALUE_DEPTH_MAX};
use crate::scope::ScopeId;
use crate::source::{Span, span};
use crate::suggest::did_you_mean;
use crate::value::{Dict, Sequence, Value};

impl<'a> Evaluator<'a> {
    pub(crate) fn expr(&mut self, expr: &'a Expr, scope: ScopeId) -> Result<Value<'a>> {
        self.enter(span(expr))?;
        let value = self.expr_inner(expr, scope);
        self.leave();
        value
    }

    fn expr_inner(&mut self, expr: &'a Expr, scope: ScopeId) -> Result<Value<'a>> {
        match expr {
            Expr::Name(name) => self.name(&name.id, scope, span(expr)),
            Expr::Attribute(node) => self.attribute(node, scope),
            Expr::Subscript(node) => self.subscript(node, scope),
            Expr::Call(node) => self.call(node, scope),
            Expr::BinOp(node) => self.binary(node, scope),
            Expr::Compare(node) => self.compare(node, scope),
            Expr::BoolOp(node) => self.boolean(node, scope),
            Expr::UnaryOp(node) => self.unary(node, scope),
            Expr::List(node) => Ok(Value::List(self.sequence(&node.elts, scope, span(expr))?)),
            Expr::Tuple(node) => Ok(Value::Tuple(self.sequence(&node.elts, scope, span(expr))?)),
            Expr::Dict(node) => self.dict(node, scope),
            Expr::NumberLiteral(node) => number(&node.value, span(expr)),
            Expr::StringLiteral(node) => {
                let text = node.value.to_str();
                if text.len() > LITERAL_BYTES_MAX {
                    return Err(Diagnostic::new(Code::Limit, span(expr), format!("text too long: at most {LITERAL_BYTES_MAX} bytes")));
                }
                Ok(Value::string(text))
            }
            Expr::BooleanLiteral(node) => Ok(Value::Expr(Typed::literal(Literal::Bool(node.value)))),
            Expr::NoneLiteral(_) => Ok(Value::None),
            other => Err(Diagnostic::new(Code::Unsupported, span(other), format!("Can't parse expression of type {}", expr_name(other)))),
        }
    }

    fn name(&self, name: &str, scope: ScopeId, at: Span) -> Result<Value<'a>> {
        self.scopes.get(scope, name).cloned().ok_or_else(|| {
            let help = did_you_mean(name, self.scopes.names(scope))
                .or_else(|| (name == "px").then(|| "begin the script with 'import px'".to_owned()));
            Diagnostic::new(Code::Unknown, at, format!("name '{name}' is not defined")).maybe_help(help)
        })
    }

    fn attribute(&mut self, node: &'a ExprAttribute, scope: ScopeId) -> Result<Value<'a>> {
        let object = self.expr(&node.value, scope)?;
        self.get_attribute(object, node.attr.as_str(), span(&node.attr))
    }

    fn subscript(&mut self, node: &'a ExprSubscript, scope: ScopeId) -> Result<Value<'a>> {
        let object = self.expr(&node.value, scope)?;
        if matches!(&*node.slice, Expr::Slice(_)) {
            return Err(Diagnostic::new(Code::Unsupported, span(&*node.slice), "Only index slices are supported"));
        }
        let index = self.expr(&node.slice, scope)?;
        self.get_item(object, index, span(&*node.slice), span(node))
    }

    /// A call of the function behind an operator, folded if its arguments are known.
    pub(crate) fn operator(&mut self, function: &str, args: Vec<Typed>, at: Span) -> Result<Value<'a>> {
        let literals: Option<Vec<&Literal>> = args.iter().map(Typed::as_literal).collect();
        if let Some(value) = literals.and_then(|literals| fold(function, &literals)) {
            return Ok(Value::Expr(Typed::literal(value)));
        }
        Typed::call(self.input.functions, function, args, at).map(Value::Expr)
    }

    /// As [`Self::operator`], of operands of which any may be unknown.
    fn operator_on<const N: usize>(&mut self, function: &str, operands: [Option<Typed>; N], at: Span) -> Result<Value<'a>> {
        match operands.into_iter().collect::<Option<Vec<_>>>() {
            None => Ok(Value::Unknown),
            Some(operands) => self.operator(function, operands, at),
        }
    }

    /// None if it is not known before a tracepoint is there.
    fn operand(&mut self, expr: &'a Expr, operator: &str, scope: ScopeId) -> Result<Option<Typed>> {
        match self.expr(expr, scope)? {
            Value::Expr(typed) => Ok(Some(typed)),
            Value::Unknown => Ok(None),
            other => {
                let message = format!("Operator '{operator}' takes columns and values, not '{}'", other.kind());
                Err(Diagnostic::new(Code::Type, span(expr), message))
            }
        }
    }

    fn binary(&mut self, node: &'a ExprBinOp, scope: ScopeId) -> Result<Value<'a>> {
        let function = match node.op {
            Operator::Add => "add",
            Operator::Sub => "subtract",
            Operator::Mult => "multiply",
            Operator::Div => "divide",
            Operator::Mod => "modulo",
            Operator::MatMult
            | Operator::Pow
            | Operator::LShift
            | Operator::RShift
            | Operator::BitOr
            | Operator::BitXor
            | Operator::BitAnd
            | Operator::FloorDiv => return Err(bad_operator(node.op.as_str(), span(node))),
        };
        let left = self.operand(&node.left, node.op.as_str(), scope)?;
        let right = self.operand(&node.right, node.op.as_str(), scope)?;
        self.operator_on(function, [left, right], span(node))
    }

    fn compare(&mut self, node: &'a ExprCompare, scope: ScopeId) -> Result<Value<'a>> {
        let ([op], [right]) = (&*node.ops, &*node.comparators) else {
            let message = format!("Only expected one argument to the right of '{}'.", node.ops.first().map_or("", CmpOp::as_str));
            return Err(Diagnostic::new(Code::Unsupported, span(node), message).with_help("write (a < b) and (b < c)"));
        };
        let function = match op {
            CmpOp::Eq => "equal",
            CmpOp::NotEq => "notEqual",
            CmpOp::Lt => "lessThan",
            CmpOp::LtE => "lessThanEqual",
            CmpOp::Gt => "greaterThan",
            CmpOp::GtE => "greaterThanEqual",
            CmpOp::Is | CmpOp::IsNot | CmpOp::In | CmpOp::NotIn => return Err(bad_operator(op.as_str(), span(node))),
        };
        let left = self.operand(&node.left, op.as_str(), scope)?;
        let right = self.operand(right, op.as_str(), scope)?;
        self.operator_on(function, [left, right], span(node))
    }

    fn boolean(&mut self, node: &'a ExprBoolOp, scope: ScopeId) -> Result<Value<'a>> {
        let (text, function) = match node.op {
            BoolOp::And => ("and", "logicalAnd"),
            BoolOp::Or => ("or", "logicalOr"),
        };
        // The original wants exactly two operands; a chain has a plain meaning, so we take it.
        let mut result: Option<Value<'a>> = None;
        for operand in &node.values {
            let right = self.operand(operand, text, scope)?;
            result = Some(match result {
                None => right.map_or(Value::Unknown, Value::Expr),
                Some(Value::Expr(left)) => self.operator_on(function, [Some(left), right], span(node))?,
                Some(_) => Value::Unknown,
            });
        }
        result.ok_or_else(|| Diagnostic::new(Code::Syntax, span(node), format!("Expected two arguments to '{text}'.")))
    }

    fn unary(&mut self, node: &'a ExprUnaryOp, scope: ScopeId) -> Result<Value<'a>> {
        // -9223372036854775808 is one number, though its digits alone are none.
        if let (UnaryOp::USub, Expr::NumberLiteral(literal)) = (node.op, &*node.operand)
            && let Number::Int(int) = &literal.value
            && let Ok(value) = format!("-{int}").parse()
        {
            return Ok(Value::int(value));
        }
        let Some(operand) = self.operand(&node.operand, node.op.as_str(), scope)? else { return Ok(Value::Unknown) };
        match node.op {
            UnaryOp::UAdd => Ok(Value::Expr(operand)),
            UnaryOp::USub => self.operator("negate", vec![operand], span(node)),
            UnaryOp::Not => self.operator("logicalNot", vec![operand], span(node)),
            UnaryOp::Invert => self.operator("invert", vec![operand], span(node)),
        }
    }

    fn sequence(&mut self, items: &'a [Expr], scope: ScopeId, at: Span) -> Result<Rc<Sequence<'a>>> {
        let items = items.iter().map(|item| self.expr(item, scope)).collect::<Result<Vec<_>>>()?;
        let depth = deeper(items.iter(), at)?;
        let unknown = items.iter().any(Value::is_unknown);
        Ok(Rc::new(Sequence { items, depth, unknown }))
    }

    fn dict(&mut self, node: &'a ExprDict, scope: ScopeId) -> Result<Value<'a>> {
        let mut entries = Vec::with_capacity(node.items.len());
        for item in &node.items {
            let Some(key) = &item.key else {
                return Err(Diagnostic::new(Code::Unsupported, span(&item.value), "'**' is not supported in dictionaries"));
            };
            entries.push((self.expr(key, scope)?, self.expr(&item.value, scope)?));
        }
        let depth = deeper(entries.iter().flat_map(|(key, value)| [key, value]), span(node))?;
        let unknown = entries.iter().any(|(key, value)| key.is_unknown() || value.is_unknown());
        Ok(Value::Dict(Rc::new(Dict { entries, depth, unknown })))
    }
}

fn deeper<'v, 'a: 'v>(items: impl Iterator<Item = &'v Value<'a>>, at: Span) -> Result<u32> {
    let depth = items.map(Value::depth).max().unwrap_or(0) + 1;
    if depth > VALUE_DEPTH_MAX {
        return Err(Diagnostic::new(Code::Limit, at, format!("lists nested too deeply: at most {VALUE_DEPTH_MAX} levels")));
    }
    Ok(depth)
}

fn number<'a>(number: &Number, at: Span) -> Result<Value<'a>> {
    match number {
        Number::Int(int) => {
            let value = int.as_i64().ok_or_else(|| Diagnostic::new(Code::Value, at, format!("{int} does not fit into INT64")))?;
            Ok(Value::int(value))
        }
        Number::Float(value) => Ok(Value::Expr(Typed::literal(Literal::Float(*value)))),
        Number::Complex { .. } => Err(Diagnostic::new(Code::Unsupported, at, "complex numbers are not supported")),
    }
}

fn bad_operator(operator: &str, at: Span) -> Box<Diagnostic> {
    Diagnostic::new(Code::Unsupported, at, format!("Operator '{operator}' not handled"))
}

/// As messages name a node that we do not run.
pub(crate) fn expr_name(expr: &Expr) -> &'static str {
    match expr {
        Expr::BoolOp(_) => "BoolOp",
        Expr::Named(_) => "NamedExpr",
        Expr::BinOp(_) => "BinOp",
        Expr::UnaryOp(_) => "UnaryOp",
        Expr::Lambda(_) => "Lambda",
        Expr::If(_) => "IfExp",
        Expr::Dict(_) => "Dict",
        Expr::Set(_) => "Set",
        Expr::ListComp(_) => "ListComp",
        Expr::SetComp(_) => "SetComp",
        Expr::DictComp(_) => "DictComp",
        Expr::Generator(_) => "GeneratorExp",
        Expr::Await(_) => "Await",
        Expr::Yield(_) | Expr::YieldFrom(_) => "Yield",
        Expr::Compare(_) => "Compare",
        Expr::Call(_) => "Call",
        Expr::FString(_) => "FString",
        Expr::TString(_) => "TString",
        Expr::StringLiteral(_) => "Str",
        Expr::BytesLiteral(_) => "Bytes",
        Expr::NumberLiteral(_) => "Number",
        Expr::BooleanLiteral(_) => "Bool",
        Expr::NoneLiteral(_) => "None",
        Expr::EllipsisLiteral(_) => "Ellipsis",
        Expr::Attribute(_) => "Attribute",
        Expr::Subscript(_) => "Subscript",
        Expr::Starred(_) => "Starred",
        Expr::Name(_) => "Name",
        Expr::List(_) => "List",
        Expr::Tuple(_) => "Tuple",
        Expr::Slice(_) => "Slice",
        Expr::IpyEscapeCommand(_) => "IpyEscapeCommand",
    }
}
