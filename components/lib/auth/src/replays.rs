use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

/// Tokens that were used and are still valid, of all callers together: ten minutes at a hundred calls a second. Beyond it those that end
/// first are forgotten, and could be used again by whoever reads them on a connection that both ends have encrypted.
pub const REPLAYS_REMEMBERED_MAX: usize = 64 * 1024;

/// Tokens that were used once, until they end by themselves. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Replays {
    used: Arc<Mutex<Used>>,
}

#[derive(Debug, Default)]
struct Used {
    ids: HashSet<Arc<str>>,
    // By their ends, and by number where several end together.
    ends: BTreeMap<(SystemTime, u64), Arc<str>>,
    count: u64,
}

impl Replays {
    /// Notes that a token is used now; false if it was before.
    pub fn first_use(&self, token_id: &str, expires: SystemTime, now: SystemTime) -> bool {
        let mut used = self.used.lock();
        used.forget(now);
        if used.ids.contains(token_id) {
            return false;
        }
        let id: Arc<str> = token_id.into();
        used.count += 1;
        let number = used.count;
        used.ids.insert(Arc::clone(&id));
        used.ends.insert((expires, number), id);
        true
    }
}

impl Used {
    /// Those that have ended, and the first to end where there are too many.
    fn forget(&mut self, now: SystemTime) {
        while let Some(first) = self.ends.first_entry() {
            let ended = first.key().0 <= now;
            if !ended && self.ids.len() < REPLAYS_REMEMBERED_MAX {
                return;
            }
            let id = first.remove();
            self.ids.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_token_is_used_once_until_it_ends() {
        let replays = Replays::default();
        let (now, end) = (UNIX_EPOCH, UNIX_EPOCH + Duration::from_secs(10));
        assert!(replays.first_use("a", end, now));
        assert!(!replays.first_use("a", end, now));
        assert!(replays.first_use("b", end, now));
        // By then the token itself is refused.
        assert!(replays.first_use("a", end, end));
        assert_eq!(replays.used.lock().ids.len(), 1);
    }

    #[test]
    fn the_memory_of_them_is_bounded() {
        let replays = Replays::default();
        let end = |number: usize| UNIX_EPOCH + Duration::from_secs(1 + number as u64);
        for number in 0..REPLAYS_REMEMBERED_MAX + 10 {
            assert!(replays.first_use(&number.to_string(), end(number), UNIX_EPOCH));
        }
        assert_eq!(replays.used.lock().ids.len(), REPLAYS_REMEMBERED_MAX);
        let last = REPLAYS_REMEMBERED_MAX + 9;
        assert!(!replays.first_use(&last.to_string(), end(last), UNIX_EPOCH));
    }
}
