//! What names and expressions of a script stand for while it runs.

use std::rc::Rc;

use rustpython_ruff_python_ast::StmtFunctionDef;
use tables::{DataType, SemanticType};

use crate::expr::{Literal, Typed};
use crate::frame::Frame;
use crate::scope::ScopeId;
use crate::table_functions::TableFunction;
use crate::trace::{TraceFunction, Traced};

/// A type as annotations name it, which is also a function that casts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TypeName {
    pub(crate) name: &'static str,
    pub(crate) data_type: DataType,
    pub(crate) semantic_type: SemanticType,
    /// `list`: a list of strings.
    pub(crate) is_list: bool,
}

/// Something that a script may name.
#[derive(Debug, Clone)]
pub(crate) enum Value<'a> {
    None,
    /// A value per row, or one known now.
    Expr(Typed),
    Frame(Frame),
    /// A frame after `groupby`, which wants `agg`.
    Grouped(Rc<Grouped>),
    /// `df.ctx`.
    Ctx(Frame),
    List(Rc<Sequence<'a>>),
    Tuple(Rc<Sequence<'a>>),
    Dict(Rc<Dict<'a>>),
    Module(Module),
    /// A function of the script.
    Function(Rc<UserFunction<'a>>),
    /// A function of module `px` that is not in the registry.
    Builtin(crate::objects::Builtin),
    /// A function of the registry, scalar or aggregate.
    Registered(&'static str),
    /// A function of the registry whose value is a table.
    TableFunction(&'static TableFunction),
    Method(Frame, crate::objects::FrameMethod),
    GroupedMethod(Rc<Grouped>),
    Type(TypeName),
    /// A function of `pxtrace` or `pxconfig`.
    Trace(TraceFunction),
    /// What a function of `px.otel` makes.
    Otel(crate::objects::Otel),
    /// What such a function makes.
    Traced(Traced<'a>),
    /// Made of a table that only a tracepoint will bring.
    Unknown,
}

/// Elements, how deep lists within lists go, and whether there is an unknown value within.
#[derive(Debug, Clone)]
pub(crate) struct Sequence<'a> {
    pub(crate) items: Vec<Value<'a>>,
    pub(crate) depth: u32,
    pub(crate) unknown: bool,
}

/// Entries in order of text.
#[derive(Debug, Clone)]
pub(crate) struct Dict<'a> {
    pub(crate) entries: Vec<(Value<'a>, Value<'a>)>,
    pub(crate) depth: u32,
    pub(crate) unknown: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Grouped {
    pub(crate) frame: Frame,
    pub(crate) by: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Module {
    Px,
    Pxtrace,
    Pxconfig,
    /// `px.otel`, and `metric` and `trace` within it.
    Otel,
    OtelMetric,
    OtelTrace,
    /// `px.plugin`.
    Plugin,
}

/// A function of the script, with the defaults of its parameters as they were when it was defined.
#[derive(Debug)]
pub(crate) struct UserFunction<'a> {
    pub(crate) def: &'a StmtFunctionDef,
    pub(crate) scope: ScopeId,
    pub(crate) params: Vec<Param<'a>>,
}

#[derive(Debug)]
pub(crate) struct Param<'a> {
    pub(crate) name: &'a str,
    pub(crate) annotation: Option<TypeName>,
    pub(crate) default: Option<Value<'a>>,
}

impl Value<'_> {
    pub(crate) fn string(text: impl Into<Rc<str>>) -> Self {
        Value::Expr(Typed::literal(Literal::Str(text.into())))
    }

    pub(crate) fn int(value: i64) -> Self {
        Value::Expr(Typed::literal(Literal::Int(value)))
    }

    pub(crate) fn as_literal(&self) -> Option<&Literal> {
        match self {
            Value::Expr(expr) => expr.as_literal(),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self.as_literal() {
            Some(Literal::Str(text)) => Some(text),
            _ => None,
        }
    }

    /// How deep lists go here.
    pub(crate) fn depth(&self) -> u32 {
        match self {
            Value::List(sequence) | Value::Tuple(sequence) => sequence.depth,
            Value::Dict(dict) => dict.depth,
            _ => 0,
        }
    }

    /// Whether it is, or has within, what is not known before a tracepoint is there.
    pub(crate) fn is_unknown(&self) -> bool {
        match self {
            Value::Unknown => true,
            Value::List(sequence) | Value::Tuple(sequence) => sequence.unknown,
            Value::Dict(dict) => dict.unknown,
            _ => false,
        }
    }

    /// What messages call it.
    pub(crate) fn kind(&self) -> String {
        match self {
            Value::None => "None".into(),
            Value::Expr(expr) => match expr.as_literal() {
                Some(literal) => literal.data_type().to_string(),
                None => "Column".into(),
            },
            Value::Frame(_) => "DataFrame".into(),
            Value::Grouped(_) => "GroupBy".into(),
            Value::Ctx(_) => "Metadata".into(),
            Value::List(_) => "List".into(),
            Value::Tuple(_) => "Tuple".into(),
            Value::Dict(_) => "Dict".into(),
            Value::Module(_) => "Module".into(),
            Value::Function(_)
            | Value::Builtin(_)
            | Value::Registered(_)
            | Value::TableFunction(_)
            | Value::Trace(_)
            | Value::Method(..)
            | Value::GroupedMethod(_) => "Function".into(),
            Value::Type(_) => "Type".into(),
            Value::Otel(made) => made.kind().into(),
            Value::Traced(traced) => traced.kind().into(),
            Value::Unknown => "Unknown".into(),
        }
    }
}
