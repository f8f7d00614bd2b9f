use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use ids::UnixNs;
use parking_lot::Mutex;
use tables::Relation;

use crate::batch::{Batch, Shape};
use crate::codec::Packer;
use crate::list::List;
use crate::waiting::Waiting;
use crate::{Error, Snapshot, TimeRange};

/// Raw bytes that are sealed together. Measured on http_events rows (`examples/history_per_mib.rs`): from 256 KiB to 1 MiB history grows
/// by about a tenth, beyond hardly, while a reader of one row unpacks what it is sealed with.
const SEAL_RAW_BYTES: u64 = 1024 * 1024;

/// A small table seals earlier: rows that wait for sealing take at most this part of its bytes, or nothing would ever be sealed.
const SEAL_PARTS_MIN: u64 = 16;

/// Hot batches that wait for sealing before they are put together as they are: each has its own buffers for every column.
const HOT_BATCHES_MAX: usize = 16;

/// How much one table may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes held in memory, hot and sealed.
    pub bytes_max: u64,
    /// Raw bytes of hot rows from which they are sealed.
    pub seal_raw_bytes: u64,
}

impl Limits {
    /// With the usual size of sealed batches.
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, seal_raw_bytes: SEAL_RAW_BYTES.min(bytes_max / SEAL_PARTS_MIN).max(1) }
    }
}

/// One table at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// That can be read.
    pub rows: u64,
    /// That can be read.
    pub batches: u64,
    /// Held for rows that are as they were appended.
    pub bytes_hot: u64,
    /// Held for sealed rows.
    pub bytes_sealed: u64,
    /// That the rows, hot and sealed, take as plain Arrow.
    pub bytes_raw: u64,
    /// Appended since the table was made.
    pub rows_added: u64,
    /// Appended since the table was made.
    pub batches_added: u64,
    /// Appended since the table was made, as plain Arrow.
    pub bytes_added: u64,
    /// Sealed since the table was made.
    pub batches_sealed: u64,
    /// Let go for the budget, since the table was made.
    pub rows_expired: u64,
    /// Let go for the budget, since the table was made.
    pub batches_expired: u64,
    /// Earliest time of a row that can be read.
    pub time_oldest: Option<UnixNs>,
    /// Times of the rows that were let go, from the earliest to the latest.
    pub times_expired: Option<TimeRange>,
}

impl Stats {
    /// Counted against the budget.
    pub fn bytes(&self) -> u64 {
        self.bytes_hot + self.bytes_sealed
    }

    /// Whether rows that were let go may have been of these times. Where it says no, none was.
    pub fn may_have_expired(&self, times: TimeRange) -> bool {
        self.times_expired.is_some_and(|expired| expired.overlaps(times))
    }
}

/// What one call of [`Table::seal`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Sealed.
    pub rows: u64,
    /// Their bytes in memory before.
    pub bytes_before: u64,
    /// And after.
    pub bytes_after: u64,
}

impl Sealed {
    pub(crate) fn add(&mut self, other: Sealed) {
        self.rows += other.rows;
        self.bytes_before += other.bytes_before;
        self.bytes_after += other.bytes_after;
    }
}

/// What readers see: replaced as a whole by every change.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// Sealed ones first, then hot ones; by row id, without gaps.
    pub(crate) batches: List<Batch>,
    /// Row id of the next row.
    pub(crate) next_row: u64,
    /// All but `time_oldest`.
    counts: Stats,
}

impl View {
    pub(crate) fn stats(&self) -> Stats {
        Stats { time_oldest: self.batches.iter().map(|b| b.times.first).min(), ..self.counts }
    }

    /// Row id of the oldest row, or of the next if there is none.
    pub(crate) fn first_row(&self) -> u64 {
        self.batches.first().map_or(self.next_row, |b| b.first_row)
    }

    fn push(&mut self, batch: Arc<Batch>) {
        self.counts.rows += batch.rows as u64;
        self.counts.batches += 1;
        self.counts.bytes_raw += batch.raw_bytes;
        *self.bytes_of(&batch) += batch.bytes;
        self.batches.push(batch);
    }

    fn taken(&mut self, batch: &Batch) {
        self.counts.rows -= batch.rows as u64;
        self.counts.batches -= 1;
        self.counts.bytes_raw -= batch.raw_bytes;
        *self.bytes_of(batch) -= batch.bytes;
    }

    fn bytes_of(&mut self, batch: &Batch) -> &mut u64 {
        if batch.is_hot() { &mut self.counts.bytes_hot } else { &mut self.counts.bytes_sealed }
    }

    fn pop_last(&mut self) -> Option<Arc<Batch>> {
        let batch = self.batches.pop_last()?;
        self.taken(&batch);
        Some(batch)
    }

    fn expire_until(&mut self, bytes_max: u64) {
        while self.counts.bytes() > bytes_max
            && let Some(batch) = self.batches.pop_first()
        {
            self.taken(&batch);
            self.counts.batches_expired += 1;
            self.counts.rows_expired += batch.rows as u64;
            let before = self.counts.times_expired;
            self.counts.times_expired = Some(before.map_or(batch.times, |times| times.hull(batch.times)));
        }
    }
}

/// One table. Rows are appended at its end and go at its start, when its bytes are spent.
#[derive(Debug)]
pub struct Table {
    shape: Arc<Shape>,
    limits: Limits,
    view: ArcSwap<View>,
    /// Held to change the view: for the length of an append, or of putting a sealed batch in its place.
    writer: Mutex<()>,
    /// Held to seal: one at a time.
    sealer: Mutex<()>,
    /// Cursors at its end.
    waiting: Waiting,
}

impl Table {
    /// Empty.
    ///
    /// # Errors
    /// If there is no column `time_` of type TIME64NS.
    pub fn new(name: &str, relation: Relation, limits: Limits) -> Result<Self, Error> {
        let shape = Arc::new(Shape::new(name, relation)?);
        Ok(Self { shape, limits, view: ArcSwap::default(), writer: Mutex::new(()), sealer: Mutex::new(()), waiting: Waiting::default() })
    }

    /// As scripts name it.
    pub fn name(&self) -> &str {
        &self.shape.name
    }

    /// Its columns, with their meaning.
    pub fn relation(&self) -> &Relation {
        &self.shape.relation
    }

    /// Its columns, as Arrow has them.
    pub fn schema(&self) -> &SchemaRef {
        &self.shape.schema
    }

    /// How much it may hold.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// As it is now.
    pub fn stats(&self) -> Stats {
        self.view.load().stats()
    }

    /// The table as it is now, for reading. Takes no lock.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(Arc::clone(&self.shape), self.view.load_full())
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(crate) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// Adds rows; readers see them at once. The oldest batches go until the table is within its bytes again.
    ///
    /// # Errors
    /// If the batch is of another schema, or alone larger than the table may be. Nothing is added then.
    pub fn append(&self, rows: RecordBatch) -> Result<(), Error> {
        self.add(rows)?;
        self.waiting.wake();
        Ok(())
    }

    fn add(&self, rows: RecordBatch) -> Result<(), Error> {
        let rows = self.shape.check(rows)?;
        let _writer = self.writer.lock();
        let mut view = View::clone(&self.view.load());
        let Some(batch) = Batch::hot(&self.shape, view.next_row, rows) else { return Ok(()) };
        if batch.bytes > self.limits.bytes_max {
            return Err(Error::BatchTooLarge { table: self.shape.name.clone(), bytes: batch.bytes, bytes_max: self.limits.bytes_max });
        }
        view.expire_until(self.limits.bytes_max - batch.bytes);
        view.next_row = batch.end_row();
        view.counts.batches_added += 1;
        view.counts.rows_added += batch.rows as u64;
        view.counts.bytes_added += batch.raw_bytes;
        view.push(Arc::new(batch));
        self.view.store(Arc::new(view));
        Ok(())
    }

    /// Seals the hot rows of which there are enough, and puts the rest together if they are in many batches. Appends and reads go on
    /// meanwhile; beside the table's bytes it takes those of one batch to be sealed.
    ///
    /// # Errors
    /// If the rows cannot be packed; they stay as they are.
    pub fn seal(&self) -> Result<Sealed, Error> {
        let _sealer = self.sealer.lock();
        let mut packer = None;
        let mut sealed = Sealed::default();
        for group in self.groups() {
            let raw_bytes: u64 = group.iter().map(|b| b.raw_bytes).sum();
            let full = raw_bytes >= self.limits.seal_raw_bytes;
            if !full && group.len() < HOT_BATCHES_MAX {
                continue;
            }
            let Some(mut merged) = Batch::merge(&group)? else { continue };
            if full {
                let packer = match &mut packer {
                    Some(packer) => packer,
                    none => none.insert(Packer::new()?),
                };
                merged = merged.seal(packer)?;
            }
            let (rows, bytes_after) = (merged.rows as u64, merged.bytes);
            if self.replace(merged) && full {
                sealed.add(Sealed { rows, bytes_before: group.iter().map(|b| b.bytes).sum(), bytes_after });
            }
        }
        Ok(sealed)
    }

    /// The hot batches, in groups of enough rows to seal; the last may be smaller.
    fn groups(&self) -> Vec<Vec<Arc<Batch>>> {
        let view = self.view.load();
        let mut hot: Vec<_> = view.batches.iter().rev().take_while(|b| b.is_hot()).cloned().collect();
        hot.reverse();
        let (mut groups, mut group, mut raw_bytes) = (Vec::new(), Vec::new(), 0);
        for batch in hot {
            raw_bytes += batch.raw_bytes;
            group.push(batch);
            if raw_bytes >= self.limits.seal_raw_bytes {
                groups.push(std::mem::take(&mut group));
                raw_bytes = 0;
            }
        }
        groups.push(group);
        groups
    }

    /// Puts one batch in the place of those whose rows it has; false if some of them are gone, and nothing is done.
    fn replace(&self, merged: Batch) -> bool {
        let _writer = self.writer.lock();
        let mut view = View::clone(&self.view.load());
        if merged.first_row < view.first_row() {
            return false;
        }
        let mut later = Vec::new();
        while let Some(batch) = view.pop_last() {
            if batch.first_row == merged.first_row {
                break;
            }
            if batch.first_row >= merged.end_row() {
                later.push(batch);
            }
        }
        view.counts.batches_sealed += u64::from(!merged.is_hot());
        view.push(Arc::new(merged));
        later.into_iter().rev().for_each(|batch| view.push(batch));
        // A packed batch of a few odd rows can be larger than it was.
        view.expire_until(self.limits.bytes_max);
        self.view.store(Arc::new(view));
        true
    }
}
