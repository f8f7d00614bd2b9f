//! What a reader that follows a table sees, and what a table tells of rows that went.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::Int64Type;
use ids::UnixNs;
use proptest::prelude::*;
use table_store::{Cursor, Limits, Start, Stop, Table, TimeRange};
use tables::{ColumnDef, DataType, Relation, SemanticType};

const BATCH_ROWS: i64 = 100;
/// Of a table that holds a few batches.
const BYTES_MAX: u64 = 16 * 1024;

fn table() -> Arc<Table> {
    let column = |name: &str, data_type| ColumnDef { name: name.to_owned(), data_type, semantic_type: SemanticType::None };
    let relation = Relation { columns: vec![column("time_", DataType::Time64Ns), column("number", DataType::Int64)] };
    Arc::new(Table::new("t", relation, Limits { bytes_max: BYTES_MAX, seal_raw_bytes: 4096 }).unwrap())
}

/// Rows numbered from `first` on; a row's time is ten times its number.
fn append(table: &Table, first: i64, rows: i64) {
    let numbers = first..first + rows;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from_iter_values(numbers.clone().map(|number| number * 10))),
        Arc::new(Int64Array::from_iter_values(numbers)),
    ];
    table.append(RecordBatch::try_new(Arc::clone(table.schema()), columns).unwrap()).unwrap();
}

/// Counts how often a task would have been woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn rows_that_went_are_known_by_their_times() {
    let table = table();
    let times = |first, last| TimeRange { first: UnixNs(first), last: UnixNs(last) };
    append(&table, 0, BATCH_ROWS);
    assert!(!table.stats().may_have_expired(TimeRange::ALL));
    let mut next = BATCH_ROWS;
    while table.stats().rows_expired == 0 {
        append(&table, next, BATCH_ROWS);
        next += BATCH_ROWS;
    }
    let stats = table.stats();
    // Whole batches went: the last of their rows, and the first that stays, are neighbours.
    let (last_gone, oldest) = ((stats.rows_expired as i64 - 1) * 10, stats.rows_expired as i64 * 10);
    assert_eq!((stats.times_expired, stats.time_oldest), (Some(times(0, last_gone)), Some(UnixNs(oldest))));
    assert!(!stats.may_have_expired(times(last_gone + 1, i64::MAX)), "it went exactly before");
    assert!(stats.may_have_expired(times(last_gone, i64::MAX)), "the last that went is inside");
    assert!(stats.may_have_expired(TimeRange::ALL));
    assert!(!stats.may_have_expired(times(i64::MIN, -1)), "before anything that ever was");
}

#[test]
fn a_reader_at_the_end_is_woken_by_the_next_rows_once() {
    let table = table();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    append(&table, 0, 3);
    let mut cursor = Cursor::new(Arc::clone(&table), None, Start::Newest, Stop::Never).unwrap();
    assert!(cursor.poll_batch(&mut context).is_pending() && cursor.poll_batch(&mut context).is_pending());
    append(&table, 3, 2);
    append(&table, 5, 1);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    let Poll::Ready(Some(Ok(next))) = cursor.poll_batch(&mut context) else { panic!("no rows") };
    assert_eq!(next.rows.column(1).as_primitive::<Int64Type>().values().to_vec(), [3, 4]);
    let Poll::Ready(Some(Ok(next))) = cursor.poll_batch(&mut context) else { panic!("no rows") };
    assert_eq!(next.rows.column(1).as_primitive::<Int64Type>().values().to_vec(), [5]);
    assert!(cursor.poll_batch(&mut context).is_pending());
    drop(cursor);
    append(&table, 6, 1);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "who is gone is not woken");
}

#[test]
fn a_reader_with_an_end_ends_with_the_first_later_rows() {
    let table = table();
    let mut context = Context::from_waker(Waker::noop());
    let mut cursor = Cursor::new(Arc::clone(&table), None, Start::Oldest, Stop::Time(UnixNs(25))).unwrap();
    assert!(cursor.poll_batch(&mut context).is_pending());
    append(&table, 0, 5);
    let Poll::Ready(Some(Ok(next))) = cursor.poll_batch(&mut context) else { panic!("no rows") };
    assert_eq!(next.rows.num_rows(), 3);
    append(&table, 5, 5);
    assert!(matches!(cursor.poll_batch(&mut context), Poll::Ready(None)));
}

proptest! {
    /// Only rows that expired before the reader came to them are left out, and they are counted.
    #[test]
    fn a_follower_reads_each_row_once_and_in_order(steps in prop::collection::vec((0i64..150, any::<bool>(), any::<bool>()), 1..80)) {
        let table = table();
        let mut context = Context::from_waker(Waker::noop());
        let mut cursor = Cursor::new(Arc::clone(&table), Some(&[1]), Start::Newest, Stop::Never).unwrap();
        let (mut next, mut seen) = (0, 0);
        let last = (0, true, true);
        for (rows, seal, read) in steps.into_iter().chain([last]) {
            append(&table, next, rows);
            next += rows;
            if seal {
                table.seal().unwrap();
            }
            while read && let Poll::Ready(Some(batch)) = cursor.poll_batch(&mut context) {
                let batch = batch.unwrap();
                seen += batch.rows_missed as i64;
                for number in batch.rows.column(0).as_primitive::<Int64Type>().values() {
                    prop_assert_eq!(*number, seen);
                    seen += 1;
                }
            }
        }
        prop_assert_eq!(seen, next);
    }
}
