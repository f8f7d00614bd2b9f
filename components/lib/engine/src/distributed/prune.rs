//! Which agents need not be asked: those that do not know the names a query wants.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use crate::distributed::NamesFilter;

/// Functions of a process that give a name which an agent's filter has, if the process is the agent's and the name is not empty.
const NAMES_OF_PROCESS: [&str; 5] =
    ["px_upid_to_pod_name", "px_upid_to_pod_id", "px_upid_to_service_name", "px_upid_to_service_id", "px_upid_to_container_id"];
/// Whether a name is among the services that another function gave.
const HAS_SERVICE: &str = "px_has_service_name";

/// What an agent has to know for its rows to matter to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// None: any agent's rows may matter.
    scans: Option<Vec<Scan>>,
}

/// One scan: an agent has to know one name of each of these lists. None of them: any agent's rows may matter.
type Scan = Vec<Vec<String>>;

impl Wanted {
    /// Whether rows of an agent with these names may matter. The filter has to be as new as the rows that are wanted: what an agent has
    /// learnt since it sent it is not in it.
    pub fn may_matter(&self, names: &NamesFilter) -> bool {
        let scan_matters = |scan: &Scan| scan.iter().all(|any| any.iter().any(|name| names.may_have(name)));
        self.scans.as_ref().is_none_or(|scans| scans.iter().any(scan_matters))
    }

    /// Whether there is an agent whose rows do not matter, if only its names are other ones.
    pub fn is_particular(&self) -> bool {
        self.scans.as_ref().is_some_and(|scans| scans.iter().all(|scan| !scan.is_empty()))
    }
}

/// What agents have to know for their rows to matter to one of these plans, over an [`crate::distributed::AgentCatalog`]. Without the agents
/// that do not, the answer is the same.
pub fn wanted<'a>(plans: impl IntoIterator<Item = &'a LogicalPlan>) -> Wanted {
    let scans = plans.into_iter().map(scans).collect::<Result<Vec<_>>>();
    // A plan that cannot be optimised here fails later, with all agents.
    Wanted { scans: scans.ok().map(|scans| scans.into_iter().flatten().collect()) }
}

fn scans(plan: &LogicalPlan) -> Result<Vec<Scan>> {
    // Brings the filters to the scans.
    let plan = SessionStateBuilder::new().with_default_features().build().optimize(plan)?;
    let mut scans = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            scans.push(scan.filters.iter().flat_map(split_conjunction).filter_map(names).collect());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(scans)
}

/// Names of which an agent has to know one if the filter is true for a row of its own; none if it may be true anyway.
#[expect(clippy::wildcard_enum_match_arm, reason = "any other expression says nothing of names")]
fn names(filter: &Expr) -> Option<Vec<String>> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let literal = if is_name(left) { literal(right)? } else { literal(left).filter(|_| is_name(right))? };
            Some(vec![literal])
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let mut either = names(left)?;
            either.extend(names(right)?);
            Some(either)
        }
        // One side is enough.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => names(left).or_else(|| names(right)),
        Expr::InList(list) if !list.negated && is_name(&list.expr) => list.list.iter().map(literal).collect(),
        Expr::ScalarFunction(call) if call.func.name() == HAS_SERVICE => match call.args.as_slice() {
            [services, service] if is_name(services) => Some(vec![literal(service)?]),
            _ => None,
        },
        _ => None,
    }
}

/// A name of the process that a row is of.
fn is_name(expr: &Expr) -> bool {
    let Expr::ScalarFunction(call) = expr else { return false };
    NAMES_OF_PROCESS.contains(&call.func.name()) && matches!(call.args.as_slice(), [Expr::Column(_)])
}

/// None for what is no name, but what a process without a name has, or one with several.
fn literal(expr: &Expr) -> Option<String> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = expr else { return None };
    (!text.is_empty() && !text.starts_with('[')).then(|| text.clone())
}
