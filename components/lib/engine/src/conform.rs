//! Gives a batch exactly the columns that its relation promises.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, Scalar};
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::compute::{cast, is_not_null};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{Result, ScalarValue, internal_err};

/// The batch in the given schema: strings as plain arrays, defaults in place of NULL, which PxL does not have.
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        return internal_err!("a plan yields {} columns instead of {}", batch.num_columns(), schema.fields().len());
    }
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| conform_column(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "DataFusion knows the defaults of the other types")]
fn conform_column(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let column = if column.data_type() == data_type { Arc::clone(column) } else { cast(column, data_type)? };
    if column.null_count() == 0 {
        return Ok(column);
    }
    let default = match data_type {
        DataType::FixedSizeBinary(width) => ScalarValue::FixedSizeBinary(*width, Some(vec![0; usize::try_from(*width).unwrap_or(0)])),
        DataType::Timestamp(_, _) => ScalarValue::TimestampNanosecond(Some(0), None),
        other => ScalarValue::new_default(other)?,
    };
    Ok(zip(&is_not_null(&column)?, &column, &Scalar::new(default.to_array()?))?)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{AsArray, Int64Array, StringViewArray};
    use datafusion::arrow::datatypes::{Field, Int64Type, Schema};

    use super::*;

    #[test]
    fn views_and_nulls_become_plain_values() {
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringViewArray::from(vec![Some("a"), None])), Arc::new(Int64Array::from(vec![None, Some(5)]))];
        let got = Schema::new(vec![Field::new("text", DataType::Utf8View, true), Field::new("number", DataType::Int64, true)]);
        let want = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, false), Field::new("number", DataType::Int64, false)]));
        let batch = conform(&RecordBatch::try_new(Arc::new(got), columns).unwrap(), &want).unwrap();
        assert_eq!(batch.schema(), want);
        assert_eq!(batch.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", ""]);
        assert_eq!(batch.column(1).as_primitive::<Int64Type>().values().to_vec(), [0, 5]);
    }

    #[test]
    fn another_number_of_columns_is_our_error() {
        let empty = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let want = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, false)]));
        assert!(conform(&empty, &want).is_err());
    }
}
