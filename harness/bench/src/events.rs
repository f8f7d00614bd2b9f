//! Rows of http_events, and the script that asks for them.

#[allow(clippy::unwrap_used, unreachable_pub, reason = "shared with the benchmarks of the table store")]
#[path = "../../../components/lib/table-store/benches/rows/mod.rs"]
mod rows;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use table_store::{Budget, TableStore};

/// Rows of one append, at most.
const BATCH_ROWS_MAX: u32 = 1000;
/// Appends, if there are as many rows: so that the rows are spread.
const BATCHES_MIN: u32 = 10;
/// Over which the rows are spread.
const HISTORY_NS: i64 = 290_000_000_000;

/// All tables of an agent, with so many rows of the last five minutes in http_events. The same number gives the same rows.
///
/// # Errors
/// The table does not take them.
pub fn with_http_events(number: u64, rows: u32) -> Result<Arc<TableStore>> {
    let store = TableStore::new(&Budget::default())?;
    let table = store.table("http_events").context("no http_events")?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
    let batch_rows = BATCH_ROWS_MAX.min(rows.div_ceil(BATCHES_MIN));
    let batches = rows.div_ceil(batch_rows);
    let mut random = rows::Random(number);
    for batch in 0..batches {
        let time = now - HISTORY_NS + HISTORY_NS / i64::from(batches) * i64::from(batch);
        let count = batch_rows.min(rows - batch * batch_rows);
        table.append(rows::http_events(&mut random, time, count as usize))?;
        table.seal()?;
    }
    Ok(Arc::new(store))
}

/// `px/http_data` for 1000 rows: its text, and the values of its arguments. All rows stay within its time while a benchmark runs.
///
/// # Errors
/// The library does not have it.
pub fn http_data() -> Result<(String, Vec<(String, String)>)> {
    let text = scripts::get("px/http_data").context("no px/http_data")?.pxl.to_owned();
    let args =
        [("start_time", "-30m"), ("source_filter", ""), ("destination_filter", ""), ("path_filter", ""), ("max_num_records", "1000")];
    Ok((text, args.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()))
}
