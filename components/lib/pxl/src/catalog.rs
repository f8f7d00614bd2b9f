//! Which tables there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::logical_expr::{LogicalTableSource, TableSource};
use tables::Relation;

use crate::table_functions::{AnsweredBy, Argument, FunctionRows, NoRows, TableFunction};

/// A table that scripts may read.
#[derive(Clone)]
pub struct CatalogTable {
    /// Its columns.
    pub relation: Relation,
    /// What the plan scans. Its Arrow schema is that of `relation`.
    pub source: Arc<dyn TableSource>,
}

/// Which tables there are. Names are stable during one compile.
pub trait Catalog: Sync {
    /// The table of that name.
    fn table(&self, name: &str) -> Option<CatalogTable>;
    /// Every name, for suggestions.
    fn table_names(&self) -> Vec<String>;

    /// The rows of a call of a table function, with a value for each of its arguments.
    ///
    /// # Errors
    /// If nobody here answers it, or who does cannot.
    fn table_function(&self, function: &TableFunction, args: &[Argument]) -> Result<FunctionRows, NoRows> {
        let _ = (function, args);
        Err(NoRows::NotHere)
    }
}

/// Tables without rows: enough to check scripts.
pub struct SchemaCatalog {
    tables: BTreeMap<String, CatalogTable>,
}

impl SchemaCatalog {
    /// Every table that agents fill.
    pub fn of_agents() -> SchemaCatalog {
        Self::new(tables::all().iter().map(|table| (table.name.to_owned(), Relation::from(*table))))
    }

    /// These tables.
    pub fn new(relations: impl IntoIterator<Item = (String, Relation)>) -> SchemaCatalog {
        let tables = relations
            .into_iter()
            .map(|(name, relation)| {
                let source = Arc::new(LogicalTableSource::new(Arc::new(relation.arrow_schema())));
                (name, CatalogTable { relation, source })
            })
            .collect();
        SchemaCatalog { tables }
    }
}

impl Catalog for SchemaCatalog {
    fn table(&self, name: &str) -> Option<CatalogTable> {
        self.tables.get(name).cloned()
    }

    fn table_names(&self) -> Vec<String> {
        self.tables.keys().cloned().collect()
    }

    fn table_function(&self, function: &TableFunction, _args: &[Argument]) -> Result<FunctionRows, NoRows> {
        let schema = Arc::new(function.relation().arrow_schema());
        Ok(match function.answered_by {
            AnsweredBy::Broker => FunctionRows::Literal(RecordBatch::new_empty(schema)),
            AnsweredBy::AllAgents | AnsweredBy::AllPems => FunctionRows::Scan(Arc::new(LogicalTableSource::new(schema))),
        })
    }
}
