//! Effects: sockets, clocks, tasks.

pub(crate) mod agents;
pub(crate) mod bridge;
pub(crate) mod broker;
pub(crate) mod dial;
pub(crate) mod local;
pub(crate) mod outbox;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ids::UnixNs;
use tokio::time::Instant;

/// The clock that all parts count with: time since the process began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now() }
    }

    pub(crate) fn now(self) -> Duration {
        self.began.elapsed()
    }

    /// As the runtime's timers take it.
    pub(crate) fn instant(self, at: Duration) -> Instant {
        self.began + at
    }
}

/// The wall clock.
pub(crate) fn wall() -> UnixNs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNs(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
