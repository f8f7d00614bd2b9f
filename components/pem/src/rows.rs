//! Rows of any table that agents fill, as Arrow columns.

use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampNanosecondBuilder,
};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use ids::{UnixNs, Upid};
use tables::{DataType, Table, UINT128_BYTES};

enum Column {
    Boolean(BooleanBuilder),
    Int64(Int64Builder),
    Uint128(FixedSizeBinaryBuilder),
    Float64(Float64Builder),
    String(StringBuilder),
    Time64Ns(TimestampNanosecondBuilder),
}

impl Column {
    fn new(data_type: DataType) -> Column {
        match data_type {
            DataType::Boolean => Column::Boolean(BooleanBuilder::new()),
            DataType::Int64 => Column::Int64(Int64Builder::new()),
            DataType::Uint128 => Column::Uint128(FixedSizeBinaryBuilder::new(UINT128_BYTES)),
            DataType::Float64 => Column::Float64(Float64Builder::new()),
            DataType::String => Column::String(StringBuilder::new()),
            DataType::Time64Ns => Column::Time64Ns(TimestampNanosecondBuilder::new()),
        }
    }

    /// The values so far, all of them of `rows` rows. Room for as many is made again: growing step by step would copy them all once more.
    fn finish(&mut self, rows: usize) -> ArrayRef {
        match self {
            Column::Boolean(b) => Arc::new(std::mem::replace(b, BooleanBuilder::with_capacity(rows)).finish()),
            Column::Int64(b) => Arc::new(std::mem::replace(b, Int64Builder::with_capacity(rows)).finish()),
            Column::Uint128(b) => Arc::new(std::mem::replace(b, FixedSizeBinaryBuilder::with_capacity(rows, UINT128_BYTES)).finish()),
            Column::Float64(b) => Arc::new(std::mem::replace(b, Float64Builder::with_capacity(rows)).finish()),
            Column::String(b) => {
                let bytes = b.values_slice().len();
                Arc::new(std::mem::replace(b, StringBuilder::with_capacity(rows, bytes)).finish())
            }
            Column::Time64Ns(b) => Arc::new(std::mem::replace(b, TimestampNanosecondBuilder::with_capacity(rows)).finish()),
        }
    }
}

/// Rows of one table that were not appended to the store yet.
pub(crate) struct Rows {
    table: &'static Table,
    schema: Arc<Schema>,
    columns: Vec<Column>,
    /// The last address of each column and its text: one connection's rows come together, and writing an address costs as much as parsing a head.
    addresses: Vec<Option<(IpAddr, String)>>,
    count: usize,
}

impl Rows {
    pub(crate) fn new(table: &'static Table) -> Rows {
        let columns = table.columns.iter().map(|c| Column::new(c.data_type)).collect();
        Rows { table, schema: Arc::new(table.arrow_schema()), columns, addresses: vec![None; table.columns.len()], count: 0 }
    }

    pub(crate) fn table(&self) -> &'static Table {
        self.table
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Begins a row; its values follow in the order of the columns.
    pub(crate) fn row(&mut self) -> Row<'_> {
        self.count += 1;
        Row { rows: self, next: 0 }
    }

    /// The rows since the last call; `None` if there are none.
    ///
    /// # Errors
    /// If a row was written with values that are not its columns': a defect of ours.
    pub(crate) fn take(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        if self.count == 0 {
            return Ok(None);
        }
        let rows = std::mem::take(&mut self.count);
        let arrays = self.columns.iter_mut().map(|column| column.finish(rows)).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), arrays).map(Some)
    }
}

/// A row being written. A value of another type than the column's is left out, and [`Rows::take`] fails.
pub(crate) struct Row<'a> {
    rows: &'a mut Rows,
    next: usize,
}

impl Row<'_> {
    fn column(&mut self) -> Option<&mut Column> {
        let column = self.rows.columns.get_mut(self.next);
        self.next += 1;
        column
    }

    pub(crate) fn time(mut self, value: UnixNs) -> Self {
        if let Some(Column::Time64Ns(b)) = self.column() {
            b.append_value(value.0);
        }
        self
    }

    pub(crate) fn upid(mut self, value: Upid) -> Self {
        if let Some(Column::Uint128(b)) = self.column() {
            // The width is the column's by construction of both.
            let _ = b.append_value(value.to_be_bytes());
        }
        self
    }

    pub(crate) fn int(mut self, value: i64) -> Self {
        if let Some(Column::Int64(b)) = self.column() {
            b.append_value(value);
        }
        self
    }

    pub(crate) fn boolean(mut self, value: bool) -> Self {
        if let Some(Column::Boolean(b)) = self.column() {
            b.append_value(value);
        }
        self
    }

    pub(crate) fn text(mut self, value: &str) -> Self {
        if let Some(Column::String(b)) = self.column() {
            b.append_value(value);
        }
        self
    }

    /// The text of an address, `""` if there is none.
    pub(crate) fn ip(self, value: Option<IpAddr>) -> Self {
        let Some(address) = value else { return self.text("") };
        let known = self.rows.addresses.get_mut(self.next).and_then(Option::take).filter(|(last, _)| *last == address);
        let (_, text) = known.unwrap_or_else(|| (address, address.to_string()));
        let at = self.next;
        let row = self.text(&text);
        if let Some(slot) = row.rows.addresses.get_mut(at) {
            *slot = Some((address, text));
        }
        row
    }

    /// Ends the row.
    pub(crate) fn end(self) {
        debug_assert_eq!(self.next, self.rows.columns.len(), "row of {}", self.rows.table.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray as _;
    use ids::Asid;

    #[test]
    fn a_row_becomes_columns_in_the_order_of_the_table() {
        let mut rows = Rows::new(&tables::PROC_EXIT_EVENTS);
        rows.row().time(UnixNs(5)).upid(Upid::new(Asid(1), 2, 3)).int(0).int(9).text("nginx").end();
        assert_eq!(rows.count(), 1);
        let batch = rows.take().unwrap().unwrap();
        assert_eq!((batch.num_rows(), batch.schema().field(4).name().as_str()), (1, "comm"));
        assert!(rows.take().unwrap().is_none());
    }

    #[test]
    fn an_address_is_its_own_text_whatever_came_before_it() {
        let mut rows = Rows::new(&tables::CONN_STATS);
        let addresses = ["10.0.0.1", "10.0.0.1", "", "10.0.0.1", "::1", "10.0.0.2"];
        for address in addresses {
            let row = rows.row().time(UnixNs(5)).upid(Upid::NONE).ip(address.parse().ok());
            row.int(1).int(1).int(2).int(1).boolean(false).int(1).int(0).int(1).int(0).int(0).end();
        }
        let batch = rows.take().unwrap().unwrap();
        let texts = batch.column_by_name("remote_addr").unwrap().as_string::<i32>();
        assert_eq!(texts.iter().flatten().collect::<Vec<_>>(), addresses);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_an_error_and_not_a_shifted_column() {
        let mut rows = Rows::new(&tables::PROC_EXIT_EVENTS);
        rows.row().time(UnixNs(5)).upid(Upid::NONE).text("not a number").int(9).text("nginx").end();
        assert!(rows.take().is_err());
    }
}
