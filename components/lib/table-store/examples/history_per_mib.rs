//! How much history a MiB holds: rows of http_events in a table, hot and sealed in batches of several sizes, against plain Arrow and
//! Arrow's own compressed format. `cargo run --release -p table-store --example history_per_mib`

#![allow(clippy::print_stdout, reason = "a report for people")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "a measurement")]

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use table_store::{Limits, Table, TimeRange};
use tables::Relation;

#[path = "../benches/rows/mod.rs"]
mod rows;

/// Of 200 ms each, at 100 requests a second.
const BATCHES: usize = 5000;
const ROWS: usize = 20;
const KIB: u64 = 1024;

fn main() {
    let mut random = rows::Random(1);
    let batches: Vec<_> =
        (0..BATCHES).map(|i| rows::http_events(&mut random, 1_763_836_800_000_000_000 + i as i64 * 200_000_000, ROWS)).collect();
    let raw = sealed(&batches, u64::MAX).0;
    println!("{:<34} {:>8} {:>10} {:>9} {:>12} {:>12}", "", "bytes/row", "rows/MiB", "× plain", "seal µs/row", "scan µs/row");
    let report = |what: &str, bytes: f64, seal_us: f64, scan_us: f64| {
        let per_row = bytes / (BATCHES * ROWS) as f64;
        println!("{what:<34} {per_row:>8.1} {:>10.0} {:>9.2} {seal_us:>12.2} {scan_us:>12.2}", 1_048_576.0 / per_row, raw / bytes);
    };
    report("plain Arrow", raw, 0.0, 0.0);
    for kib in [64, 256, 1024, 4096] {
        let (bytes, seal_us, scan_us) = sealed(&batches, kib * KIB);
        report(&format!("sealed at {kib} KiB"), bytes, seal_us, scan_us);
        let start = cpu_us();
        let bytes = ipc(&batches, raw, kib * KIB);
        report(&format!("Arrow IPC, zstd, at {kib} KiB"), bytes, (cpu_us() - start) / (BATCHES * ROWS) as f64, 0.0);
    }
}

/// Microseconds of this thread: other programs do not disturb it.
#[allow(clippy::disallowed_methods, reason = "a measurement is no part of the library")]
fn cpu_us() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1000.0
}

/// Bytes held, and microseconds of CPU a row to seal and to scan all columns.
fn sealed(batches: &[RecordBatch], seal_raw_bytes: u64) -> (f64, f64, f64) {
    let limits = Limits { bytes_max: u64::MAX, seal_raw_bytes };
    let table = Table::new("http_events", Relation::from(&tables::HTTP_EVENTS), limits).unwrap();
    for batch in batches {
        table.append(batch.clone()).unwrap();
    }
    let start = cpu_us();
    table.seal().unwrap();
    let seal = cpu_us() - start;
    let stats = table.stats();
    let start = cpu_us();
    let rows: usize = table.snapshot().scan(None, TimeRange::ALL).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    let hot = if stats.bytes_sealed == 0 { stats.bytes_raw } else { stats.bytes_hot };
    let held = (hot + stats.bytes_sealed) as f64;
    (held, seal / rows as f64, (cpu_us() - start) / rows as f64)
}

fn ipc(batches: &[RecordBatch], raw: f64, raw_bytes: u64) -> f64 {
    let group = (raw_bytes as f64 / raw * BATCHES as f64).ceil() as usize;
    let pack = |group: &[RecordBatch]| {
        let merged = concat_batches(&group[0].schema(), group).unwrap();
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &merged.schema(), options).unwrap();
        writer.write(&merged).unwrap();
        writer.into_inner().unwrap().len()
    };
    batches.chunks(group).map(pack).sum::<usize>() as f64
}
