use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use ids::UnixNs;

use crate::batch::{Batch, Read, Shape};
use crate::table::View;
use crate::{Error, Stats};

/// Times from the first to the last, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// Earliest.
    pub first: UnixNs,
    /// Latest; the range is empty if it is before the first.
    pub last: UnixNs,
}

impl TimeRange {
    /// Any time.
    pub const ALL: TimeRange = TimeRange { first: UnixNs(i64::MIN), last: UnixNs(i64::MAX) };

    /// If the time is in it.
    pub fn contains(self, time: UnixNs) -> bool {
        self.first <= time && time <= self.last
    }

    /// The times in both.
    #[must_use]
    pub fn intersect(self, other: TimeRange) -> TimeRange {
        TimeRange { first: self.first.max(other.first), last: self.last.min(other.last) }
    }

    /// From the earlier of the firsts to the later of the lasts.
    pub(crate) fn hull(self, other: TimeRange) -> TimeRange {
        TimeRange { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    pub(crate) fn overlaps(self, other: TimeRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    pub(crate) fn covers(self, other: TimeRange) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// A table as it was at one moment. It does not change, and it keeps the rows it shows in memory for as long as it lives.
#[derive(Debug, Clone)]
pub struct Snapshot {
    shape: Arc<Shape>,
    view: Arc<View>,
}

impl Snapshot {
    pub(crate) fn new(shape: Arc<Shape>, view: Arc<View>) -> Self {
        Self { shape, view }
    }

    /// Of all columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.shape.schema
    }

    /// The table at that moment.
    pub fn stats(&self) -> Stats {
        self.view.stats()
    }

    /// The rows whose time is in the range, in the order in which they were appended, with the given columns (or all) in the given order.
    ///
    /// # Errors
    /// If there is no such column.
    pub fn scan(&self, projection: Option<&[usize]>, times: TimeRange) -> Result<Scan, Error> {
        let read = Read::new(&self.shape, projection)?;
        let batches: Vec<_> = self.view.batches.iter().filter(|b| times.overlaps(b.times)).cloned().collect();
        Ok(Scan { read, times, batches: batches.into_iter() })
    }
}

/// The rows of a snapshot, a batch at a time. Batches are unpacked as they are asked for and let go when read.
pub struct Scan {
    read: Read,
    times: TimeRange,
    batches: std::vec::IntoIter<Arc<Batch>>,
}

impl Scan {
    /// Of the batches it yields.
    pub fn schema(&self) -> &SchemaRef {
        self.read.schema()
    }
}

impl Iterator for Scan {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        for batch in self.batches.by_ref() {
            if let Some(rows) = batch.read(&mut self.read, self.times, 0..u64::MAX).transpose() {
                return Some(rows);
            }
        }
        None
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("times", &self.times).field("batches", &self.batches.len()).finish_non_exhaustive()
    }
}
