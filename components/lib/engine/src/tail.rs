use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use table_store::{Cursor, Start, Stop, Table, TimeRange};

use crate::TableQuality;
use crate::bounded::{Bounded, first_partition, leaf_properties, names};
use crate::scan::{ScanCounts, bytes_of, external};

/// The leaf of a plan that streams: rows as they are appended, from the asked time or from now on. It holds no rows, so a slow reader keeps
/// nobody from appending; rows that expire before it comes to them are counted.
#[derive(Debug)]
pub(crate) struct StoreTail {
    table: Arc<Table>,
    bounded: Bounded,
    properties: Arc<PlanProperties>,
}

impl StoreTail {
    pub(crate) fn new(table: Arc<Table>, bounded: Bounded) -> Result<Self> {
        let properties = leaf_properties(bounded.schema(table.schema())?, 1, true);
        Ok(Self { table, bounded, properties })
    }

    fn cursor(&self) -> Result<Cursor> {
        let TimeRange { first, last } = self.bounded.times;
        let start = if first == TimeRange::ALL.first { Start::Newest } else { Start::Time(first) };
        let stop = if last == TimeRange::ALL.last { Stop::Never } else { Stop::Time(last) };
        Cursor::new(Arc::clone(&self.table), self.bounded.projection.as_deref(), start, stop).map_err(external)
    }
}

impl DisplayAs for StoreTail {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreTail: table={}, columns=[{}]{}", self.table.name(), names(&self.schema()), self.bounded)
    }
}

impl ExecutionPlan for StoreTail {
    fn name(&self) -> &'static str {
        "StoreTail"
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

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        first_partition(partition)?;
        let mut cursor = self.cursor()?;
        let counts = context.session_config().get_extension::<ScanCounts>().unwrap_or_default();
        // A stream from now on misses nothing of what was before.
        let times = self.bounded.times;
        let asked = if times.first == TimeRange::ALL.first { None } else { Some(times) };
        let mut quality = TableQuality::of_scan(self.table.name(), &self.table.stats(), asked.unwrap_or(TimeRange::ALL));
        quality.expired_in_range &= asked.is_some();
        counts.begin(quality);
        let table = Arc::clone(&self.table);
        let mut rows_left = self.bounded.rows_left();
        let batches = futures::stream::poll_fn(move |context| {
            if rows_left.is_none() {
                return std::task::Poll::Ready(None);
            }
            cursor.poll_batch(context).map_err(external).map_ok(|next| {
                if next.rows_missed > 0 {
                    counts.missed(table.name(), table.stats().rows_expired);
                }
                let batch = rows_left.cut(&next.rows);
                counts.add(table.name(), &batch, bytes_of(&batch));
                batch
            })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}
