//! The tables' columns are part of the public API: golden/tables pins them.

use std::fmt::Write;

#[test]
fn the_schema_of_every_table_is_as_published() {
    golden::run("tables", |case| {
        let mut text = String::new();
        for table in tables::all() {
            writeln!(text, "{}: {}", table.name, table.text)?;
            for column in table.columns {
                let tables::Column { name, data_type, semantic_type, pattern_type, text: meaning } = column;
                let (data, semantic, pattern) = (data_type.to_string(), semantic_type.to_string(), pattern_type.to_string());
                writeln!(text, "    {name:<17} {data:<9} {semantic:<20} {pattern:<15} {meaning}")?;
            }
            text.push('\n');
        }
        case.expect("schema.txt", text.trim_end())
    });
}

#[test]
fn every_table_starts_with_its_time_and_names_each_column_once() {
    for table in tables::all() {
        assert_eq!(table.columns[0].name, "time_", "{}", table.name);
        assert_eq!(table.columns[0].data_type, tables::DataType::Time64Ns, "{}", table.name);
        for (at, column) in table.columns.iter().enumerate() {
            assert_eq!(table.column_index(column.name), Some(at), "{}.{}", table.name, column.name);
        }
    }
}
