use std::io::Write;

use arrow::record_batch::RecordBatch;
use client::Table;
use serde_json::{Map, Value as Json};

use crate::Error;
use crate::output::Printer;
use crate::value::Value;

/// Under which a row names its table.
const TABLE_KEY: &str = "_table_";

/// An object a line.
pub(crate) struct JsonOutput<'a> {
    to: &'a mut dyn Write,
}

impl<'a> JsonOutput<'a> {
    pub(crate) fn new(to: &'a mut dyn Write) -> JsonOutput<'a> {
        JsonOutput { to }
    }
}

impl Printer for JsonOutput<'_> {
    fn rows(&mut self, _index: usize, table: &Table, batch: &RecordBatch) -> Result<(), Error> {
        for row in 0..batch.num_rows() {
            let mut object = Map::with_capacity(batch.num_columns() + 1);
            object.insert(TABLE_KEY.to_owned(), Json::from(table.name.as_str()));
            for (column, array) in table.relation.columns.iter().zip(batch.columns()) {
                object.insert(column.name.clone(), Value::of(array, column.data_type, row).json());
            }
            writeln!(self.to, "{}", Json::Object(object)).map_err(Error::output)?;
        }
        self.to.flush().map_err(Error::output)
    }

    fn end(&mut self, _index: usize, _table: &Table) -> Result<(), Error> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
