use std::fmt;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::Mutex;

/// Memory that was asked for and not given.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) operator: String,
    pub(crate) bytes_max: usize,
    /// The limit of all queries, not of this one.
    pub(crate) whole_engine: bool,
}

/// The memory of one query, out of that of all queries.
#[derive(Debug)]
pub(crate) struct QueryPool {
    all: Arc<GreedyMemoryPool>,
    own: GreedyMemoryPool,
    bytes_max: usize,
    refusal: Mutex<Option<Refusal>>,
}

impl QueryPool {
    pub(crate) fn new(all: Arc<GreedyMemoryPool>, bytes_max: usize) -> Self {
        Self { all, own: GreedyMemoryPool::new(bytes_max), bytes_max, refusal: Mutex::new(None) }
    }

    /// The last one.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal.lock().clone()
    }

    fn refuse(&self, reservation: &MemoryReservation, error: DataFusionError, bytes_max: usize, whole_engine: bool) -> DataFusionError {
        *self.refusal.lock() = Some(Refusal { operator: reservation.consumer().name().to_owned(), bytes_max, whole_engine });
        error
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &'static str {
        "query"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.all.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.all.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.own.try_grow(reservation, additional).map_err(|error| self.refuse(reservation, error, self.bytes_max, false))?;
        self.all.try_grow(reservation, additional).map_err(|error| {
            self.own.shrink(reservation, additional);
            let bytes_max = match self.all.memory_limit() {
                MemoryLimit::Finite(bytes_max) => bytes_max,
                MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
            };
            self.refuse(reservation, error, bytes_max, true)
        })
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query pool: {} of {} bytes", self.reserved(), self.bytes_max)
    }
}
