use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use parking_lot::Mutex;
use table_store::{Snapshot, TimeRange};

use crate::TableQuality;
use crate::bounded::{Bounded, first_partition, leaf_properties, names};
use crate::quality::truncated;

/// What the scans of one query read. Found by them in the session's extensions.
#[derive(Debug, Default)]
pub(crate) struct ScanCounts {
    batches: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
    qualities: Mutex<BTreeMap<String, TableQuality>>,
}

impl ScanCounts {
    /// A scan begins.
    pub(crate) fn begin(&self, quality: TableQuality) {
        let mut qualities = self.qualities.lock();
        match qualities.get_mut(&quality.table) {
            Some(known) => known.join(&quality),
            None => drop(qualities.insert(quality.table.clone(), quality)),
        }
    }

    /// Rows that a scan came to, and their bytes.
    pub(crate) fn add(&self, table: &str, batch: &RecordBatch, bytes: usize) {
        let cut = truncated(batch);
        if cut > 0 {
            self.change(table, |quality| quality.rows_truncated += cut);
        }
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Rows went before a scan that follows the table came to them.
    pub(crate) fn missed(&self, table: &str, rows_expired: u64) {
        self.change(table, |quality| {
            quality.expired_in_range = true;
            quality.rows_expired = quality.rows_expired.max(rows_expired);
        });
    }

    fn change(&self, table: &str, change: impl FnOnce(&mut TableQuality)) {
        if let Some(quality) = self.qualities.lock().get_mut(table) {
            change(quality);
        }
    }

    /// Of each table that was read, by name.
    pub(crate) fn qualities(&self, events_lost: u64) -> Vec<TableQuality> {
        self.qualities.lock().values().map(|quality| TableQuality { events_lost, ..quality.clone() }).collect()
    }

    pub(crate) fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The leaf of a plan: the rows of a snapshot, oldest first, unpacked as they are asked for.
#[derive(Debug)]
pub(crate) struct StoreScan {
    table: String,
    snapshot: Snapshot,
    bounded: Bounded,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl StoreScan {
    pub(crate) fn new(table: &str, snapshot: Snapshot, bounded: Bounded) -> Result<Self> {
        let properties = leaf_properties(bounded.schema(snapshot.schema())?, 1, false);
        Ok(Self { table: table.to_owned(), snapshot, bounded, properties, metrics: ExecutionPlanMetricsSet::new() })
    }

    /// What it reads is counted there.
    pub(crate) fn counted_in(self, metrics: &ExecutionPlanMetricsSet) -> Self {
        Self { metrics: metrics.clone(), ..self }
    }
}

impl DisplayAs for StoreScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreScan: table={}, columns=[{}]{}", self.table, names(&self.schema()), self.bounded)
    }
}

impl ExecutionPlan for StoreScan {
    fn name(&self) -> &'static str {
        "StoreScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a scan has no children, got {}", children.len()) }
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        first_partition(partition)?;
        let mut scan = self.snapshot.scan(self.bounded.projection.as_deref(), self.bounded.times).map_err(external)?;
        let counts = context.session_config().get_extension::<ScanCounts>();
        if let Some(counts) = &counts {
            counts.begin(TableQuality::of_scan(&self.table, &self.snapshot.stats(), self.bounded.times));
        }
        let measure = |name: &'static str| MetricBuilder::new(&self.metrics).counter(name, partition);
        let (rows_read, bytes_read) = (measure("rows_read"), measure("bytes_read"));
        let read_time = MetricBuilder::new(&self.metrics).subset_time("read_time", partition);
        let table = self.table.clone();
        let mut rows_left = self.bounded.rows_left();
        let batches = std::iter::from_fn(move || {
            if rows_left.is_none() {
                return None;
            }
            let _reading = read_time.timer();
            Some(scan.next()?.map_err(external).map(|batch| {
                let batch = rows_left.cut(&batch);
                let bytes = bytes_of(&batch);
                rows_read.add(batch.num_rows());
                bytes_read.add(bytes);
                if let Some(counts) = &counts {
                    counts.add(&table, &batch, bytes);
                }
                batch
            }))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), futures::stream::iter(batches))))
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let stats = self.snapshot.stats();
        let rows = (stats.rows as usize).min(self.bounded.rows_max.unwrap_or(usize::MAX));
        let exact = self.bounded.times == TimeRange::ALL;
        let rows = if exact { Precision::Exact(rows) } else { Precision::Inexact(rows) };
        Ok(Arc::new(Statistics::new_unknown(&self.schema()).with_num_rows(rows)))
    }
}

/// The values of its columns.
pub(crate) fn bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or_default()).sum()
}

pub(crate) fn external(error: table_store::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
