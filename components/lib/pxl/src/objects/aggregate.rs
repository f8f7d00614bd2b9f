//! `agg()`.

use datafusion::common::Column;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use tables::{ColumnDef, DataType, Relation, SemanticType};

use crate::args::{Arg, Args};
use crate::diagnostics::{Code, Diagnostic, Result};
use crate::eval::Evaluator;
use crate::expr::{default_scalar, type_list};
use crate::frame::{Frame, internal};
use crate::functions::AggregateLower;
use crate::value::Value;

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name.to_owned()))
}

/// One aggregate: its column, how it is computed, and whether its result may be NULL before a default stands in.
struct Aggregate {
    column: ColumnDef,
    expr: Expr,
    nullable: bool,
}

impl<'a> Evaluator<'a> {
    /// One row per combination of the values of `by`, or one row in all. Without aggregates: the combinations that occur.
    pub(crate) fn aggregate(&mut self, frame: &Frame, by: &[String], args: &Args<'a>) -> Result<Value<'a>> {
        let at = args.span;
        if let Some(arg) = args.positional.first() {
            let message = format!("Expected tuple for a named argument but received {}", arg.value.kind());
            return Err(Diagnostic::new(Code::Arguments, arg.span, message).with_help("write agg(name=('column', px.function))"));
        }
        let mut relation = Relation::default();
        for name in by {
            relation.columns.push(frame.column(name, at)?.clone());
        }
        let mut aggregates = Vec::new();
        for (name, name_at, arg) in &args.named {
            if relation.column(name).is_some() {
                return Err(Diagnostic::new(Code::Value, *name_at, format!("agg() would make two columns '{name}'")));
            }
            let aggregate = self.one_aggregate(frame, name, arg)?;
            relation.columns.push(aggregate.column.clone());
            aggregates.push(aggregate);
        }
        if relation.columns.is_empty() {
            return Err(Diagnostic::new(Code::Arguments, at, "agg() without groupby() needs an aggregate")
                .with_help("write agg(name=('column', px.function))"));
        }
        let groups: Vec<Expr> = by.iter().map(|name| column(name)).collect();
        let exprs: Vec<Expr> = aggregates.iter().map(|a| a.expr.clone().alias(&a.column.name)).collect();
        let mut outputs = groups.clone();
        outputs.extend(aggregates.iter().map(|a| {
            let default = Expr::Literal(default_scalar(a.column.data_type), None);
            if a.nullable { coalesce(vec![column(&a.column.name), default]).alias(&a.column.name) } else { column(&a.column.name) }
        }));
        let plan = frame
            .plan()
            .and_then(|plan| LogicalPlanBuilder::from(plan).aggregate(groups, exprs)?.project(outputs)?.build())
            .map_err(|e| internal(&e, at))?;
        let aggregated = Frame::derive(&mut self.ops, &[frame], plan, relation, at)?;
        Ok(Value::Frame(aggregated.behind("agg")))
    }

    fn one_aggregate(&self, frame: &Frame, name: &str, arg: &Arg<'a>) -> Result<Aggregate> {
        let Value::Tuple(parts) = &arg.value else {
            let message = format!("Expected tuple for {name} but received {}", arg.value.kind());
            return Err(Diagnostic::new(Code::Type, arg.span, message).with_help(format!("write {name}=('column', px.function)")));
        };
        let (function, columns) = match parts.items.split_last() {
            Some((Value::Registered(function), columns)) => (*function, columns),
            Some((Value::Function(_) | Value::Builtin(_) | Value::TableFunction(_) | Value::Trace(_), _)) => {
                return Err(Diagnostic::new(Code::Type, arg.span, "Unexpected aggregate function"));
            }
            Some((other, _)) => {
                let message = format!("Expected second tuple argument to be type Func, received {}", other.kind());
                return Err(Diagnostic::new(Code::Type, arg.span, message));
            }
            None => return Err(Diagnostic::new(Code::Type, arg.span, format!("Expected tuple for {name} but received an empty one"))),
        };
        let mut inputs = Vec::new();
        for part in columns {
            let Some(name) = part.as_str() else {
                let message = "All elements of the agg tuple must be column names, except the last which should be a function";
                return Err(Diagnostic::new(Code::Type, arg.span, message));
            };
            inputs.push(frame.column(name, arg.span)?.clone());
        }
        let types: Vec<DataType> = inputs.iter().map(|c| c.data_type).collect();
        let semantics: Vec<SemanticType> = inputs.iter().map(|c| c.semantic_type).collect();
        let Some(found) = self.input.functions.aggregate(function, &types) else {
            return Err(self.no_aggregate(function, &types, arg));
        };
        let exprs = inputs.iter().map(|c| column(&c.name)).collect();
        let (expr, nullable) = match &found.lower {
            AggregateLower::Udaf(udaf) => (udaf.call(exprs), udaf.is_nullable()),
            AggregateLower::Native(build) => (build(exprs), true),
        };
        let column = ColumnDef { name: name.to_owned(), data_type: found.returns, semantic_type: found.semantic.infer(&semantics) };
        Ok(Aggregate { column, expr, nullable })
    }

    fn no_aggregate(&self, function: &str, types: &[DataType], arg: &Arg<'_>) -> Box<Diagnostic> {
        let overloads = self.input.functions.aggregate_overloads(function);
        let help = if overloads.is_empty() {
            format!("'{function}' is not an aggregate function")
        } else {
            let known: Vec<String> = overloads.iter().map(|f| type_list(&f.args)).collect();
            format!("'{function}' takes [{}]", known.join("] or ["))
        };
        let message = format!("Could not find UDA '{function}' with update arg types [{}].", type_list(types));
        Diagnostic::new(Code::Type, arg.span, message).with_help(help)
    }
}
