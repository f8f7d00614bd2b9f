use std::time::Duration;

/// Nanoseconds of the kernel's monotonic clock (`CLOCK_MONOTONIC`, BPF's `ktime`): for intervals and order within one boot.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoNs(pub u64);

impl MonoNs {
    /// Time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: MonoNs) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This time plus `span`, at most the largest.
    #[must_use]
    pub fn plus(self, span: Duration) -> MonoNs {
        MonoNs(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Nanoseconds since the Unix epoch, UTC: what `time_` columns hold.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNs(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_never_underflows() {
        assert_eq!(MonoNs(5).since(MonoNs(7)), Duration::ZERO);
        assert_eq!(MonoNs(7).since(MonoNs(5)), Duration::from_nanos(2));
        assert_eq!(MonoNs(u64::MAX).plus(Duration::from_secs(1)), MonoNs(u64::MAX));
    }
}
