//! Rows of http_events, and the script that asks for them.

#[allow(clippy::unwrap_used, unreachable_pub, reason = "shared with the benchmarks of the table store")]
#[path = "../../../components/lib/table-store/benches/rows/mod.rs"]
mod rows;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use table_store::{Budget, TableStore};

/// Rows of one append.
const BATCH_ROWS: u32 = 1000;
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
    let batches = rows.div_ceil(BATCH_ROWS);
    let mut random = rows::Random(number);
    for batch in 0..batches {
        let time = now - HISTORY_NS + HISTORY_NS / i64::from(batches) * i64::from(batch);
        let count = BATCH_ROWS.min(rows - batch * BATCH_ROWS);
        table.append(rows::http_events(&mut random, time, count as usize))?;
        table.seal()?;
    }
    Ok(Arc::new(store))
}

/// `px/http_data` as its users call it: its text, and the values of its arguments.
///
/// # Errors
/// The library does not have it.
pub fn http_data() -> Result<(String, Vec<(String, String)>)> {
    let text = scripts::get("px/http_data").context("no px/http_data")?.pxl.to_owned();
    let args = [("start_time", "-5m"), ("source_filter", ""), ("destination_filter", ""), ("path_filter", ""), ("max_num_records", "1000")];
    Ok((text, args.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()))
}
