use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use pxl::{AnsweredBy, Argument, Catalog, CatalogTable, FunctionRows, NoRows, TableFunction};
use tables::Relation;

use crate::distributed::table::AgentTable;

/// The tables of agents, for the compiler. Plans made from it are bound to agents only where they run.
#[derive(Clone)]
pub struct AgentCatalog {
    tables: BTreeMap<String, CatalogTable>,
}

impl AgentCatalog {
    /// Every table that agents fill.
    pub fn of_agents() -> Self {
        Self::new(tables::all().iter().map(|table| (table.name.to_owned(), Relation::from(*table))))
    }

    /// These tables.
    pub fn new(relations: impl IntoIterator<Item = (String, Relation)>) -> Self {
        let tables = relations.into_iter().map(|(name, relation)| {
            let table = AgentTable::unbound(name.clone(), Arc::new(relation.arrow_schema()));
            (name, CatalogTable { relation, source: provider_as_source(Arc::new(table)) })
        });
        Self { tables: tables.collect() }
    }
}

impl Catalog for AgentCatalog {
    fn table(&self, name: &str) -> Option<CatalogTable> {
        self.tables.get(name).cloned()
    }

    fn table_names(&self) -> Vec<String> {
        self.tables.keys().cloned().collect()
    }

    fn table_function(&self, function: &TableFunction, _: &[Argument]) -> Result<FunctionRows, NoRows> {
        match function.answered_by {
            AnsweredBy::Broker => Err(NoRows::NotHere),
            AnsweredBy::AllAgents | AnsweredBy::AllPems => {
                let table = AgentTable::unbound(function.table_name(), Arc::new(function.relation().arrow_schema()));
                Ok(FunctionRows::Scan(provider_as_source(Arc::new(table))))
            }
        }
    }
}
