//! The tables of an agent as it tells them.

use table_store::TableStore;
use tables::PatternType;

use crate::life::{ColumnSchema, TableSchema};

/// Every table of the store, by name, with the texts that are known of it.
pub fn of_store(store: &TableStore) -> Vec<TableSchema> {
    let known = |name: &str| tables::all().iter().find(|table| table.name == name);
    let schema = |table: std::sync::Arc<table_store::Table>| {
        let texts = known(table.name());
        let columns = table.relation().columns.iter().map(|column| {
            let known = texts.and_then(|texts| texts.columns.iter().find(|known| known.name == column.name));
            ColumnSchema {
                name: column.name.clone(),
                data_type: column.data_type,
                semantic_type: column.semantic_type,
                pattern_type: known.map_or(PatternType::Unspecified, |known| known.pattern_type),
                text: known.map_or_else(String::new, |known| known.text.to_owned()),
            }
        });
        TableSchema {
            name: table.name().to_owned(),
            text: texts.map_or_else(String::new, |texts| texts.text.to_owned()),
            columns: columns.collect(),
        }
    };
    store.tables().into_iter().map(schema).collect()
}

#[cfg(test)]
mod tests {
    use tables::{ColumnDef, DataType, Relation, SemanticType};

    use super::*;

    #[test]
    fn tables_of_ours_have_their_texts_and_others_have_none() {
        let store = TableStore::empty(1 << 20);
        store.create("conn_stats", Relation::from(&tables::CONN_STATS)).unwrap();
        let time = ColumnDef { name: "time_".to_owned(), data_type: DataType::Time64Ns, semantic_type: SemanticType::TimeNs };
        store.create("made_later", Relation { columns: vec![time] }).unwrap();
        let schemas = of_store(&store);
        assert_eq!(schemas[0].text, tables::CONN_STATS.text);
        assert_eq!(schemas[0].columns[1].text, tables::CONN_STATS.columns[1].text);
        assert_eq!((schemas[1].name.as_str(), schemas[1].text.as_str()), ("made_later", ""));
        assert_eq!(schemas[1].columns[0].data_type, DataType::Time64Ns);
    }
}
