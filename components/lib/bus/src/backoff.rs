use std::time::Duration;

/// Growing waits, each between half of itself and all of it, so that many who failed together do not come back together.
///
/// Randomness is an argument: the same seed gives the same waits.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    attempt: u32,
    random: u64,
}

impl Backoff {
    /// Waits that begin at `first`, double, and end at `max`.
    pub fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self { first, max, attempt: 0, random: seed }
    }

    /// The next wait.
    pub fn next_delay(&mut self) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let delay = jittered(self.first, self.max, self.attempt, unit(self.random));
        self.attempt = self.attempt.saturating_add(1);
        delay
    }

    /// Begins anew.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// The wait before attempt `attempt` (0 is the first); `random` is in [0, 1).
pub(crate) fn jittered(first: Duration, max: Duration, attempt: u32, random: f64) -> Duration {
    let whole = first.saturating_mul(2_u32.saturating_pow(attempt.min(31))).min(max);
    whole.div_f64(2.0) + whole.mul_f64(random / 2.0)
}

/// SplitMix64's finish (Steele, Lea, Flood 2014), as a number in [0, 1).
fn unit(state: u64) -> f64 {
    let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_waits_and_a_reset_begins_anew() {
        let waits = |seed| {
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), seed);
            (0..6).map(|_| backoff.next_delay()).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 7);
        backoff.next_delay();
        backoff.next_delay();
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }

    proptest! {
        #[test]
        fn every_wait_lies_between_half_and_all_of_what_doubling_gives(seed: u64, count in 1_u32..80) {
            let (first, max) = (Duration::from_millis(50), Duration::from_secs(5));
            let mut backoff = Backoff::new(first, max, seed);
            for attempt in 0..count {
                let whole = first.saturating_mul(2_u32.saturating_pow(attempt.min(31))).min(max);
                let delay = backoff.next_delay();
                prop_assert!(delay >= whole / 2 && delay <= whole, "{attempt}: {delay:?} of {whole:?}");
            }
        }
    }
}
