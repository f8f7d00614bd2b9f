use arrow_schema::{Field, Schema};

use crate::{DataType, SemanticType, Table};

/// One column of a table that a query makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDef {
    /// As the script names it.
    pub name: String,
    /// What its values are made of.
    pub data_type: DataType,
    /// What they mean.
    pub semantic_type: SemanticType,
}

/// The columns of a table that a query reads or makes, in order. Names are unique.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relation {
    /// In order.
    pub columns: Vec<ColumnDef>,
}

impl Relation {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&ColumnDef> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The Arrow schema of its batches. No column is nullable.
    pub fn arrow_schema(&self) -> Schema {
        Schema::new(self.columns.iter().map(|c| Field::new(&c.name, c.data_type.to_arrow(), false)).collect::<Vec<_>>())
    }
}

impl From<&Table> for Relation {
    fn from(table: &Table) -> Relation {
        let columns = table
            .columns
            .iter()
            .map(|c| ColumnDef { name: c.name.to_owned(), data_type: c.data_type, semantic_type: c.semantic_type })
            .collect();
        Relation { columns }
    }
}
