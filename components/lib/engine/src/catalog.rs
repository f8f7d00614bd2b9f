use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use pxl::{AnsweredBy, Argument, Catalog, CatalogTable, FunctionRows, NoRows, TableFunction};
use table_store::TableStore;

use crate::StoreTable;
use crate::made::{MadeTable, MadeTables};

/// The tables of a store, for the compiler, and what is told of the agent that keeps it.
#[derive(Debug, Clone)]
pub struct StoreCatalog {
    store: Arc<TableStore>,
    made: MadeTables,
}

impl StoreCatalog {
    /// Tables made later are seen too.
    pub fn new(store: Arc<TableStore>) -> Self {
        Self { store, made: MadeTables::default() }
    }

    pub(crate) fn making(self, made: MadeTables) -> Self {
        Self { made, ..self }
    }
}

impl Catalog for StoreCatalog {
    fn table(&self, name: &str) -> Option<CatalogTable> {
        let table = self.store.table(name)?;
        Some(CatalogTable { relation: table.relation().clone(), source: provider_as_source(Arc::new(StoreTable::new(table))) })
    }

    fn table_names(&self) -> Vec<String> {
        self.store.tables().iter().map(|table| table.name().to_owned()).collect()
    }

    fn table_function(&self, function: &TableFunction, _: &[Argument]) -> Result<FunctionRows, NoRows> {
        match function.answered_by {
            AnsweredBy::Broker => Err(NoRows::NotHere),
            AnsweredBy::AllAgents | AnsweredBy::AllPems => {
                let schema = Arc::new(function.relation().arrow_schema());
                let table = MadeTable { name: function.table_name(), schema, tables: self.made.clone() };
                Ok(FunctionRows::Scan(provider_as_source(Arc::new(table))))
            }
        }
    }
}
