//! Appending, sealing and scanning rows of http_events.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "a measurement")]

use arrow::array::RecordBatch;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ids::UnixNs;
use table_store::{Limits, Table, TimeRange};
use tables::Relation;

mod rows;

/// Of 200 ms each, at 100 requests a second.
const BATCHES: usize = 500;
const ROWS: usize = 20;
const START: i64 = 1_763_836_800_000_000_000;
const STEP: i64 = 200_000_000;

fn batches() -> Vec<RecordBatch> {
    let mut random = rows::Random(1);
    (0..BATCHES).map(|i| rows::http_events(&mut random, START + i as i64 * STEP, ROWS)).collect()
}

fn table(bytes_max: u64) -> Table {
    Table::new("http_events", Relation::from(&tables::HTTP_EVENTS), Limits { bytes_max, ..Limits::new(u64::MAX) }).unwrap()
}

fn filled(batches: &[RecordBatch]) -> Table {
    let table = table(u64::MAX);
    for batch in batches {
        table.append(batch.clone()).unwrap();
    }
    table
}

fn bench(c: &mut Criterion) {
    let batches = batches();
    let mut group = c.benchmark_group("http_events");
    group.throughput(Throughput::Elements((BATCHES * ROWS) as u64));
    group.bench_function("append", |b| b.iter_with_large_drop(|| filled(&batches)));
    group.bench_function("append to a full table", |b| {
        let full = table(2 << 20);
        b.iter(|| {
            for batch in &batches {
                full.append(batch.clone()).unwrap();
            }
        });
    });
    group.bench_function("seal", |b| b.iter_batched(|| filled(&batches), |table| table.seal().unwrap(), BatchSize::LargeInput));
    let hot = filled(&batches);
    let sealed = filled(&batches);
    sealed.seal().unwrap();
    let count = |table: &Table, projection: Option<&[usize]>, times| -> usize {
        table.snapshot().scan(projection, times).unwrap().map(|batch| batch.unwrap().num_rows()).sum()
    };
    let last_second = TimeRange { first: UnixNs(START + (BATCHES as i64 - 5) * STEP), last: UnixNs(i64::MAX) };
    for (name, table) in [("hot", &hot), ("sealed", &sealed)] {
        group.bench_function(format!("scan {name}, all columns"), |b| b.iter(|| count(table, None, TimeRange::ALL)));
        group.bench_function(format!("scan {name}, time and latency"), |b| b.iter(|| count(table, Some(&[0, 21]), TimeRange::ALL)));
        group.bench_function(format!("scan {name}, last second"), |b| b.iter(|| count(table, None, last_second)));
    }
    group.finish();
}

criterion_group!(table_benches, bench);
criterion_main!(table_benches);
