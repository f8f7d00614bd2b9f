use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use ids::Asid;
use table_store::{Stats, TableStore};

use crate::AgentTables;

/// What an agent tells of the tables that it keeps. Reference: udfs.tsv, `_DebugTableInfo`.
#[derive(Debug)]
pub(crate) struct TableInfo {
    pub(crate) asid: Asid,
    pub(crate) store: Arc<TableStore>,
}

impl AgentTables for TableInfo {
    fn rows(&self, table: &str) -> Option<Result<RecordBatch, String>> {
        (table == "px._DebugTableInfo").then(|| self.table_info().map_err(|error| error.to_string()))
    }
}

impl TableInfo {
    fn table_info(&self) -> Result<RecordBatch, datafusion::arrow::error::ArrowError> {
        let tables = self.store.tables();
        let stats: Vec<Stats> = tables.iter().map(|table| table.stats()).collect();
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let numbers = |value: fn(&Stats) -> u64| Arc::new(Int64Array::from_iter_values(stats.iter().map(|s| number(value(s))))) as ArrayRef;
        let max = Int64Array::from_iter_values(tables.iter().map(|table| number(table.limits().bytes_max)));
        let oldest = stats.iter().map(|stats| stats.time_oldest.map_or(0, |time| time.0));
        RecordBatch::try_from_iter([
            ("asid", Arc::new(Int64Array::from_iter_values(tables.iter().map(|_| i64::from(self.asid.0)))) as ArrayRef),
            ("name", Arc::new(StringArray::from_iter_values(tables.iter().map(|table| table.name())))),
            ("id", Arc::new(Int64Array::from_iter_values(0..tables.len() as i64))),
            ("batches_added", numbers(|stats| stats.batches_added)),
            ("batches_expired", numbers(|stats| stats.batches_expired)),
            ("bytes_added", numbers(|stats| stats.bytes_added)),
            ("num_batches", numbers(|stats| stats.batches)),
            ("compacted_batches", numbers(|stats| stats.batches_sealed)),
            ("size", numbers(Stats::bytes)),
            ("cold_size", numbers(|stats| stats.bytes_sealed)),
            ("max_table_size", Arc::new(max)),
            ("min_time", Arc::new(TimestampNanosecondArray::from_iter_values(oldest))),
        ])
    }
}
