//! The wire's tables and row batches as ours. Errors say what the server did wrong.

use std::sync::Arc;

use api::vizierpb::column::ColData;
use api::vizierpb::{Relation as WireRelation, RowBatchData, UInt128};
use arrow::array::{ArrayRef, BooleanArray, FixedSizeBinaryBuilder, Float64Array, Int64Array, StringBuilder, TimestampNanosecondArray};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use tables::{ColumnDef, DataType, Relation, SemanticType, UINT128_BYTES};

pub(crate) fn relation(wire: WireRelation) -> Result<Relation, String> {
    let column = |column: api::vizierpb::relation::ColumnInfo| {
        let number = column.column_type;
        let data_type = DataType::from_number(number)
            .ok_or_else(|| format!("column `{}` has type {number}, which does not exist", column.column_name))?;
        // Newer servers may know more meanings than we do.
        let semantic_type = SemanticType::from_number(column.column_semantic_type).unwrap_or(SemanticType::Unspecified);
        Ok(ColumnDef { name: column.column_name, data_type, semantic_type })
    };
    Ok(Relation { columns: wire.columns.into_iter().map(column).collect::<Result<_, String>>()? })
}

pub(crate) fn rows(relation: &Relation, batch: &RowBatchData) -> Result<RecordBatch, String> {
    if batch.cols.len() != relation.columns.len() {
        return Err(format!("{} columns where {} were announced", batch.cols.len(), relation.columns.len()));
    }
    let rows = usize::try_from(batch.num_rows).map_err(|_| format!("{} rows", batch.num_rows))?;
    let mut arrays = Vec::with_capacity(batch.cols.len());
    for (def, column) in relation.columns.iter().zip(&batch.cols) {
        let wrong = || format!("column `{}` does not hold {} values", def.name, def.data_type);
        let array = values(def.data_type, column.col_data.as_ref().ok_or_else(wrong)?).ok_or_else(wrong)?;
        if array.len() != rows {
            return Err(format!("column `{}` has {} values in a batch of {rows} rows", def.name, array.len()));
        }
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(relation.arrow_schema()), arrays, &options).map_err(|error| error.to_string())
}

/// None if the values are of another type.
fn values(data_type: DataType, data: &ColData) -> Option<ArrayRef> {
    match (data_type, data) {
        (DataType::Boolean, ColData::BooleanData(c)) => Some(Arc::new(BooleanArray::from(c.data.clone()))),
        (DataType::Int64, ColData::Int64Data(c)) => Some(Arc::new(Int64Array::from(c.data.clone()))),
        (DataType::Float64, ColData::Float64Data(c)) => Some(Arc::new(Float64Array::from(c.data.clone()))),
        (DataType::Time64Ns, ColData::Time64nsData(c)) => Some(Arc::new(TimestampNanosecondArray::from(c.data.clone()))),
        (DataType::Uint128, ColData::Uint128Data(c)) => {
            let mut array = FixedSizeBinaryBuilder::with_capacity(c.data.len(), UINT128_BYTES);
            for UInt128 { low, high } in &c.data {
                array.append_value((u128::from(*high) << 64 | u128::from(*low)).to_be_bytes()).ok()?;
            }
            Some(Arc::new(array.finish()))
        }
        (DataType::String, ColData::StringData(c)) => {
            let mut array = StringBuilder::with_capacity(c.data.len(), c.data.iter().map(bytes::Bytes::len).sum());
            c.data.iter().for_each(|value| array.append_value(String::from_utf8_lossy(value)));
            Some(Arc::new(array.finish()))
        }
        (
            DataType::Boolean | DataType::Int64 | DataType::Float64 | DataType::Time64Ns | DataType::Uint128 | DataType::String,
            ColData::BooleanData(_)
            | ColData::Int64Data(_)
            | ColData::Float64Data(_)
            | ColData::Time64nsData(_)
            | ColData::Uint128Data(_)
            | ColData::StringData(_),
        ) => None,
    }
}
