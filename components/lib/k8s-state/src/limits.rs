use std::time::Duration;

/// Names are kept as long as rows may be: scripts ask for the names of a day. Reference: terminated objects are kept 24 h.
const RETENTION: Duration = Duration::from_hours(24);

/// 100,000 pods with a container and a few labels each, at about 2.5 KiB.
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// Containers of one pod that others have replaced. A crash loop makes one every five minutes, 288 a day; scripts ask for the newest.
pub(crate) const REPLACED_CONTAINERS_MAX: usize = 64;

/// Tenures of one object that have ended. An endpoint slice has at most 1,000 endpoints; two full changes of them.
pub(crate) const ENDED_TENURES_MAX: usize = 2048;

/// Updates that a feed keeps for followers that missed some: with a churn of 100 pods a second some 15 s of it, else hours.
pub(crate) const FEED_UPDATES_MAX: usize = 8192;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long an object can still be asked for when it is gone.
    pub retention: Duration,
    /// About how much memory all objects may take. When it is full those that went first are forgotten; when none is left, new ones are refused.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { retention: RETENTION, bytes_max: BYTES_MAX }
    }
}

/// What happened to changes and objects. Each only grows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Metrics {
    /// Changes that changed something.
    pub applied: u64,
    /// Changes that were known already.
    pub old: u64,
    /// Deletions of objects that nobody has seen.
    pub unknown: u64,
    /// Changes of an object's kind.
    pub contradictions: u64,
    /// Changes for which there was no room.
    pub refused: u64,
    /// Objects forgotten after the retention.
    pub expired: u64,
    /// Objects forgotten before it, to make room.
    pub evicted: u64,
    /// Replaced containers of a pod forgotten because there were too many.
    pub containers_evicted: u64,
    /// Ended tenures of an object forgotten because there were too many.
    pub tenures_evicted: u64,
}
