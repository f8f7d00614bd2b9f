use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use client::Table;

use crate::Error;
use crate::output::{Printer, names};

/// Arrow IPC streams: the only table on standard output, or each table in a file of its own.
pub(crate) struct ArrowOutput<'a> {
    to: Option<&'a mut dyn Write>,
    folder: Option<&'a Path>,
    writers: BTreeMap<usize, StreamWriter<Box<dyn Write + 'a>>>,
}

impl<'a> ArrowOutput<'a> {
    pub(crate) fn new(to: &'a mut dyn Write, folder: Option<&'a Path>) -> ArrowOutput<'a> {
        ArrowOutput { to: Some(to), folder, writers: BTreeMap::new() }
    }

    fn writer(&mut self, index: usize, table: &Table) -> Result<&mut StreamWriter<Box<dyn Write + 'a>>, Error> {
        if !self.writers.contains_key(&index) {
            let to: Box<dyn Write + 'a> = match (self.folder, self.to.take()) {
                (Some(folder), _) => Box::new(create(folder, &table.name)?),
                (None, Some(to)) => Box::new(to),
                (None, None) => return Err(Error::SeveralTables { count: 2, names: table.name.clone() }),
            };
            let writer = StreamWriter::try_new(to, &table.relation.arrow_schema()).map_err(Error::arrow)?;
            self.writers.insert(index, writer);
        }
        self.writers.get_mut(&index).ok_or(Error::OutputClosed)
    }
}

/// `NAME.arrow`; what no file name can hold becomes `_`.
fn create(folder: &Path, table: &str) -> Result<BufWriter<File>, Error> {
    let name: String = table.chars().map(|c| if c == '/' || c.is_control() { '_' } else { c }).collect();
    let name = if name.starts_with('.') { format!("_{name}") } else { name };
    let path: PathBuf = folder.join(format!("{name}.arrow"));
    std::fs::create_dir_all(folder).and_then(|()| File::create(&path)).map(BufWriter::new).map_err(|source| Error::File {
        action: "create",
        path,
        source,
    })
}

impl Printer for ArrowOutput<'_> {
    fn start(&mut self, tables: &[Table]) -> Result<(), Error> {
        if self.folder.is_none() && tables.len() > 1 {
            return Err(Error::SeveralTables { count: tables.len(), names: names(tables) });
        }
        Ok(())
    }

    fn rows(&mut self, index: usize, table: &Table, batch: &RecordBatch) -> Result<(), Error> {
        // The schema is that of the relation; a batch that came over the wire has an equal one of its own.
        let batch = batch.clone().with_schema(Arc::new(table.relation.arrow_schema())).map_err(Error::arrow)?;
        self.writer(index, table)?.write(&batch).map_err(Error::arrow)
    }

    fn end(&mut self, index: usize, table: &Table) -> Result<(), Error> {
        let writer = self.writer(index, table)?;
        writer.finish().map_err(Error::arrow)?;
        writer.flush().map_err(Error::arrow)
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
