//! Arrow batches as the wire's row batches, cut to size.

use api::vizierpb::column::ColData;
use api::vizierpb::relation::ColumnInfo;
use api::vizierpb::{
    BooleanColumn, Column, Float64Column, Int64Column, Relation as WireRelation, RowBatchData, StringColumn, Time64NsColumn, UInt128,
    UInt128Column,
};
use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use prost::Message as _;
use tables::{DataType, Relation};

/// Rows that cannot be put on the wire.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    /// Our fault.
    #[error("output `{output}` has {found} columns where {wanted} were announced")]
    ColumnCount { output: String, found: usize, wanted: usize },
    /// Our fault.
    #[error("column `{column}` holds {found}, not {wanted}")]
    ColumnType { column: String, found: String, wanted: DataType },
    /// A script made it.
    #[error(
        "a row of `{output}` has {bytes} bytes, more than {max} cannot be sent: select fewer columns, or shorten them with px.substring"
    )]
    RowTooLarge { output: String, bytes: usize, max: usize },
}

/// The columns of a table as they are announced.
pub(crate) fn relation(relation: &Relation) -> WireRelation {
    let columns = relation.columns.iter().map(|column| ColumnInfo {
        column_name: column.name.clone(),
        column_type: column.data_type.number(),
        column_desc: String::new(),
        column_semantic_type: column.semantic_type.number(),
    });
    WireRelation { columns: columns.collect() }
}

/// A batch without rows that ends its table.
pub(crate) fn end_of_table(relation: &Relation, table_id: &str) -> RowBatchData {
    let cols = relation.columns.iter().map(|column| Column { col_data: Some(empty(column.data_type)) }).collect();
    RowBatchData { table_id: table_id.to_owned(), cols, num_rows: 0, eow: true, eos: true }
}

/// Turns batches of one output into row batches.
pub(crate) struct Encoder<'a> {
    pub(crate) output: &'a str,
    pub(crate) relation: &'a Relation,
    pub(crate) table_id: &'a str,
    /// Encoded bytes of one row batch.
    pub(crate) bytes_max: usize,
    /// Encoded bytes of a row batch of a single row.
    pub(crate) row_bytes_max: usize,
}

/// Row batches of a batch, and how many of its values were NULL.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    pub(crate) batches: Vec<RowBatchData>,
    pub(crate) nulls: u64,
}

impl Encoder<'_> {
    pub(crate) fn encode(&self, batch: &RecordBatch) -> Result<Encoded, EncodeError> {
        if batch.num_columns() != self.relation.columns.len() {
            let (found, wanted) = (batch.num_columns(), self.relation.columns.len());
            return Err(EncodeError::ColumnCount { output: self.output.to_owned(), found, wanted });
        }
        let columns: Vec<ArrayRef> = self
            .relation
            .columns
            .iter()
            .zip(batch.columns())
            .map(|(c, array)| aligned(&c.name, c.data_type, array))
            .collect::<Result<_, _>>()?;
        let nulls = columns.iter().map(|c| c.null_count() as u64).sum();
        let mut encoded = Encoded { batches: Vec::new(), nulls };
        self.cut(&columns, 0, batch.num_rows(), &mut encoded.batches)?;
        Ok(encoded)
    }

    /// Encodes the rows, in as many batches as their size needs.
    fn cut(&self, columns: &[ArrayRef], start: usize, rows: usize, into: &mut Vec<RowBatchData>) -> Result<(), EncodeError> {
        if rows == 0 {
            return Ok(());
        }
        let cols = columns.iter().zip(&self.relation.columns).map(|(array, c)| column(c.data_type, &array.slice(start, rows)));
        let table_id = self.table_id.to_owned();
        let whole = RowBatchData { table_id, cols: cols.collect(), num_rows: rows as i64, eow: false, eos: false };
        let bytes = whole.encoded_len();
        if bytes <= self.bytes_max || (rows == 1 && bytes <= self.row_bytes_max) {
            into.push(whole);
            return Ok(());
        }
        drop(whole);
        if rows == 1 {
            return Err(EncodeError::RowTooLarge { output: self.output.to_owned(), bytes, max: self.row_bytes_max });
        }
        let pieces = (bytes / self.bytes_max + 1).min(rows);
        for piece in 0..pieces {
            let (from, to) = (rows * piece / pieces, rows * (piece + 1) / pieces);
            self.cut(columns, start + from, to - from, into)?;
        }
        Ok(())
    }
}

/// The array as the announced type has it: engines may yield views or dictionaries of the same values.
fn aligned(name: &str, data_type: DataType, array: &ArrayRef) -> Result<ArrayRef, EncodeError> {
    let wanted = data_type.to_arrow();
    if *array.data_type() == wanted {
        return Ok(array.clone());
    }
    let wrong = || EncodeError::ColumnType { column: name.to_owned(), found: array.data_type().to_string(), wanted: data_type };
    if !same_values(array.data_type(), &wanted) {
        return Err(wrong());
    }
    cast(array, &wanted).map_err(|_| wrong())
}

fn same_values(found: &arrow::datatypes::DataType, wanted: &arrow::datatypes::DataType) -> bool {
    use arrow::datatypes::DataType as A;
    if let A::Dictionary(_, values) = found {
        return same_values(values, wanted);
    }
    let texts = |t: &A| matches!(t, A::Utf8 | A::LargeUtf8 | A::Utf8View);
    let times = |t: &A| matches!(t, A::Timestamp(_, _));
    found == wanted || (texts(found) && texts(wanted)) || (times(found) && times(wanted))
}

fn empty(data_type: DataType) -> ColData {
    match data_type {
        DataType::Boolean => ColData::BooleanData(BooleanColumn::default()),
        DataType::Int64 => ColData::Int64Data(Int64Column::default()),
        DataType::Uint128 => ColData::Uint128Data(UInt128Column::default()),
        DataType::Float64 => ColData::Float64Data(Float64Column::default()),
        DataType::String => ColData::StringData(StringColumn::default()),
        DataType::Time64Ns => ColData::Time64nsData(Time64NsColumn::default()),
    }
}

/// `array` has the type that `data_type` stands for.
fn column(data_type: DataType, array: &ArrayRef) -> Column {
    let data = match data_type {
        DataType::Boolean => {
            ColData::BooleanData(BooleanColumn { data: array.as_boolean().iter().map(Option::unwrap_or_default).collect() })
        }
        DataType::Int64 => {
            ColData::Int64Data(Int64Column { data: array.as_primitive::<Int64Type>().iter().map(Option::unwrap_or_default).collect() })
        }
        DataType::Uint128 => {
            let values = array.as_fixed_size_binary().iter().map(|value| value.map_or(UInt128::default(), halves));
            ColData::Uint128Data(UInt128Column { data: values.collect() })
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().iter().map(Option::unwrap_or_default);
            ColData::Float64Data(Float64Column { data: values.collect() })
        }
        DataType::String => ColData::StringData(StringColumn { data: texts(array) }),
        DataType::Time64Ns => {
            let values = array.as_primitive::<TimestampNanosecondType>().iter().map(Option::unwrap_or_default);
            ColData::Time64nsData(Time64NsColumn { data: values.collect() })
        }
    };
    Column { col_data: Some(data) }
}

fn halves(value: &[u8]) -> UInt128 {
    let mut whole = [0; 16];
    whole.copy_from_slice(value);
    let whole = u128::from_be_bytes(whole);
    UInt128 { low: whole as u64, high: (whole >> 64) as u64 }
}

/// Values of a text column, none of them copied: each shares the array's buffer.
fn texts(array: &ArrayRef) -> Vec<Bytes> {
    struct Owner(arrow::buffer::Buffer);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0.as_slice()
        }
    }
    let array = array.as_string::<i32>();
    let all = Bytes::from_owner(Owner(array.values().clone()));
    let offsets = array.value_offsets();
    let value = |i: usize| if array.is_null(i) { Bytes::new() } else { all.slice(offsets[i] as usize..offsets[i + 1] as usize) };
    (0..array.len()).map(value).collect()
}
