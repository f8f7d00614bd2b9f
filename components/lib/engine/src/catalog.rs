use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use pxl::{Catalog, CatalogTable};
use table_store::TableStore;

use crate::StoreTable;

/// The tables of a store, for the compiler.
#[derive(Debug, Clone)]
pub struct StoreCatalog {
    store: Arc<TableStore>,
}

impl StoreCatalog {
    /// Tables made later are seen too.
    pub fn new(store: Arc<TableStore>) -> Self {
        Self { store }
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
}
