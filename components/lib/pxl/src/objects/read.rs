//! `px.DataFrame`: reading a table.

use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use tables::DataType;

use crate::args::{Arg, Args, required};
use crate::diagnostics::{Code, Diagnostic, Result};
use crate::eval::Evaluator;
use crate::frame::{Frame, internal};
use crate::suggest::{did_you_mean, list};
use crate::time::moment;
use crate::value::Value;

/// The column that orders a table.
pub(crate) const TIME_COLUMN: &str = "time_";

/// What a scan is called in its plan. Plans travel with the qualifiers of columns as text, in which a dot would part a schema from a table.
pub(crate) fn scan_name(table: &str) -> TableReference {
    TableReference::bare(table.replace(['.', '"'], "_"))
}

impl<'a> Evaluator<'a> {
    /// `px.DataFrame(table, select, start_time, end_time)`: rows from `start_time` (with it) to `end_time` (without it).
    /// The bounds are plain comparisons of `time_` with literals, so that a table provider can take them over.
    pub(crate) fn read_table(&mut self, args: Args<'a>) -> Result<Value<'a>> {
        let at = args.span;
        let mut slots = args.bind("DataFrame", &["table", "select", "start_time", "end_time"])?.into_iter();
        let table = required(slots.next().flatten(), "DataFrame", "table", at)?;
        let (select, start, end) = (slots.next().flatten(), slots.next().flatten(), slots.next().flatten());
        let table_name = table.str("table")?;
        let Some(found) = self.input.catalog.table(&table_name) else {
            let names = self.input.catalog.table_names();
            let help = did_you_mean(&table_name, names.iter().map(String::as_str))
                .unwrap_or_else(|| format!("the tables are {}", list(names.iter().map(String::as_str))));
            let problem = Diagnostic::new(Code::Unknown, table.span, format!("Table '{table_name}' not found.")).with_help(help);
            if self.trace.tables_to_come {
                self.trace.missing_table(&table_name, problem);
                return Ok(Value::Unknown);
            }
            return Err(problem);
        };
        let reference = scan_name(&table_name);
        let column = |name: &str| Expr::Column(Column::new(Some(reference.clone()), name));
        let bounds = [(start, "start_time"), (end, "end_time")];
        let mut filter: Option<Expr> = None;
        for (slot, name) in bounds {
            let Some(bound) = self.time_bound(slot.as_ref(), name)? else { continue };
            if found.relation.column(TIME_COLUMN).is_none_or(|c| c.data_type != DataType::Time64Ns) {
                let message = format!("table '{table_name}' has no column '{TIME_COLUMN}' to compare with {name}");
                return Err(Diagnostic::new(Code::Type, slot.map_or(at, |slot| slot.span), message));
            }
            let literal = Expr::Literal(ScalarValue::TimestampNanosecond(Some(bound), None), None);
            let time = column(TIME_COLUMN);
            let condition = if name == "start_time" { time.gt_eq(literal) } else { time.lt(literal) };
            filter = Some(match filter {
                None => condition,
                Some(other) => other.and(condition),
            });
        }
        let scan = LogicalPlanBuilder::scan(reference.clone(), found.source, None);
        let plan = scan
            .and_then(|scan| match filter {
                None => Ok(scan),
                Some(filter) => scan.filter(filter),
            })
            .and_then(LogicalPlanBuilder::build)
            .map_err(|e| internal(&e, at))?;
        let columns = found.relation.columns.iter().map(|c| column(&c.name)).collect();
        let frame = Frame::over(self.ops.add(&[]), plan, columns, found.relation);
        let frame = match select {
            None => frame,
            Some(select) => {
                let names = select.strings("select")?;
                if names.is_empty() { frame } else { frame.keep(&mut self.ops, &names, select.span)? }
            }
        };
        Ok(Value::Frame(frame))
    }

    fn time_bound(&self, slot: Option<&Arg<'_>>, name: &str) -> Result<Option<i64>> {
        match slot {
            None | Some(Arg { value: Value::None, .. }) => Ok(None),
            Some(arg) => match arg.value.as_literal() {
                Some(literal) => moment(literal, self.input.now.0, arg.span).map(Some),
                None => Err(arg.expected("time known at compile time", name)),
            },
        }
    }
}
