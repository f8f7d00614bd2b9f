use std::time::Duration;

use rand::Rng;

/// How long to wait before trying again: twice as long each time, and never all at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// At most this long before the second attempt.
    pub first: Duration,
    /// At most this long before any.
    pub max: Duration,
}

impl Default for Backoff {
    /// A Kelvin that restarts is found again within a second or so; one that is gone costs an attempt each ten seconds.
    fn default() -> Self {
        Self { first: Duration::from_millis(200), max: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// Before the next attempt after so many that failed: between half of the span and all of it.
    pub(crate) fn delay(self, failed: u32, random: &mut (impl Rng + ?Sized)) -> Duration {
        let span = self.first.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1))).min(self.max);
        span.mul_f64(random.gen_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_differ() {
        let backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(1) };
        let mut random = StdRng::seed_from_u64(7);
        for (failed, span_ms) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (1000, 1000), (u32::MAX, 1000)] {
            let span = Duration::from_millis(span_ms);
            let delays: Vec<_> = (0..50).map(|_| backoff.delay(failed, &mut random)).collect();
            assert!(delays.iter().all(|delay| (span / 2..=span).contains(delay)), "{failed}: {delays:?}");
            assert!(delays.iter().any(|delay| *delay != delays[0]));
        }
    }
}
