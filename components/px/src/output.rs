//! Which table goes where.

use std::io::Write;

use arrow::record_batch::RecordBatch;
use client::Table;

use crate::Error;
use crate::args::{Format, RunArgs};
use crate::arrow_output::ArrowOutput;
use crate::csv_output::CsvOutput;
use crate::json_output::JsonOutput;
use crate::table_output::TableOutput;

/// Prints tables in one format. Tables are known by the order of their announcement.
pub(crate) trait Printer {
    /// The tables, before their first row.
    fn start(&mut self, _tables: &[Table]) -> Result<(), Error> {
        Ok(())
    }
    fn rows(&mut self, index: usize, table: &Table, batch: &RecordBatch) -> Result<(), Error>;
    fn end(&mut self, index: usize, table: &Table) -> Result<(), Error>;
    fn finish(&mut self) -> Result<(), Error>;
}

/// The output of one run.
pub(crate) struct Output<'a> {
    printer: Box<dyn Printer + 'a>,
    tables: Vec<Table>,
    /// The only table to print.
    only: Option<&'a str>,
    started: bool,
}

impl<'a> Output<'a> {
    pub(crate) fn new(run: &'a RunArgs, to: &'a mut dyn Write, colour: bool) -> Output<'a> {
        let printer: Box<dyn Printer + 'a> = match run.output {
            Format::Table => Box::new(TableOutput::new(to, colour)),
            Format::Json => Box::new(JsonOutput::new(to)),
            Format::Csv => Box::new(CsvOutput::new(to)),
            Format::Arrow => Box::new(ArrowOutput::new(to, run.dir.as_deref())),
        };
        Output { printer, tables: Vec::new(), only: run.table.as_deref(), started: false }
    }

    pub(crate) fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    pub(crate) fn rows(&mut self, index: usize, batch: &RecordBatch) -> Result<(), Error> {
        self.start()?;
        match self.tables.get(index).filter(|table| wanted(self.only, table)) {
            Some(table) => self.printer.rows(index, table, batch),
            None => Ok(()),
        }
    }

    pub(crate) fn end(&mut self, index: usize) -> Result<(), Error> {
        self.start()?;
        match self.tables.get(index).filter(|table| wanted(self.only, table)) {
            Some(table) => self.printer.end(index, table),
            None => Ok(()),
        }
    }

    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.start()?;
        self.printer.finish()
    }

    /// All tables are announced before the first row of any.
    fn start(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(());
        }
        let tables: Vec<Table> = self.tables.iter().filter(|table| wanted(self.only, table)).cloned().collect();
        if let (Some(name), true) = (self.only, tables.is_empty()) {
            return Err(Error::NoSuchTable { name: name.to_owned(), names: names(&self.tables) });
        }
        self.printer.start(&tables)
    }
}

fn wanted(only: Option<&str>, table: &Table) -> bool {
    only.is_none_or(|name| name == table.name)
}

pub(crate) fn names(tables: &[Table]) -> String {
    tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>().join(", ")
}
