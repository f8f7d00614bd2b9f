use ids::{MonoNs, UnixNs};
use rustix::time::{ClockId, clock_gettime};

/// From the kernel's monotonic clock to the wall clock. The offset is read again and again, since the wall clock steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// Wall clock minus monotonic clock, in nanoseconds.
    offset_ns: i64,
}

const NS_PER_S: i64 = 1_000_000_000;
/// `USER_HZ` is 100 on every Linux we run on.
const TICK_NS: i64 = 10_000_000;

impl Clock {
    pub(crate) fn read() -> Clock {
        let before = now().0 as i64;
        let wall = clock_gettime(ClockId::Realtime);
        let after = now().0 as i64;
        let wall_ns = wall.tv_sec.saturating_mul(NS_PER_S).saturating_add(wall.tv_nsec);
        Clock { offset_ns: wall_ns - (before + (after - before) / 2) }
    }

    /// A wall clock that is so far ahead of the monotonic one.
    #[cfg(test)]
    pub(crate) fn with_offset(offset_ns: i64) -> Clock {
        Clock { offset_ns }
    }

    pub(crate) fn wall(self, at: MonoNs) -> UnixNs {
        UnixNs((at.0 as i64).saturating_add(self.offset_ns))
    }
}

/// The monotonic clock, the one that BPF's `ktime` reads.
pub(crate) fn now() -> MonoNs {
    let time = clock_gettime(ClockId::Monotonic);
    MonoNs((time.tv_sec.saturating_mul(NS_PER_S).saturating_add(time.tv_nsec)) as u64)
}

/// When a process started that did so many ticks of 10 ms after the boot, by the wall clock as it is now.
pub(crate) fn wall_of_ticks(ticks: u64) -> UnixNs {
    let ns = |time: rustix::time::Timespec| time.tv_sec.saturating_mul(NS_PER_S).saturating_add(time.tv_nsec);
    let booted = ns(clock_gettime(ClockId::Realtime)) - ns(clock_gettime(ClockId::Boottime));
    UnixNs(booted.saturating_add(i64::try_from(ticks).unwrap_or(i64::MAX).saturating_mul(TICK_NS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_the_same_on_both_clocks() {
        let clock = Clock { offset_ns: 1_000 };
        assert_eq!(clock.wall(MonoNs(7)), UnixNs(1_007));
        assert_eq!(clock.wall(MonoNs(9)).0 - clock.wall(MonoNs(7)).0, 2);
    }
}
