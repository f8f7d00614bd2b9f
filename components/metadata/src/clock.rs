use std::time::{SystemTime, UNIX_EPOCH};

use ids::{MonoNs, UnixNs};
use tokio::time::Instant;

use crate::agents::Now;

/// Both clocks of this process. In tokio's time, so that it can be paused.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    wall: Wall,
}

#[derive(Debug, Clone, Copy)]
enum Wall {
    /// The machine's, which steps.
    Machine,
    /// This at the start, and on with the other clock: for simulation.
    From(UnixNs),
}

impl Clock {
    /// The machine's.
    pub fn of_machine() -> Clock {
        Clock { start: Instant::now(), wall: Wall::Machine }
    }

    /// One whose wall clock shows this now, and never steps.
    pub fn starting_at(wall: UnixNs) -> Clock {
        Clock { start: Instant::now(), wall: Wall::From(wall) }
    }

    /// What time it is.
    pub fn now(&self) -> Now {
        let elapsed = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let wall = match self.wall {
            Wall::Machine => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                UnixNs(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
            }
            Wall::From(start) => UnixNs(start.0.saturating_add(i64::try_from(elapsed).unwrap_or(i64::MAX))),
        };
        Now { mono: MonoNs(elapsed), wall }
    }
}
