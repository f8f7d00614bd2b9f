//! Queries that follow the tables.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;

use crate::Error;

/// In the session of a query that streams: scans made there follow their tables.
#[derive(Debug)]
pub(crate) struct Streaming;

/// Rows of a batch in such a session: filters pass on what they have as it comes, instead of waiting for more.
pub(crate) const STREAMING_BATCH_ROWS: usize = 1;

/// Refuses what gives nothing before its input ends, which it never does.
///
/// # Errors
/// Names the operator.
pub(crate) fn refuse_blocking(plan: &LogicalPlan) -> Result<(), Error> {
    let mut blocking = None;
    let visited = plan.apply(|node| {
        blocking = blocks(node);
        Ok(if blocking.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    visited.map_err(|error: DataFusionError| Error::Internal(error))?;
    blocking.map_or(Ok(()), |operator| Err(Error::Blocking { operator }))
}

/// What scripts call it, if it does.
fn blocks(plan: &LogicalPlan) -> Option<&'static str> {
    match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::TableScan(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Limit(_) => None,
        LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => Some("an aggregate"),
        LogicalPlan::Join(_) => Some("merge()"),
        LogicalPlan::Sort(_) => Some("append() of rows with a time, which are sorted by it"),
        LogicalPlan::Window(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Statement(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Extension(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_) => Some("such an operator"),
    }
}
