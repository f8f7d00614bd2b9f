use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef, TimestampNanosecondType};
use ids::UnixNs;
use tables::Relation;

use crate::codec::{Packer, Unpacker};
use crate::sealed::SealedColumns;
use crate::{Error, TimeRange};

/// A batch that holds more than this many times its rows' bytes is copied on arrival: builders grow their buffers by doubling, and a
/// slice holds the whole it was cut from.
const SLACK_MAX: usize = 2;

/// What all batches of one table have in common.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) relation: Relation,
    pub(crate) schema: SchemaRef,
    pub(crate) time_column: usize,
}

impl Shape {
    pub(crate) fn new(name: &str, relation: Relation) -> Result<Self, Error> {
        let time_column = relation
            .columns
            .iter()
            .position(|c| c.name == "time_" && c.data_type == tables::DataType::Time64Ns)
            .ok_or_else(|| Error::NoTime { table: name.to_owned() })?;
        Ok(Self { name: name.to_owned(), schema: Arc::new(relation.arrow_schema()), relation, time_column })
    }

    /// The batch with the table's own schema.
    pub(crate) fn check(&self, batch: RecordBatch) -> Result<RecordBatch, Error> {
        let wrong = |what| Error::Schema { table: self.name.clone(), what };
        let (got, columns, _) = batch.into_parts();
        let wanted = self.schema.fields();
        if wanted.len() != got.fields().len() {
            return Err(wrong(format!("expected {} columns, got {}", wanted.len(), got.fields().len())));
        }
        for (at, (wanted, got)) in wanted.iter().zip(got.fields()).enumerate() {
            if wanted.name() != got.name() || wanted.data_type() != got.data_type() {
                let (name, kind) = (got.name(), got.data_type());
                return Err(wrong(format!("column {at} is `{name}` of {kind}, expected `{}` of {}", wanted.name(), wanted.data_type())));
            }
        }
        if let Some(at) = columns.iter().position(|c| c.null_count() > 0) {
            return Err(wrong(format!("column {at} `{}` has nulls", wanted[at].name())));
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        if batch.get_array_memory_size() <= SLACK_MAX * raw_bytes(&batch) + batch.num_columns() * size_of::<Buffers>() {
            return Ok(batch);
        }
        Ok(take_record_batch(&batch, &UInt32Array::from_iter_values(0..batch.num_rows() as u32))?)
    }
}

/// What Arrow keeps beside the values of one column of a few rows.
type Buffers = [u8; 256];

/// Bytes of the rows themselves, as plain Arrow lays them out, without spare capacity.
pub(crate) fn raw_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column_bytes(column)).sum()
}

fn column_bytes(column: &dyn Array) -> usize {
    let rows = column.len();
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other type of a table has a fixed width")]
    match column.data_type() {
        DataType::Boolean => rows.div_ceil(8),
        DataType::Utf8 => {
            let offsets = column.as_string::<i32>().value_offsets();
            let text = offsets.last().zip(offsets.first()).map_or(0, |(last, first)| last - first);
            rows * size_of::<i32>() + text as usize
        }
        other => rows * other.primitive_width().unwrap_or(tables::UINT128_BYTES as usize),
    }
}

#[derive(Debug)]
enum Data {
    Hot(RecordBatch),
    Sealed(SealedColumns),
}

/// Rows that were appended one after the other. Never empty.
#[derive(Debug)]
pub(crate) struct Batch {
    shape: Arc<Shape>,
    pub(crate) first_row: u64,
    pub(crate) rows: usize,
    /// Of the rows' `time_`, both inclusive.
    pub(crate) times: TimeRange,
    /// What is held in memory for it.
    pub(crate) bytes: u64,
    pub(crate) raw_bytes: u64,
    data: Data,
}

impl Batch {
    /// None if there is no row. The batch has the table's schema.
    pub(crate) fn hot(shape: &Arc<Shape>, first_row: u64, batch: RecordBatch) -> Option<Self> {
        let times = batch.column(shape.time_column).as_primitive::<TimestampNanosecondType>().values();
        let (first, last) = (times.iter().min()?, times.iter().max()?);
        Some(Self {
            shape: Arc::clone(shape),
            first_row,
            rows: batch.num_rows(),
            times: TimeRange { first: UnixNs(*first), last: UnixNs(*last) },
            bytes: (batch.get_array_memory_size() + size_of::<Self>()) as u64,
            raw_bytes: raw_bytes(&batch) as u64,
            data: Data::Hot(batch),
        })
    }

    pub(crate) fn end_row(&self) -> u64 {
        self.first_row + self.rows as u64
    }

    pub(crate) fn is_hot(&self) -> bool {
        matches!(self.data, Data::Hot(_))
    }

    /// The rows of hot batches that follow each other as one hot batch; none if there is none or one is sealed.
    pub(crate) fn merge(batches: &[Arc<Batch>]) -> Result<Option<Self>, Error> {
        let Some(first) = batches.first() else { return Ok(None) };
        let hot = batches.iter().map(|b| b.as_hot()).collect::<Option<Vec<_>>>();
        let Some(hot) = hot else { return Ok(None) };
        let merged = concat_batches(&first.shape.schema, hot)?;
        Ok(Self::hot(&first.shape, first.first_row, merged))
    }

    /// The same rows, packed; a sealed batch stays as it is.
    pub(crate) fn seal(self, packer: &mut Packer) -> Result<Self, Error> {
        let Data::Hot(batch) = &self.data else { return Ok(self) };
        let sealed = SealedColumns::seal(packer, batch)?;
        Ok(Self { bytes: (sealed.bytes() + size_of::<Self>()) as u64, data: Data::Sealed(sealed), ..self })
    }

    fn as_hot(&self) -> Option<&RecordBatch> {
        match &self.data {
            Data::Hot(batch) => Some(batch),
            Data::Sealed(_) => None,
        }
    }

    /// The rows of `rows` (row ids) whose time is in `times`; none if there is none.
    pub(crate) fn read(&self, read: &mut Read, times: TimeRange, rows: Range<u64>) -> Result<Option<RecordBatch>, Error> {
        let start = rows.start.max(self.first_row);
        let end = rows.end.min(self.end_row());
        if start >= end || !times.overlaps(self.times) {
            return Ok(None);
        }
        let (offset, len) = ((start - self.first_row) as usize, (end - start) as usize);
        let mask = if times.covers(self.times) { None } else { Some(self.mask(read, times, offset, len)?) };
        if mask.as_ref().is_some_and(|mask| !mask.has_true()) {
            return Ok(None);
        }
        let columns = read.projection.iter().map(|column| self.column(&mut read.unpacker, *column)).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&read.schema), columns, &options)?.slice(offset, len);
        match mask {
            Some(mask) if mask.has_false() => Ok(Some(filter_record_batch(&batch, &mask)?)),
            Some(_) | None => Ok(Some(batch)),
        }
    }

    fn mask(&self, read: &mut Read, times: TimeRange, offset: usize, len: usize) -> Result<BooleanArray, Error> {
        let column = self.column(&mut read.unpacker, self.shape.time_column)?;
        let values = &column.as_primitive::<TimestampNanosecondType>().values()[offset..offset + len];
        Ok(values.iter().map(|time| Some(times.contains(UnixNs(*time)))).collect())
    }

    fn column(&self, unpacker: &mut Unpacker, column: usize) -> Result<ArrayRef, Error> {
        match &self.data {
            Data::Hot(batch) => batch.columns().get(column).cloned().ok_or(Error::NoColumn { index: column, columns: batch.num_columns() }),
            Data::Sealed(sealed) => sealed.column(unpacker, column, self.rows),
        }
    }
}

/// How a scan or a cursor reads batches.
pub(crate) struct Read {
    projection: Vec<usize>,
    schema: SchemaRef,
    unpacker: Unpacker,
}

impl Read {
    /// Of the given columns, or all.
    pub(crate) fn new(shape: &Shape, projection: Option<&[usize]>) -> Result<Self, Error> {
        let columns = shape.schema.fields().len();
        let projection = projection.map_or_else(|| (0..columns).collect(), <[usize]>::to_vec);
        if let Some(index) = projection.iter().find(|i| **i >= columns) {
            return Err(Error::NoColumn { index: *index, columns });
        }
        let schema = Arc::new(shape.schema.project(&projection)?);
        Ok(Self { projection, schema, unpacker: Unpacker::new()? })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}
