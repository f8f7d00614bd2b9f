//! What bounds a scan of a table, whatever scans it.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{Result, internal_err};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{Partitioning, PlanProperties};
use table_store::TimeRange;

/// Columns, times and a number of rows. Written as what stands behind the columns in a plan: `, time_=[1, 2], limit=3`.
#[derive(Debug, Clone)]
pub(crate) struct Bounded {
    /// None: all columns.
    pub(crate) projection: Option<Vec<usize>>,
    pub(crate) times: TimeRange,
    pub(crate) rows_max: Option<usize>,
}

impl Bounded {
    /// Of those columns; none means all.
    pub(crate) fn new(projection: Option<&[usize]>, times: TimeRange, rows_max: Option<usize>) -> Self {
        Self { projection: projection.map(<[usize]>::to_vec), times, rows_max }
    }

    /// What is left of a table's columns.
    pub(crate) fn schema(&self, all: &SchemaRef) -> Result<SchemaRef> {
        Ok(match &self.projection {
            Some(columns) => Arc::new(all.project(columns)?),
            None => Arc::clone(all),
        })
    }

    /// As many rows as it may yield.
    pub(crate) fn rows_left(&self) -> RowsLeft {
        RowsLeft(self.rows_max.unwrap_or(usize::MAX))
    }
}

impl fmt::Display for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.times != TimeRange::ALL {
            write!(f, ", time_=[{}, {}]", self.times.first.0, self.times.last.0)?;
        }
        self.rows_max.map_or(Ok(()), |rows_max| write!(f, ", limit={rows_max}"))
    }
}

/// How many rows a scan may still yield.
#[derive(Debug)]
pub(crate) struct RowsLeft(usize);

impl RowsLeft {
    pub(crate) fn is_none(&self) -> bool {
        self.0 == 0
    }

    /// As much of the rows as may still be yielded.
    pub(crate) fn cut(&mut self, rows: &RecordBatch) -> RecordBatch {
        let rows = rows.slice(0, rows.num_rows().min(self.0));
        self.0 -= rows.num_rows();
        rows
    }
}

/// Of a leaf: rows in no particular order, as they come; of one that follows its table without an end.
pub(crate) fn leaf_properties(schema: SchemaRef, partitions: usize, follows: bool) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        if follows { Boundedness::Unbounded { requires_infinite_memory: false } } else { Boundedness::Bounded },
    ))
}

/// Where there is only one.
pub(crate) fn first_partition(partition: usize) -> Result<()> {
    if partition == 0 { Ok(()) } else { internal_err!("a scan has one partition, {partition} was asked for") }
}

/// For a plan's text.
pub(crate) fn names(schema: &Schema) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}
