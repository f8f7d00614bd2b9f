use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use ids::UnixNs;

use crate::batch::Read;
use crate::{Error, Table, TimeRange};

/// Where a cursor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest row there is.
    Oldest,
    /// At the first row of that time or later; earlier ones among the following are left out.
    Time(UnixNs),
    /// After the newest row there is.
    Newest,
}

/// Where a cursor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// At the row that was the newest when the cursor was made.
    CurrentEnd,
    /// Before the first batch that is all later than that time. Later rows among the earlier are left out.
    Time(UnixNs),
    /// Never: it waits for rows to come.
    Never,
}

/// Rows that a cursor came to.
#[derive(Debug, Clone)]
pub struct CursorBatch {
    /// In the order in which they were appended.
    pub rows: RecordBatch,
    /// Rows that went for the budget between those of the last batch and these, before the cursor came to them.
    pub rows_missed: u64,
}

/// Goes through a table as it grows: each row at most once, in the order in which they were appended.
pub struct Cursor {
    table: Arc<Table>,
    read: Read,
    times: TimeRange,
    next_row: u64,
    end_row: u64,
    /// Of `times`, if reaching it ends the cursor.
    stop_time: Option<UnixNs>,
    rows_missed: u64,
    done: bool,
    /// Where it waits.
    place: u64,
}

impl Cursor {
    /// Over the given columns, or all.
    ///
    /// # Errors
    /// If there is no such column.
    pub fn new(table: Arc<Table>, projection: Option<&[usize]>, start: Start, stop: Stop) -> Result<Self, Error> {
        let read = Read::new(table.shape(), projection)?;
        let view = table.view();
        let (next_row, first) = match start {
            Start::Oldest => (view.first_row(), UnixNs(i64::MIN)),
            Start::Newest => (view.next_row, UnixNs(i64::MIN)),
            Start::Time(time) => {
                let batch = view.batches.iter().find(|b| b.times.last >= time);
                (batch.map_or(view.next_row, |b| b.first_row), time)
            }
        };
        let (end_row, stop_time) = match stop {
            Stop::CurrentEnd => (view.next_row, None),
            Stop::Time(time) => (u64::MAX, Some(time)),
            Stop::Never => (u64::MAX, None),
        };
        let times = TimeRange { first, last: stop_time.unwrap_or(UnixNs(i64::MAX)) };
        let place = table.waiting().place();
        Ok(Self { table, read, times, next_row, end_row, stop_time, rows_missed: 0, done: false, place })
    }

    /// If there will be no more rows.
    pub fn is_done(&self) -> bool {
        self.done || self.next_row >= self.end_row
    }

    /// The next rows; none if there are none yet, or no more.
    ///
    /// # Errors
    /// If the rows cannot be unpacked; the cursor goes on behind them.
    pub fn next_batch(&mut self) -> Result<Option<CursorBatch>, Error> {
        let view = self.table.view();
        let oldest = view.first_row().min(self.end_row);
        self.rows_missed += oldest.saturating_sub(self.next_row);
        self.next_row = self.next_row.max(oldest);
        let from = self.next_row;
        for batch in view.batches.starting_at(move |b| b.end_row() <= from) {
            if self.is_done() {
                break;
            }
            if self.stop_time.is_some_and(|stop| batch.times.first > stop) {
                self.done = true;
                break;
            }
            let rows = self.next_row..self.end_row;
            self.next_row = batch.end_row();
            if let Some(rows) = batch.read(&mut self.read, self.times, rows)? {
                return Ok(Some(CursorBatch { rows, rows_missed: std::mem::take(&mut self.rows_missed) }));
            }
        }
        Ok(None)
    }
}

impl Cursor {
    /// The next rows as soon as there are some; none when there will be no more. Appending rows wakes the task.
    ///
    /// # Errors
    /// As [`Self::next_batch`].
    pub fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<CursorBatch, Error>>> {
        if let Poll::Ready(next) = self.ready() {
            return Poll::Ready(next);
        }
        self.table.waiting().register(self.place, context.waker());
        // Rows that came in between have woken nobody.
        self.ready()
    }

    fn ready(&mut self) -> Poll<Option<Result<CursorBatch, Error>>> {
        match self.next_batch().transpose() {
            None if !self.is_done() => Poll::Pending,
            next => Poll::Ready(next),
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.table.waiting().forget(self.place);
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, times, next_row, end_row, .. } = self;
        f.debug_struct("Cursor")
            .field("table", &table.name())
            .field("times", times)
            .field("next_row", next_row)
            .field("end_row", end_row)
            .finish_non_exhaustive()
    }
}
