//! The columns of a frame that an export needs, each once.

use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use tables::{ColumnDef, Relation};

use crate::diagnostics::{Code, Diagnostic, Result};
use crate::expr::{Kind, Typed};
use crate::frame::{Frame, Operators, internal};
use crate::limits::EXPORT_COLUMNS_MAX;
use crate::source::Span;

/// Grows as values are asked for.
pub(crate) struct ExportColumns<'f> {
    frame: &'f Frame,
    exprs: Vec<Expr>,
    relation: Relation,
}

impl<'f> ExportColumns<'f> {
    pub(crate) fn of(frame: &'f Frame) -> ExportColumns<'f> {
        ExportColumns { frame, exprs: Vec::new(), relation: Relation::default() }
    }

    /// Where that value stands in each row.
    pub(crate) fn add(&mut self, ops: &Operators, value: &Typed, at: Span) -> Result<usize> {
        let expr = self.frame.lower(ops, value, at)?;
        if let Some(known) = self.exprs.iter().position(|known| *known == expr) {
            return Ok(known);
        }
        if self.exprs.len() >= EXPORT_COLUMNS_MAX {
            return Err(Diagnostic::new(Code::Limit, at, format!("too many columns in an export: at most {EXPORT_COLUMNS_MAX}")));
        }
        let name = match &value.kind {
            Kind::Column { name, .. } => name.to_string(),
            Kind::Literal(_) | Kind::Call { .. } => self.free_name(),
        };
        self.exprs.push(expr);
        self.relation.columns.push(ColumnDef { name, data_type: value.data_type, semantic_type: value.semantic_type });
        Ok(self.exprs.len() - 1)
    }

    fn free_name(&self) -> String {
        let taken = |name: &str| self.frame.relation.column(name).is_some() || self.relation.column(name).is_some();
        let names = (0..).map(|n| format!("value_{n}"));
        names.into_iter().find(|name| !taken(name)).unwrap_or_default()
    }

    /// A plan that yields these columns.
    pub(crate) fn plan(self, at: Span) -> Result<(LogicalPlan, Relation)> {
        let base = self.frame.plan().map_err(|e| internal(&e, at))?;
        let exprs = self.exprs.into_iter().zip(&self.relation.columns).map(|(expr, column)| match expr {
            expr @ Expr::Column(_) => expr,
            expr => expr.alias(&column.name),
        });
        let plan = LogicalPlanBuilder::from(base).project(exprs.collect::<Vec<_>>()).and_then(LogicalPlanBuilder::build);
        Ok((plan.map_err(|e| internal(&e, at))?, self.relation))
    }
}
