use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use pxl::Export;

use crate::{Error, Exported, Exporter, Sink};

/// The outputs of one query whose rows go elsewhere than to who asked.
#[derive(Debug, Default)]
pub struct Exports {
    sinks: BTreeMap<usize, Sink>,
    at_once: bool,
}

impl Exports {
    /// Of the outputs with these indices. With `at_once`, rows are sent as they come: those of a query without an end.
    ///
    /// # Errors
    /// An endpoint cannot be one.
    pub async fn open(exporter: &Exporter, exports: Vec<(usize, Export)>, at_once: bool) -> Result<Exports, Error> {
        let mut sinks = BTreeMap::new();
        for (output, export) in exports {
            sinks.insert(output, exporter.sink(export).await?);
        }
        Ok(Exports { sinks, at_once })
    }

    /// Whether the rows of that output are exported.
    pub fn takes(&self, output: usize) -> bool {
        self.sinks.contains_key(&output)
    }

    /// Takes rows of an output that is exported. Waits for the endpoint.
    ///
    /// # Errors
    /// The endpoint did not take them.
    pub async fn add(&mut self, output: usize, rows: &RecordBatch) -> Result<Exported, Error> {
        let Some(sink) = self.sinks.get_mut(&output) else { return Ok(Exported::default()) };
        let mut exported = sink.add(rows).await?;
        if self.at_once {
            exported += sink.flush().await?;
        }
        Ok(exported)
    }

    /// Sends the rest, when no more rows come.
    ///
    /// # Errors
    /// An endpoint did not take it.
    pub async fn finish(&mut self) -> Result<Exported, Error> {
        let mut exported = Exported::default();
        for sink in self.sinks.values_mut() {
            exported += sink.flush().await?;
        }
        Ok(exported)
    }
}
