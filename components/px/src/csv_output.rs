use std::collections::BTreeSet;
use std::io::Write;

use arrow::record_batch::RecordBatch;
use client::Table;

use crate::Error;
use crate::output::Printer;
use crate::value::Value;

/// Comma-separated values, a header before the first row of each table. The first field of a row is its table's name.
pub(crate) struct CsvOutput<'a> {
    to: csv::Writer<&'a mut dyn Write>,
    headed: BTreeSet<usize>,
}

impl<'a> CsvOutput<'a> {
    pub(crate) fn new(to: &'a mut dyn Write) -> CsvOutput<'a> {
        CsvOutput { to: csv::WriterBuilder::new().flexible(true).from_writer(to), headed: BTreeSet::new() }
    }

    fn head(&mut self, index: usize, table: &Table) -> Result<(), Error> {
        if self.headed.insert(index) {
            let names = table.relation.columns.iter().map(|column| column.name.as_str());
            self.to.write_record(std::iter::once("table_id").chain(names)).map_err(failed)?;
        }
        Ok(())
    }
}

fn failed(error: csv::Error) -> Error {
    if let csv::ErrorKind::Io(_) = error.kind() {
        return Error::output(error.into());
    }
    Error::Output(std::io::Error::other(error))
}

impl Printer for CsvOutput<'_> {
    fn rows(&mut self, index: usize, table: &Table, batch: &RecordBatch) -> Result<(), Error> {
        self.head(index, table)?;
        for row in 0..batch.num_rows() {
            let columns = table.relation.columns.iter().zip(batch.columns());
            let values = columns.map(|(column, array)| Value::of(array, column.data_type, row).plain());
            self.to.write_record(std::iter::once(table.name.clone()).chain(values)).map_err(failed)?;
        }
        self.to.flush().map_err(Error::output)
    }

    fn end(&mut self, index: usize, table: &Table) -> Result<(), Error> {
        self.head(index, table)
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.to.flush().map_err(Error::output)
    }
}
