use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tables::Relation;

use crate::{Budget, Error, Limits, Sealed, Table};

/// All tables of one agent.
#[derive(Debug)]
pub struct TableStore {
    later_table_bytes: u64,
    tables: RwLock<BTreeMap<String, Arc<Table>>>,
}

impl TableStore {
    /// Every table of [`tables::all`], empty, within the budget.
    ///
    /// # Errors
    /// If the budget does not add up.
    pub fn new(budget: &Budget) -> Result<Self, Error> {
        let mut tables = BTreeMap::new();
        for (table, limits) in budget.split(tables::all())? {
            tables.insert(table.name.to_owned(), Arc::new(Table::new(table.name, Relation::from(table), limits)?));
        }
        Ok(Self { later_table_bytes: budget.later_table_bytes, tables: RwLock::new(tables) })
    }

    /// No table yet; those made later may each have so many bytes.
    pub fn empty(later_table_bytes: u64) -> Self {
        Self { later_table_bytes, tables: RwLock::default() }
    }

    /// The table of that name.
    pub fn table(&self, name: &str) -> Option<Arc<Table>> {
        self.tables.read().get(name).cloned()
    }

    /// All tables, by name.
    pub fn tables(&self) -> Vec<Arc<Table>> {
        self.tables.read().values().cloned().collect()
    }

    /// A new, empty table with the limits of tables made later. Its bytes come on top of the budget's total.
    ///
    /// # Errors
    /// If there is one of that name, or it has no `time_`.
    pub fn create(&self, name: &str, relation: Relation) -> Result<Arc<Table>, Error> {
        self.create_with_limits(name, relation, Limits::new(self.later_table_bytes))
    }

    /// As [`Self::create`], with limits of its own.
    ///
    /// # Errors
    /// As there.
    pub fn create_with_limits(&self, name: &str, relation: Relation, limits: Limits) -> Result<Arc<Table>, Error> {
        let table = Arc::new(Table::new(name, relation, limits)?);
        let mut tables = self.tables.write();
        if tables.contains_key(name) {
            return Err(Error::Exists { table: name.to_owned() });
        }
        tables.insert(name.to_owned(), Arc::clone(&table));
        Ok(table)
    }

    /// Seals every table; for the maintenance thread. Goes on after a failure and returns the first.
    ///
    /// # Errors
    /// See [`Table::seal`].
    pub fn seal(&self) -> Result<Sealed, Error> {
        let (mut sum, mut failed) = (Sealed::default(), None);
        for table in self.tables() {
            match table.seal() {
                Ok(sealed) => sum.add(sealed),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(sum), Err)
    }
}
