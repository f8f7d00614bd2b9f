//! What holds for any order of appending, sealing, expiring and reading.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use ids::UnixNs;
use proptest::prelude::*;
use table_store::{Cursor, Limits, Snapshot, Start, Stop, Table, TimeRange};
use tables::{ColumnDef, DataType, Relation, SemanticType};

/// Columns of every type; `number` counts the rows appended.
fn relation() -> Relation {
    let column = |name: &str, data_type| ColumnDef { name: name.to_owned(), data_type, semantic_type: SemanticType::None };
    Relation {
        columns: vec![
            column("time_", DataType::Time64Ns),
            column("number", DataType::Int64),
            column("wide", DataType::Uint128),
            column("flag", DataType::Boolean),
            column("real", DataType::Float64),
            column("text", DataType::String),
        ],
    }
}

const NUMBER: usize = 1;

fn rows(first: i64, rows: i64, distinct: i64) -> RecordBatch {
    let numbers = first..first + rows;
    let wide: Vec<_> = numbers.clone().map(|n| (n % distinct).to_be_bytes().repeat(2)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from_iter_values(numbers.clone().map(time_of))),
        Arc::new(Int64Array::from_iter_values(numbers.clone())),
        Arc::new(if rows == 0 {
            FixedSizeBinaryArray::try_new(16, arrow::buffer::Buffer::from_vec(Vec::<u8>::new()), None).unwrap()
        } else {
            FixedSizeBinaryArray::try_from_iter(wide.into_iter()).unwrap()
        }),
        Arc::new(numbers.clone().map(|n| Some(n % 3 == 0)).collect::<BooleanArray>()),
        Arc::new(Float64Array::from_iter_values(numbers.clone().map(|n| n as f64 / 7.0))),
        Arc::new(StringArray::from_iter_values(numbers.map(|n| "größe ".repeat((n % distinct) as usize)))),
    ];
    RecordBatch::try_new(Arc::new(relation().arrow_schema()), columns).unwrap()
}

/// Nearly in order.
fn time_of(number: i64) -> i64 {
    number * 10 - (number % 4) * 15
}

fn numbers(batch: &RecordBatch, column: usize) -> Vec<i64> {
    batch.column(column).as_primitive::<Int64Type>().values().to_vec()
}

fn scan(snapshot: &Snapshot, times: TimeRange) -> RecordBatch {
    let batches: Vec<_> = snapshot.scan(None, times).unwrap().map(Result::unwrap).collect();
    concat_batches(snapshot.schema(), &batches).unwrap()
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Append { rows: i64, distinct: i64 },
    Seal,
    Read,
    Keep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0i64..40, 1i64..30).prop_map(|(rows, distinct)| Step::Append { rows, distinct }),
        2 => Just(Step::Seal),
        2 => Just(Step::Read),
        1 => Just(Step::Keep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_was_appended_is_scanned_but_for_an_expired_prefix(
        steps in prop::collection::vec(step(), 1..60), kilobytes in 12u64..200, seal_raw_bytes in 1u64..8000, from in 0i64..800, len in 0i64..800,
    ) {
        let limits = Limits { bytes_max: kilobytes * 1024, seal_raw_bytes };
        let table = Arc::new(Table::new("t", relation(), limits).unwrap());
        let mut cursor = Cursor::new(Arc::clone(&table), Some(&[NUMBER]), Start::Oldest, Stop::Never).unwrap();
        let (mut model, mut seen, mut missed, mut next) = (Vec::new(), Vec::new(), 0, 0);
        let mut kept = Vec::new();
        for step in steps {
            match step {
                Step::Append { rows: count, distinct } => {
                    let batch = rows(next, count, distinct);
                    if table.append(batch.clone()).is_ok() {
                        model.push(batch);
                        next += count;
                    }
                }
                Step::Seal => {
                    let before = table.stats();
                    let sealed = table.seal().unwrap();
                    let after = table.stats();
                    prop_assert_eq!(after.rows + after.rows_expired, before.rows + before.rows_expired);
                    prop_assert!(after.bytes_raw <= before.bytes_raw && sealed.rows <= before.rows);
                }
                Step::Read => while let Some(batch) = cursor.next_batch().unwrap() {
                    missed += batch.rows_missed;
                    seen.extend(numbers(&batch.rows, 0));
                    prop_assert_eq!(seen.len() as i64 + missed as i64, seen.last().unwrap() + 1);
                },
                Step::Keep => {
                    let snapshot = table.snapshot();
                    let rows = scan(&snapshot, TimeRange::ALL);
                    kept.push((snapshot, rows));
                }
            }
            let stats = table.stats();
            prop_assert!(stats.bytes() <= limits.bytes_max, "{:?}", stats);
            prop_assert_eq!(stats.rows + stats.rows_expired, stats.rows_added);
        }

        let schema = Arc::clone(table.schema());
        let model = concat_batches(&schema, &model).unwrap();
        let stats = table.stats();
        let expected = model.slice(stats.rows_expired as usize, stats.rows as usize);
        prop_assert_eq!(scan(&table.snapshot(), TimeRange::ALL), expected.clone());
        let strictly_increasing = seen.windows(2).all(|pair| pair[0] < pair[1]);
        prop_assert!(strictly_increasing, "{:?}", seen);
        for (snapshot, rows) in kept {
            prop_assert_eq!(scan(&snapshot, TimeRange::ALL), rows);
        }

        let times = TimeRange { first: UnixNs(from * 10), last: UnixNs((from + len) * 10) };
        let wanted: Vec<_> = numbers(&expected, NUMBER).into_iter().filter(|n| times.contains(UnixNs(time_of(*n)))).collect();
        prop_assert_eq!(numbers(&scan(&table.snapshot(), times), NUMBER), wanted);
    }
}
