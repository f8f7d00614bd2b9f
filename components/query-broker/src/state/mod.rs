//! Table functions over the cluster's own state: `px.GetAgentStatus()` and its like. Reference: vizier.md §5.6.
//!
//! ```text
//! script ─ pxl ─▶ Stateful (a catalog around another) ─▶ rows (pure) ◀─ Facts: the metadata service and the tracker, or one machine
//! ```

mod facts;
mod remote;
mod rows;

pub use facts::{AgentFact, CronRunFact, Facts, Health as AgentHealth, TableFact, TracepointFact};
pub(crate) use remote::Remote;

use pxl::{AnsweredBy, Argument, Catalog, CatalogTable, FunctionRegistry, FunctionRows, NoRows, TableFunction};

/// A catalog whose table functions about the cluster are answered from facts.
pub(crate) struct Stateful<'a> {
    pub(crate) tables: &'a dyn Catalog,
    pub(crate) facts: &'a dyn Facts,
    pub(crate) functions: &'a FunctionRegistry,
}

impl Catalog for Stateful<'_> {
    fn table(&self, name: &str) -> Option<CatalogTable> {
        self.tables.table(name)
    }

    fn table_names(&self) -> Vec<String> {
        self.tables.table_names()
    }

    fn table_function(&self, function: &TableFunction, args: &[Argument]) -> Result<FunctionRows, NoRows> {
        match function.answered_by {
            AnsweredBy::Broker => rows::rows(function, args, self.facts, self.functions).map(FunctionRows::Literal),
            AnsweredBy::AllAgents | AnsweredBy::AllPems => self.tables.table_function(function, args),
        }
    }
}
