//! What was missing in the rows that a query read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::{AsArray, RecordBatch, StringArray};
use ids::UnixNs;
use table_store::{Stats, TimeRange};

/// What ends a text that was cut on its way into a table.
const TRUNCATED: &str = "... [TRUNCATED]";

/// How complete the rows were that one agent had of a table when a query read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableQuality {
    /// Which.
    pub table: String,
    /// The earliest time that was asked for; none: from the oldest row on.
    pub asked_from: Option<UnixNs>,
    /// Of the oldest row that there was; none: there was no row.
    pub oldest: Option<UnixNs>,
    /// Rows that went for lack of room, since the agent began.
    pub rows_expired: u64,
    /// Whether some of them may have belonged to what was asked for. Where it says no, none did.
    pub expired_in_range: bool,
    /// Rows read in which a value was cut, of the columns that were read. Filters come after: rows that they drop count, and a table that is
    /// read twice counts twice.
    pub rows_truncated: u64,
    /// Events that never became rows, since the agent began. Of all tables together.
    pub events_lost: u64,
}

impl TableQuality {
    /// Of a scan that begins.
    pub(crate) fn of_scan(table: &str, stats: &Stats, times: TimeRange) -> Self {
        Self {
            table: table.to_owned(),
            asked_from: (times.first > TimeRange::ALL.first).then_some(times.first),
            oldest: stats.time_oldest,
            rows_expired: stats.rows_expired,
            expired_in_range: stats.may_have_expired(times),
            rows_truncated: 0,
            events_lost: 0,
        }
    }

    /// Together with another scan of the same table in the same query.
    pub(crate) fn join(&mut self, other: &TableQuality) {
        let TableQuality { table: _, asked_from, oldest, rows_expired, expired_in_range, rows_truncated, events_lost } = *other;
        self.asked_from = self.asked_from.min(asked_from);
        self.oldest = match (self.oldest, oldest) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.rows_expired = self.rows_expired.max(rows_expired);
        self.expired_in_range |= expired_in_range;
        self.rows_truncated += rows_truncated;
        self.events_lost = self.events_lost.max(events_lost);
    }
}

/// Events that never became rows because nobody read the kernel's ring in time. Whoever reads the ring counts here.
#[derive(Debug, Clone, Default)]
pub struct EventsLost(Arc<AtomicU64>);

impl EventsLost {
    /// So many more.
    pub fn add(&self, events: u64) {
        self.0.fetch_add(events, Ordering::Relaxed);
    }

    /// So many in all, where the source has a counter of its own.
    pub fn set(&self, events: u64) {
        self.0.store(events, Ordering::Relaxed);
    }

    /// Since the agent began.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Rows of the batch in which a text ends as only one that was cut does.
pub(crate) fn truncated(batch: &RecordBatch) -> u64 {
    let texts: Vec<&StringArray> = batch.columns().iter().filter_map(|column| column.as_string_opt()).collect();
    let cut = |row: &usize| texts.iter().any(|text| text.value(*row).ends_with(TRUNCATED));
    (0..batch.num_rows()).filter(cut).count() as u64
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, ArrayRef, Int64Array};
    use datafusion::arrow::datatypes::{Field, Schema};

    use super::*;

    #[test]
    fn a_row_counts_once_however_many_of_its_values_were_cut() {
        let text = |values: [&str; 4]| Arc::new(StringArray::from_iter_values(values)) as ArrayRef;
        let cut = format!("{{\"a\": 1{TRUNCATED}");
        let columns = vec![
            text([&cut, "", TRUNCATED, "no"]),
            Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
            text([&cut, "... [TRUNCATED] not", "", "[TRUNCATED]"]),
        ];
        let fields = columns.iter().map(|column: &ArrayRef| Field::new("c", column.data_type().clone(), false)).collect::<Vec<_>>();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        assert_eq!(truncated(&batch), 2);
        assert_eq!(truncated(&batch.project(&[1]).unwrap()), 0);
    }

    #[test]
    fn the_mark_is_the_one_that_parsers_make() {
        assert_eq!(TRUNCATED, protocols::TRUNCATED);
    }

    #[test]
    fn two_scans_of_a_table_are_as_good_as_the_worse() {
        let at = |ns| Some(UnixNs(ns));
        let mut one = TableQuality { asked_from: at(5), oldest: at(3), rows_expired: 1, rows_truncated: 2, ..TableQuality::default() };
        one.join(&TableQuality { expired_in_range: true, rows_expired: 4, rows_truncated: 3, ..TableQuality::default() });
        let want = TableQuality { oldest: at(3), rows_expired: 4, expired_in_range: true, rows_truncated: 5, ..TableQuality::default() };
        assert_eq!(one, want);
    }
}
