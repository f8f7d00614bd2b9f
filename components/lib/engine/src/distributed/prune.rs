//! Which agents need not be given a query: those that do not know the names it wants, or have not the processes.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use ids::{Asid, Upid};

use crate::distributed::NamesFilter;

/// Functions of a process that give a name which an agent's filter has, if the process is the agent's and the name is not empty.
const NAMES_OF_PROCESS: [&str; 5] =
    ["px_upid_to_pod_name", "px_upid_to_pod_id", "px_upid_to_service_name", "px_upid_to_service_id", "px_upid_to_container_id"];
/// Whether a name is among the services that another function gave.
const HAS_SERVICE: &str = "px_has_service_name";

/// Of a process: which agent it is on. In every table the number of the agent that has the row.
const AGENT_OF_PROCESS: &str = "px_upid_to_asid";
/// The column of the process that a row is of.
const PROCESS: &str = "upid";

/// One condition on an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OneOf {
    /// It knows one of these names.
    Names(Vec<String>),
    /// It has one of these numbers.
    Agents(Vec<Asid>),
}

/// What must hold of an agent for a scan to yield rows of it: all of these. None: any agent's rows may matter.
pub type Scan = Vec<OneOf>;

/// What must hold of an agent for its rows to matter to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// None: any agent's rows may matter.
    scans: Option<Vec<Scan>>,
}

/// What an agent is asked about itself.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// Its number; 0 if it has none yet.
    pub asid: Asid,
    /// The names that its functions can give now. None if they are not all known: it may know any.
    pub names: Option<NamesFilter>,
}

impl Wanted {
    /// By what each scan wants of an agent.
    pub fn of_scans(scans: Vec<Scan>) -> Self {
        Self { scans: Some(scans) }
    }

    /// What each scan wants of an agent; none if any agent's rows may matter.
    pub fn scans(&self) -> Option<&[Scan]> {
        self.scans.as_deref()
    }

    /// Whether rows of such an agent may matter. What it says has to be as new as the rows that are wanted: what it has learnt since is not in
    /// it.
    pub fn may_matter(&self, own: &Own) -> bool {
        let holds = |condition: &OneOf| match condition {
            OneOf::Names(any) => own.names.as_ref().is_none_or(|names| any.iter().any(|name| names.may_have(name))),
            OneOf::Agents(any) => own.asid == Asid::default() || any.contains(&own.asid),
        };
        self.scans.as_ref().is_none_or(|scans| scans.iter().any(|scan| scan.iter().all(holds)))
    }

    /// Whether there is an agent whose rows do not matter, if only its names or its number are other ones.
    pub fn is_particular(&self) -> bool {
        self.scans.as_ref().is_some_and(|scans| scans.iter().all(|scan| !scan.is_empty()))
    }
}

/// What must hold of agents for their rows to matter to one of these plans, over an [`crate::distributed::AgentCatalog`]. Without the agents
/// of which it does not, the answer is the same.
pub fn wanted<'a>(plans: impl IntoIterator<Item = &'a LogicalPlan>) -> Wanted {
    let scans = plans.into_iter().map(scans).collect::<Result<Vec<_>>>();
    // A plan that cannot be optimised here fails later, with all agents.
    Wanted { scans: scans.ok().map(|scans| scans.into_iter().flatten().collect()) }
}

/// Whether a plan filters by something that tells agents apart: without it nobody needs to look more closely, which takes a millisecond.
#[expect(clippy::wildcard_enum_match_arm, reason = "any other expression says nothing of agents")]
pub(crate) fn may_tell_apart(plan: &LogicalPlan) -> Result<bool> {
    let (mut filters, mut tells) = (false, false);
    plan.apply_with_subqueries(|node| {
        filters |= matches!(node, LogicalPlan::Filter(_));
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                tells |= match part {
                    Expr::ScalarFunction(call) => {
                        let name = call.func.name();
                        NAMES_OF_PROCESS.contains(&name) || name == AGENT_OF_PROCESS
                    }
                    Expr::BinaryExpr(BinaryExpr { left, right, .. }) => is_process(left) || is_process(right),
                    Expr::InList(list) => is_process(&list.expr),
                    _ => false,
                };
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(filters && tells)
}

fn scans(plan: &LogicalPlan) -> Result<Vec<Scan>> {
    // Brings the filters to the scans.
    let plan = SessionStateBuilder::new().with_default_features().build().optimize(plan)?;
    let mut scans = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            scans.push(scan.filters.iter().flat_map(split_conjunction).filter_map(condition).collect());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(scans)
}

/// What must hold of an agent if the filter is true for a row of its own; none if it may be true anyway.
#[expect(clippy::wildcard_enum_match_arm, reason = "any other expression says nothing of agents")]
fn condition(filter: &Expr) -> Option<OneOf> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => equal(left, right).or_else(|| equal(right, left)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => either(condition(left)?, condition(right)?),
        // One side is enough.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => condition(left).or_else(|| condition(right)),
        Expr::InList(list) if !list.negated => {
            let mut all = list.list.iter().map(|value| equal(&list.expr, value));
            let first = all.next()??;
            all.try_fold(first, |known, next| either(known, next?))
        }
        Expr::ScalarFunction(call) if call.func.name() == HAS_SERVICE => match call.args.as_slice() {
            [services, service] if is_name(services) => Some(OneOf::Names(vec![literal(service)?])),
            _ => None,
        },
        _ => None,
    }
}

/// None if they speak of different things.
fn either(one: OneOf, other: OneOf) -> Option<OneOf> {
    match (one, other) {
        (OneOf::Names(one), OneOf::Names(other)) => Some(OneOf::Names([one, other].concat())),
        (OneOf::Agents(one), OneOf::Agents(other)) => Some(OneOf::Agents([one, other].concat())),
        (OneOf::Names(_), OneOf::Agents(_)) | (OneOf::Agents(_), OneOf::Names(_)) => None,
    }
}

/// What `known` being equal to `value` says.
fn equal(known: &Expr, value: &Expr) -> Option<OneOf> {
    if is_name(known) {
        return literal(value).map(|name| OneOf::Names(vec![name]));
    }
    let Expr::Literal(value, _) = value else { return None };
    if is_process(known) {
        let ScalarValue::FixedSizeBinary(_, Some(upid)) = value else { return None };
        let upid = <[u8; 16]>::try_from(upid.as_slice()).ok()?;
        return Some(OneOf::Agents(vec![Upid::from_be_bytes(upid).asid()]));
    }
    let Expr::ScalarFunction(call) = known else { return None };
    match (call.func.name(), call.args.as_slice(), value) {
        // A number that no agent has fits none.
        (AGENT_OF_PROCESS, [process], ScalarValue::Int64(Some(asid))) if is_process(process) => {
            Some(OneOf::Agents(u32::try_from(*asid).ok().map(Asid).into_iter().collect()))
        }
        _ => None,
    }
}

fn is_process(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == PROCESS)
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
