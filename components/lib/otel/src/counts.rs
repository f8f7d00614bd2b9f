use std::sync::atomic::{AtomicU64, Ordering};

/// What all sinks of an exporter did.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    rows_exported: AtomicU64,
    rows_failed: AtomicU64,
    points_refused: AtomicU64,
    requests: AtomicU64,
}

/// Their values at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CountsSnapshot {
    /// Rows that endpoints took.
    pub rows_exported: u64,
    /// Rows that were to be exported and could not be.
    pub rows_failed: u64,
    /// Data points and spans that endpoints refused of what they took.
    pub points_refused: u64,
    /// Calls of endpoints.
    pub requests: u64,
}

impl Counts {
    pub(crate) fn exported(&self, rows: u64, refused: u64) {
        self.rows_exported.fetch_add(rows, Ordering::Relaxed);
        self.points_refused.fetch_add(refused, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, rows: u64) {
        self.rows_failed.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> CountsSnapshot {
        CountsSnapshot {
            rows_exported: self.rows_exported.load(Ordering::Relaxed),
            rows_failed: self.rows_failed.load(Ordering::Relaxed),
            points_refused: self.points_refused.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }
}
