//! Tables in the making: what a DataFrame stands for.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DataFusionError};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use tables::{ColumnDef, Relation};

use crate::diagnostics::{Code, Diagnostic, Result};
use crate::export_columns::ExportColumns;
use crate::expr::Typed;
use crate::functions::RunsOn;
use crate::limits::{PLAN_DEPTH_MAX, PLAN_NODES_MAX};
use crate::source::Span;
use crate::suggest::{did_you_mean, list};

/// Which operator of the script made a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OpId(u32);

/// The operators of one script and what they were made from.
#[derive(Debug, Default)]
pub(crate) struct Operators {
    parents: Vec<Vec<OpId>>,
}

impl Operators {
    pub(crate) fn add(&mut self, parents: &[OpId]) -> OpId {
        self.parents.push(parents.to_vec());
        OpId(self.parents.len() as u32 - 1)
    }

    /// Whether `descendant` was made from `ancestor`, or is it.
    pub(crate) fn is_ancestor(&self, ancestor: OpId, descendant: OpId) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![descendant];
        while let Some(op) = open.pop() {
            if op == ancestor {
                return true;
            }
            // Parents have lower numbers.
            if op > ancestor && seen.insert(op) {
                open.extend(&self.parents[op.0 as usize]);
            }
        }
        false
    }
}

/// A table in the making. Immutable: each operation makes another one.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) op: OpId,
    pub(crate) relation: Rc<Relation>,
    base: Arc<LogicalPlan>,
    /// Columns over `base`, one for each of `relation`, not yet an operator: assignments that do not read each other's results share one.
    columns: Rc<Vec<Expr>>,
    depth: u32,
    nodes: u32,
    /// The first operator beneath that has no rows before it has seen others: behind it there are no streams, and only Kelvin.
    blocking: Option<&'static str>,
    /// `stream()` was called: the only thing left to do is to show it.
    pub(crate) streaming: bool,
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name.to_owned()))
}

impl Frame {
    /// Over a plan that yields `columns` for the columns of `relation`.
    pub(crate) fn over(op: OpId, plan: LogicalPlan, columns: Vec<Expr>, relation: Relation) -> Frame {
        let (relation, base, columns) = (Rc::new(relation), Arc::new(plan), Rc::new(columns));
        Frame { op, relation, base, columns, depth: 2, nodes: 2, blocking: None, streaming: false }
    }

    /// Over a plan made from the plans of `from`.
    pub(crate) fn derive(ops: &mut Operators, from: &[&Frame], plan: LogicalPlan, relation: Relation, span: Span) -> Result<Frame> {
        from.iter().try_for_each(|frame| frame.goes_on(span))?;
        let parents: Vec<OpId> = from.iter().map(|frame| frame.op).collect();
        let columns = relation.columns.iter().map(|c| column(&c.name)).collect();
        let frame = Frame {
            op: ops.add(&parents),
            relation: Rc::new(relation),
            base: Arc::new(plan),
            columns: Rc::new(columns),
            depth: from.iter().map(|frame| frame.depth).max().unwrap_or(0) + 2,
            nodes: from.iter().map(|frame| frame.nodes).fold(2, u32::saturating_add),
            blocking: from.iter().find_map(|frame| frame.blocking),
            streaming: false,
        };
        frame.within_limits(span)
    }

    /// Behind an operator that has no rows before it has seen others.
    pub(crate) fn behind(mut self, operator: &'static str) -> Frame {
        self.blocking = self.blocking.or(Some(operator));
        self
    }

    /// The same, and rows that come later.
    pub(crate) fn stream(&self, span: Span) -> Result<Frame> {
        self.goes_on(span)?;
        match self.blocking {
            None => Ok(Frame { streaming: true, ..self.clone() }),
            Some(operator) => {
                let message = format!("df.stream() not yet supported with the operator {operator}");
                Err(Diagnostic::new(Code::Unsupported, span, message).with_help("a stream can be filtered, and its columns computed"))
            }
        }
    }

    /// That something may be done with it other than to show it.
    fn goes_on(&self, span: Span) -> Result<()> {
        if !self.streaming {
            return Ok(());
        }
        let message = "df.stream() in the middle of a query is not yet implemented";
        Err(Diagnostic::new(Code::Unsupported, span, message).with_help("call stream() last, right before px.display()"))
    }

    fn within_limits(self, span: Span) -> Result<Frame> {
        if self.depth <= PLAN_DEPTH_MAX && self.nodes <= PLAN_NODES_MAX {
            return Ok(self);
        }
        let message = format!("query too large: more than {PLAN_DEPTH_MAX} operators in a row, or more than {PLAN_NODES_MAX} in all");
        Err(Diagnostic::new(Code::Limit, span, message).with_help("a DataFrame that is used twice counts twice"))
    }

    /// None yet of the columns that an export of it needs.
    pub(crate) fn columns_to_export(&self) -> ExportColumns<'_> {
        ExportColumns::of(self)
    }

    /// The plan, with exactly the columns of the relation.
    pub(crate) fn plan(&self) -> std::result::Result<LogicalPlan, DataFusionError> {
        let as_is = self.base.schema().iter().map(|(qualifier, field)| (qualifier.is_none(), field.name().as_str()));
        let wanted = self.columns.iter().zip(&self.relation.columns).map(|(expr, c)| match expr {
            Expr::Column(Column { relation: None, name, .. }) if *name == c.name => (true, name.as_str()),
            _ => (false, ""),
        });
        if as_is.eq(wanted) {
            return Ok(LogicalPlan::clone(&self.base));
        }
        let exprs = self.columns.iter().zip(&self.relation.columns).map(|(expr, c)| match expr {
            Expr::Column(Column { relation: None, name, .. }) if *name == c.name => expr.clone(),
            _ => expr.clone().alias(&c.name),
        });
        LogicalPlanBuilder::new_from_arc(Arc::clone(&self.base)).project(exprs.collect::<Vec<_>>())?.build()
    }

    /// The column of that name.
    pub(crate) fn column(&self, name: &str, span: Span) -> Result<&ColumnDef> {
        self.relation.column(name).ok_or_else(|| {
            let names = || self.relation.columns.iter().map(|c| c.name.as_str());
            let help = did_you_mean(name, names()).unwrap_or_else(|| format!("it has {}", list(names())));
            Diagnostic::new(Code::Unknown, span, format!("Column '{name}' not found in parent dataframe")).with_help(help)
        })
    }

    /// A read of that column.
    pub(crate) fn read(&self, name: &str, span: Span) -> Result<Typed> {
        let column = self.column(name, span)?;
        Ok(Typed::column(self.op, &column.name, column.data_type, column.semantic_type))
    }

    /// Only these columns, in this order.
    pub(crate) fn keep(&self, ops: &mut Operators, names: &[String], span: Span) -> Result<Frame> {
        self.goes_on(span)?;
        let mut relation = Relation::default();
        let mut columns = Vec::new();
        for name in names {
            let at = self.position(name, span)?;
            relation.columns.push(self.relation.columns[at].clone());
            columns.push(self.columns[at].clone());
        }
        Ok(Frame { op: ops.add(&[self.op]), relation: Rc::new(relation), columns: Rc::new(columns), ..self.clone() })
    }

    fn position(&self, name: &str, span: Span) -> Result<usize> {
        self.column(name, span)?;
        Ok(self.relation.columns.iter().position(|c| c.name == name).unwrap_or_default())
    }

    /// With a column more, or another value in a column, which then becomes the last one.
    pub(crate) fn assign(&self, ops: &mut Operators, name: &str, value: &Typed, span: Span) -> Result<Frame> {
        self.goes_on(span)?;
        let lowered = self.lower(ops, value, span)?;
        let mut relation = Relation::clone(&self.relation);
        let replaced = relation.columns.iter().position(|c| c.name == name);
        let (base, mut columns, deeper, lowered) = if let Some(inlined) = self.inline(&lowered) {
            (Arc::clone(&self.base), Vec::clone(&self.columns), 0, inlined)
        } else {
            let columns = self.relation.columns.iter().map(|c| column(&c.name)).collect();
            (Arc::new(self.plan().map_err(|e| internal(&e, span))?), columns, 1, lowered)
        };
        if let Some(at) = replaced {
            relation.columns.remove(at);
            columns.remove(at);
        }
        relation.columns.push(ColumnDef { name: name.to_owned(), data_type: value.data_type, semantic_type: value.semantic_type });
        columns.push(lowered);
        let frame = Frame {
            op: ops.add(&[self.op]),
            relation: Rc::new(relation),
            base,
            columns: Rc::new(columns),
            depth: self.depth + deeper,
            nodes: self.nodes.saturating_add(value.nodes() / 8).saturating_add(deeper),
            blocking: self.blocking,
            streaming: false,
        };
        frame.within_limits(span)
    }

    /// `expr` over the base instead of over this frame. None if it reads a column that is itself computed.
    fn inline(&self, expr: &Expr) -> Option<Expr> {
        let replace = |node: Expr| {
            let Expr::Column(read) = &node else { return Ok(Transformed::no(node)) };
            let at = self.relation.columns.iter().position(|c| c.name == read.name);
            match at.and_then(|at| self.columns.get(at)) {
                Some(below @ Expr::Column(_)) => Ok(Transformed::yes(below.clone())),
                _ => Err(DataFusionError::Internal("computed".to_owned())),
            }
        };
        expr.clone().transform_up(replace).ok().map(|done| done.data)
    }

    /// `value` as an expression over this frame's columns. Columns of frames that this one was made from are found by name.
    pub(crate) fn lower(&self, ops: &Operators, value: &Typed, span: Span) -> Result<Expr> {
        value.visit_columns(&mut |op, name, data_type| {
            if !ops.is_ancestor(op, self.op) {
                let message = format!("column '{name}' belongs to a different DataFrame");
                return Err(Diagnostic::new(Code::Value, span, message).with_help("merge() the two first"));
            }
            let found = self.column(name, span)?;
            if found.data_type == data_type {
                return Ok(());
            }
            let message = format!("column '{name}' was {data_type} when it was read and is {} now", found.data_type);
            Err(Diagnostic::new(Code::Type, span, message).with_help("read it again from the DataFrame"))
        })?;
        if let (Some(operator), Some(function)) = (self.blocking, value.first_call(RunsOn::Pem)) {
            let message = format!("UDF '{function}' must execute before blocking nodes such as limit, agg, and join.");
            let help = format!("only an agent knows its processes, and {operator} is done elsewhere: compute the column before it");
            return Err(Diagnostic::new(Code::Unsupported, span, message).with_help(help));
        }
        Ok(value.lower())
    }
}

/// A plan that DataFusion refuses although our checks passed.
pub(crate) fn internal(error: &DataFusionError, span: Span) -> Box<Diagnostic> {
    Diagnostic::new(Code::Internal, span, format!("cannot plan this: {}", error.strip_backtrace()))
}
