use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use table_store::{Cursor, Start, Stop, Table, TimeRange};

use crate::TableQuality;
use crate::scan::{ScanCounts, bytes_of, external};

/// The leaf of a plan that streams: rows as they are appended, from the asked time or from now on. It holds no rows, so a slow reader keeps
/// nobody from appending; rows that expire before it comes to them are counted.
#[derive(Debug)]
pub(crate) struct StoreTail {
    table: Arc<Table>,
    /// None: all columns.
    projection: Option<Vec<usize>>,
    times: TimeRange,
    rows_max: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl StoreTail {
    pub(crate) fn new(table: Arc<Table>, projection: Option<&[usize]>, times: TimeRange, rows_max: Option<usize>) -> Result<Self> {
        let schema: SchemaRef = match projection {
            Some(projection) => Arc::new(table.schema().project(projection)?),
            None => Arc::clone(table.schema()),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Unbounded { requires_infinite_memory: false },
        );
        let projection = projection.map(<[usize]>::to_vec);
        Ok(Self { table, projection, times, rows_max, properties: Arc::new(properties) })
    }

    fn cursor(&self) -> Result<Cursor> {
        let TimeRange { first, last } = self.times;
        let start = if first == TimeRange::ALL.first { Start::Newest } else { Start::Time(first) };
        let stop = if last == TimeRange::ALL.last { Stop::Never } else { Stop::Time(last) };
        Cursor::new(Arc::clone(&self.table), self.projection.as_deref(), start, stop).map_err(external)
    }
}

impl DisplayAs for StoreTail {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.schema();
        let columns = schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
        write!(f, "StoreTail: table={}, columns=[{columns}]", self.table.name())?;
        if self.times != TimeRange::ALL {
            write!(f, ", time_=[{}, {}]", self.times.first.0, self.times.last.0)?;
        }
        self.rows_max.map_or(Ok(()), |rows_max| write!(f, ", limit={rows_max}"))
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
        if partition != 0 {
            return internal_err!("a scan has one partition, {partition} was asked for");
        }
        let mut cursor = self.cursor()?;
        let counts = context.session_config().get_extension::<ScanCounts>().unwrap_or_default();
        // A stream from now on misses nothing of what was before.
        let asked = if self.times.first == TimeRange::ALL.first { None } else { Some(self.times) };
        let mut quality = TableQuality::of_scan(self.table.name(), &self.table.stats(), asked.unwrap_or(TimeRange::ALL));
        quality.expired_in_range &= asked.is_some();
        counts.begin(quality);
        let table = Arc::clone(&self.table);
        let mut rows_left = self.rows_max.unwrap_or(usize::MAX);
        let batches = futures::stream::poll_fn(move |context| {
            if rows_left == 0 {
                return std::task::Poll::Ready(None);
            }
            cursor.poll_batch(context).map_err(external).map_ok(|next| {
                if next.rows_missed > 0 {
                    counts.missed(table.name(), table.stats().rows_expired);
                }
                let batch = next.rows.slice(0, next.rows.num_rows().min(rows_left));
                rows_left -= batch.num_rows();
                counts.add(table.name(), &batch, bytes_of(&batch));
                batch
            })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}
