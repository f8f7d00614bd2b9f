//! Typed expressions over the columns of frames.

use std::rc::Rc;
use std::sync::Arc;

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::Expr;
use tables::{DataType, SemanticType};

use crate::diagnostics::{Code, Diagnostic, Result};
use crate::frame::OpId;
use crate::functions::{FunctionRegistry, RunsOn, ScalarFunction, ScalarLower};
use crate::limits::{EXPR_DEPTH_MAX, EXPR_NODES_MAX};
use crate::source::Span;

/// A value known while the script compiles.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Rc<str>),
    /// Nanoseconds since the Unix epoch.
    Time(i64),
    Uint128(u128),
}

impl Literal {
    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Literal::Bool(_) => DataType::Boolean,
            Literal::Int(_) => DataType::Int64,
            Literal::Float(_) => DataType::Float64,
            Literal::Str(_) => DataType::String,
            Literal::Time(_) => DataType::Time64Ns,
            Literal::Uint128(_) => DataType::Uint128,
        }
    }

    pub(crate) fn to_scalar(&self) -> ScalarValue {
        match self {
            Literal::Bool(value) => ScalarValue::Boolean(Some(*value)),
            Literal::Int(value) => ScalarValue::Int64(Some(*value)),
            Literal::Float(value) => ScalarValue::Float64(Some(*value)),
            Literal::Str(value) => ScalarValue::Utf8(Some(value.to_string())),
            Literal::Time(value) => ScalarValue::TimestampNanosecond(Some(*value), None),
            Literal::Uint128(value) => ScalarValue::FixedSizeBinary(tables::UINT128_BYTES, Some(value.to_be_bytes().to_vec())),
        }
    }
}

/// The value of a type where a row of the other side of a join is missing. PxL has no NULL.
pub(crate) fn default_scalar(data_type: DataType) -> ScalarValue {
    match data_type {
        DataType::Boolean => Literal::Bool(false),
        DataType::Int64 => Literal::Int(0),
        DataType::Float64 => Literal::Float(0.0),
        DataType::String => Literal::Str("".into()),
        DataType::Time64Ns => Literal::Time(0),
        DataType::Uint128 => Literal::Uint128(0),
    }
    .to_scalar()
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Literal(Literal),
    /// A column of the frame that operator `op` made.
    Column {
        op: OpId,
        name: Rc<str>,
    },
    Call {
        function: Arc<ScalarFunction>,
        args: Rc<[Typed]>,
    },
}

/// An expression with its types.
#[derive(Debug, Clone)]
pub(crate) struct Typed {
    pub(crate) kind: Kind,
    pub(crate) data_type: DataType,
    pub(crate) semantic_type: SemanticType,
    depth: u32,
    nodes: u32,
}

impl Typed {
    pub(crate) fn literal(literal: Literal) -> Typed {
        let data_type = literal.data_type();
        Typed { kind: Kind::Literal(literal), data_type, semantic_type: SemanticType::None, depth: 1, nodes: 1 }
    }

    pub(crate) fn column(op: OpId, name: &str, data_type: DataType, semantic_type: SemanticType) -> Typed {
        Typed { kind: Kind::Column { op, name: name.into() }, data_type, semantic_type, depth: 1, nodes: 1 }
    }

    pub(crate) fn as_literal(&self) -> Option<&Literal> {
        match &self.kind {
            Kind::Literal(literal) => Some(literal),
            Kind::Column { .. } | Kind::Call { .. } => None,
        }
    }

    /// The same value, meaning something else.
    pub(crate) fn meaning(&self, semantic_type: SemanticType) -> Typed {
        Typed { semantic_type, ..self.clone() }
    }

    pub(crate) fn nodes(&self) -> u32 {
        self.nodes
    }

    /// A call of the overload that takes exactly the types of `args`.
    pub(crate) fn call(functions: &FunctionRegistry, name: &str, args: Vec<Typed>, span: Span) -> Result<Typed> {
        let types: Vec<DataType> = args.iter().map(|arg| arg.data_type).collect();
        let Some(function) = functions.scalar(name, &types) else {
            return Err(no_overload(functions, name, &types, span));
        };
        for (i, arg) in args.iter().take(function.init_args.len()).enumerate() {
            if arg.as_literal().is_none() {
                return Err(Diagnostic::new(
                    Code::Type,
                    span,
                    format!("expected init argument {i} to be a primitive data type, received an expression over columns"),
                ));
            }
        }
        let depth = args.iter().map(|arg| arg.depth).max().unwrap_or(0) + 1;
        let nodes = args.iter().map(|arg| arg.nodes).fold(1, u32::saturating_add);
        if depth > EXPR_DEPTH_MAX || nodes > EXPR_NODES_MAX {
            let message = format!("expression too large: more than {EXPR_DEPTH_MAX} calls deep, or more than {EXPR_NODES_MAX} in all");
            return Err(Diagnostic::new(Code::Limit, span, message).with_help("assign parts of it to columns first"));
        }
        let semantics: Vec<SemanticType> = args[function.init_args.len()..].iter().map(|arg| arg.semantic_type).collect();
        Ok(Typed {
            data_type: function.returns,
            semantic_type: function.semantic.infer(&semantics),
            kind: Kind::Call { function: Arc::clone(function), args: args.into() },
            depth,
            nodes,
        })
    }

    /// Calls `visit` for every column read.
    pub(crate) fn visit_columns(&self, visit: &mut impl FnMut(OpId, &str, DataType) -> Result<()>) -> Result<()> {
        match &self.kind {
            Kind::Literal(_) => Ok(()),
            Kind::Column { op, name } => visit(*op, name, self.data_type),
            Kind::Call { args, .. } => args.iter().try_for_each(|arg| arg.visit_columns(visit)),
        }
    }

    /// The first function in it that runs only there.
    pub(crate) fn first_call(&self, runs_on: RunsOn) -> Option<&'static str> {
        match &self.kind {
            Kind::Literal(_) | Kind::Column { .. } => None,
            Kind::Call { function, .. } if function.runs_on == runs_on => Some(function.name),
            Kind::Call { args, .. } => args.iter().find_map(|arg| arg.first_call(runs_on)),
        }
    }

    /// As a DataFusion expression over columns without qualifier.
    pub(crate) fn lower(&self) -> Expr {
        match &self.kind {
            Kind::Literal(literal) => Expr::Literal(literal.to_scalar(), None),
            Kind::Column { name, .. } => Expr::Column(Column::new_unqualified(name.to_string())),
            Kind::Call { function, args } => {
                let args = args.iter().map(Typed::lower).collect();
                match &function.lower {
                    ScalarLower::Udf(udf) => udf.call(args),
                    ScalarLower::Native(build) => build(args),
                }
            }
        }
    }
}

/// `[INT64,STRING]` without the brackets, as messages show types.
pub(crate) fn type_list(types: &[DataType]) -> String {
    types.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn no_overload(functions: &FunctionRegistry, name: &str, types: &[DataType], span: Span) -> Box<Diagnostic> {
    let overloads = functions.scalar_overloads(name);
    let mut known: Vec<String> =
        overloads.iter().map(|f| type_list(&f.init_args.iter().chain(&f.args).copied().collect::<Vec<_>>())).collect();
    known.sort();
    let help = match &known[..] {
        [] => None,
        some => Some(format!("'{name}' takes [{}]; types are never converted by themselves", some.join("] or ["))),
    };
    Diagnostic::new(Code::Type, span, format!("Could not find UDF '{name}' with arguments [{}].", type_list(types))).maybe_help(help)
}
