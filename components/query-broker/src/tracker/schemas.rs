//! One table out of what many agents say of it.

use std::collections::{BTreeMap, BTreeSet};

use ids::AgentId;
use tables::Relation;

/// A table, and who has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownTable {
    /// The columns that most agents have.
    pub relation: Relation,
    /// What it is, for people.
    pub text: String,
    /// Who has these columns; further ones do no harm.
    pub agents: BTreeSet<AgentId>,
    /// Who has not, and how theirs differ.
    pub differing: BTreeMap<AgentId, String>,
}

/// What some agents say of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToldTable {
    pub(crate) name: String,
    pub(crate) relation: Relation,
    pub(crate) text: String,
    pub(crate) agents: Vec<AgentId>,
}

/// The tables of all agents that live. Where agents differ the columns of most of them count, and among as many those of the agent with
/// the lowest id, so that the answer does not depend on the order of what was told.
pub(crate) fn resolve(told: &[ToldTable], lives: impl Fn(AgentId) -> bool) -> BTreeMap<String, KnownTable> {
    let mut by_name: BTreeMap<&str, Vec<(&ToldTable, BTreeSet<AgentId>)>> = BTreeMap::new();
    for table in told {
        let agents: BTreeSet<AgentId> = table.agents.iter().copied().filter(|agent| lives(*agent)).collect();
        if !agents.is_empty() {
            by_name.entry(&table.name).or_default().push((table, agents));
        }
    }
    by_name.into_iter().filter_map(|(name, variants)| Some((name.to_owned(), one(&variants)?))).collect()
}

fn one(variants: &[(&ToldTable, BTreeSet<AgentId>)]) -> Option<KnownTable> {
    let (most, _) = variants.iter().max_by_key(|(_, agents)| (agents.len(), std::cmp::Reverse(agents.first().copied())))?;
    let mut table = KnownTable { relation: most.relation.clone(), text: most.text.clone(), ..KnownTable::default() };
    for (told, agents) in variants {
        match difference(&table.relation, &told.relation) {
            None => table.agents.extend(agents),
            Some(how) => table.differing.extend(agents.iter().map(|agent| (*agent, how.clone()))),
        }
    }
    table.differing.retain(|agent, _| !table.agents.contains(agent));
    Some(table)
}

/// What `other` lacks to be read as `wanted`: columns are found by name, so neither order nor further columns matter.
fn difference(wanted: &Relation, other: &Relation) -> Option<String> {
    wanted.columns.iter().find_map(|column| match other.column(&column.name) {
        None => Some(format!("it has no column `{}`", column.name)),
        Some(own) if own.data_type != column.data_type => {
            Some(format!("its column `{}` is {}, not {}", column.name, own.data_type, column.data_type))
        }
        Some(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use tables::{ColumnDef, DataType, SemanticType};

    use super::*;

    fn relation(columns: &[(&str, DataType)]) -> Relation {
        let column = |(name, data_type): &(&str, DataType)| ColumnDef {
            name: (*name).to_owned(),
            data_type: *data_type,
            semantic_type: SemanticType::None,
        };
        Relation { columns: columns.iter().map(column).collect() }
    }

    fn agent(number: u64) -> AgentId {
        AgentId::from_halves(0, number)
    }

    fn told(columns: &[(&str, DataType)], agents: &[u64]) -> ToldTable {
        let agents = agents.iter().copied().map(agent).collect();
        ToldTable { name: "t".to_owned(), relation: relation(columns), text: String::new(), agents }
    }

    #[test]
    fn most_agents_decide_and_those_that_differ_are_named_with_what_differs() {
        let few = told(&[("time_", DataType::Time64Ns), ("n", DataType::String)], &[1]);
        let most = told(&[("time_", DataType::Time64Ns), ("n", DataType::Int64)], &[2, 3]);
        let old = told(&[("time_", DataType::Time64Ns)], &[4]);
        for order in [vec![few.clone(), most.clone(), old.clone()], vec![old, most.clone(), few]] {
            let table = resolve(&order, |_| true).remove("t").unwrap();
            assert_eq!(table.relation, most.relation);
            assert_eq!(table.agents, [agent(2), agent(3)].into());
            let differing: Vec<_> = table.differing.into_iter().collect();
            assert_eq!(
                differing,
                [(agent(1), "its column `n` is STRING, not INT64".to_owned()), (agent(4), "it has no column `n`".to_owned())]
            );
        }
    }

    #[test]
    fn further_columns_and_another_order_are_no_difference() {
        let most = told(&[("a", DataType::Int64), ("b", DataType::String)], &[1, 2]);
        let newer = told(&[("c", DataType::Int64), ("b", DataType::String), ("a", DataType::Int64)], &[3]);
        let table = resolve(&[newer, most], |_| true).remove("t").unwrap();
        assert_eq!((table.agents.len(), table.differing.len(), table.relation.columns.len()), (3, 0, 2));
    }

    #[test]
    fn the_dead_have_no_say() {
        let (dead, alive) = (told(&[("a", DataType::Int64)], &[1, 2, 3]), told(&[("a", DataType::String)], &[4]));
        let table = resolve(&[dead.clone(), alive.clone()], |id| id == agent(4)).remove("t").unwrap();
        assert_eq!((table.relation, table.differing.len()), (alive.relation, 0));
        assert!(resolve(&[dead], |_| false).is_empty());
    }
}
