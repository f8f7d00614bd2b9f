//! Calls of table functions.

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};

use super::read::scan_name;
use crate::args::{Arg, Args, required};
use crate::diagnostics::{Code, Diagnostic, Result};
use crate::eval::Evaluator;
use crate::expr::{Literal, default_scalar};
use crate::frame::{Frame, internal};
use crate::limits::FUNCTION_CELLS_MAX;
use crate::source::Span;
use crate::table_functions::{Argument, FunctionRows, NoRows, TableFunction};
use crate::value::Value;

/// The argument that picks one agent of those that answer; -1 is all of them.
const ASID: &str = "asid";
/// A column beside those of the rows: whether a row is one. A plan on the wire has no way to say that there are none, and of what types.
const IS_ROW: &str = "is_row";

impl<'a> Evaluator<'a> {
    pub(crate) fn call_table_function(&mut self, function: &'static TableFunction, args: Args<'a>) -> Result<Value<'a>> {
        let at = args.span;
        let arguments = arguments(function, args)?;
        let relation = function.relation();
        let qualified = |name: Option<&TableReference>| {
            let column = |column: &tables::ColumnDef| Expr::Column(Column::new(name.cloned(), &column.name));
            relation.columns.iter().map(column).collect::<Vec<_>>()
        };
        let (plan, columns) = match self.input.catalog.table_function(function, &arguments) {
            Ok(FunctionRows::Literal(rows)) => {
                let plan = literal(function, &rows, at)?.project(qualified(None)).map_err(|e| internal(&e, at))?;
                (plan, qualified(None))
            }
            Ok(FunctionRows::Scan(source)) => {
                let name = scan_name(&function.table_name());
                let scan = LogicalPlanBuilder::scan(name.clone(), source, None);
                let filtered = scan.and_then(|scan| match asid(function, &arguments) {
                    None => Ok(scan),
                    Some(asid) => scan.filter(Expr::Column(Column::new(Some(name.clone()), ASID)).eq(lit(asid))),
                });
                (filtered.map_err(|e| internal(&e, at))?, qualified(Some(&name)))
            }
            Err(problem) => return Err(no_rows(function, &problem, at)),
        };
        let plan = plan.build().map_err(|e| internal(&e, at))?;
        let frame = Frame::over(self.ops.add(&[]), plan, columns, function.relation());
        Ok(Value::Frame(frame.behind(function.name)))
    }
}

/// The only agent that is asked.
fn asid(function: &TableFunction, arguments: &[Argument]) -> Option<i64> {
    function.args.iter().zip(arguments).find_map(|(arg, value)| match value {
        Argument::Int64(asid) if arg.name == ASID && *asid >= 0 => Some(*asid),
        Argument::Int64(_) | Argument::Boolean(_) | Argument::String(_) => None,
    })
}

fn arguments(function: &TableFunction, args: Args<'_>) -> Result<Vec<Argument>> {
    let at = args.span;
    let params: Vec<&str> = function.args.iter().map(|arg| arg.name).collect();
    let slots = args.bind(function.name, &params)?;
    let values = function.args.iter().zip(slots).map(|(param, slot)| match (slot, &param.default) {
        (None, Some(default)) => Ok(default.clone()),
        (slot, _) => {
            let arg = required(slot, function.name, param.name, at)?;
            argument(&arg).filter(|value| value.data_type() == param.data_type).ok_or_else(|| {
                let expected = param.data_type.to_string().to_lowercase();
                arg.expected(&format!("{expected} known at compile time"), param.name)
            })
        }
    });
    values.collect()
}

fn argument(arg: &Arg<'_>) -> Option<Argument> {
    match arg.value.as_literal()? {
        Literal::Bool(value) => Some(Argument::Boolean(*value)),
        Literal::Int(value) => Some(Argument::Int64(*value)),
        Literal::Str(text) => Some(Argument::String(text.to_string().into())),
        Literal::Float(_) | Literal::Time(_) | Literal::Uint128(_) => None,
    }
}

/// A plan that has these rows. Its columns are named as they should be.
fn literal(function: &TableFunction, rows: &RecordBatch, at: Span) -> Result<LogicalPlanBuilder> {
    let wrong = |what: &str| Diagnostic::new(Code::Internal, at, format!("the rows of px.{} {what}", function.name));
    let types = |schema: &datafusion::arrow::datatypes::Schema| {
        schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect::<Vec<_>>()
    };
    if types(&rows.schema()) != types(&function.relation().arrow_schema()) {
        return Err(wrong("have other columns than they should"));
    }
    if rows.columns().iter().any(|column| column.null_count() > 0) {
        return Err(wrong("have a NULL"));
    }
    let cells = rows.num_rows().saturating_mul(rows.num_columns());
    if cells > FUNCTION_CELLS_MAX {
        let message = format!("px.{}() has {cells} values, more than {FUNCTION_CELLS_MAX}", function.name);
        return Err(Diagnostic::new(Code::Limit, at, message).with_help("ask for less by its arguments"));
    }
    let value = |scalar: ScalarValue| Expr::Literal(scalar, None);
    let mut values = Vec::with_capacity(rows.num_rows().max(1));
    for row in 0..rows.num_rows() {
        let mut cells = Vec::with_capacity(rows.num_columns() + 1);
        for column in rows.columns() {
            cells.push(value(ScalarValue::try_from_array(column, row).map_err(|e| internal(&e, at))?));
        }
        cells.push(lit(true));
        values.push(cells);
    }
    if values.is_empty() {
        let mut cells: Vec<Expr> = function.columns.iter().map(|c| value(default_scalar(c.data_type))).collect();
        cells.push(lit(false));
        values.push(cells);
    }
    let names = function.columns.iter().map(|c| c.name).chain([IS_ROW]);
    let named = names.enumerate().map(|(i, name)| Expr::Column(Column::new_unqualified(format!("column{}", i + 1))).alias(name));
    let plan = LogicalPlanBuilder::values(values).and_then(|plan| plan.project(named.collect::<Vec<_>>()));
    let plan = plan.and_then(|plan| plan.filter(Expr::Column(Column::new_unqualified(IS_ROW))));
    plan.map_err(|e| internal(&e, at))
}

fn no_rows(function: &TableFunction, problem: &NoRows, at: Span) -> Box<Diagnostic> {
    match problem {
        NoRows::NotHere => Diagnostic::new(Code::Unsupported, at, format!("px.{} is not answered here", function.name)),
        NoRows::Failed(reason) => Diagnostic::new(Code::Unavailable, at, format!("px.{}() has no answer: {reason}", function.name)),
    }
}
