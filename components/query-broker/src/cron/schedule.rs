//! Which script is due when. Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use ids::{ScriptId, UnixNs};

/// Scripts that run at a time. One that is due while it still runs waits for its next turn.
pub(crate) const RUNNING_MAX: usize = 8;

/// A script, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CronScript {
    pub(crate) text: String,
    /// From run to run; zero: never.
    pub(crate) every: Duration,
    /// YAML.
    pub(crate) configs: String,
}

/// A run that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) id: ScriptId,
    pub(crate) script: CronScript,
    /// The rows that it is for.
    pub(crate) start: UnixNs,
    pub(crate) end: UnixNs,
}

#[derive(Debug)]
struct Entry {
    script: CronScript,
    last: UnixNs,
    running: bool,
}

/// All scripts and when each ran.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    entries: BTreeMap<ScriptId, Entry>,
    /// Turns that were left out because a script, or too many, still ran.
    pub(crate) skipped: u64,
}

/// The rows of a run begin this long before the last one, so that none falls between two. Reference: one second.
const OVERLAP: Duration = Duration::from_secs(1);

impl Schedule {
    /// These are all scripts there are. One that stays keeps its turn; a new one runs for the first time when its period has gone by.
    pub(crate) fn set(&mut self, scripts: BTreeMap<ScriptId, CronScript>, now: UnixNs) {
        self.entries.retain(|id, _| scripts.contains_key(id));
        for (id, script) in scripts {
            match self.entries.get_mut(&id) {
                Some(entry) if entry.script == script => {}
                Some(entry) => {
                    entry.script = script;
                    entry.last = now;
                }
                None => {
                    self.entries.insert(id, Entry { script, last: now, running: false });
                }
            }
        }
    }

    /// What is due, each with the rows since its last turn. They count as running from now on.
    pub(crate) fn due(&mut self, now: UnixNs) -> Vec<Run> {
        let mut running = self.entries.values().filter(|entry| entry.running).count();
        let mut runs = Vec::new();
        for (id, entry) in &mut self.entries {
            let every = nanoseconds(entry.script.every);
            // A clock that was set back begins anew.
            entry.last = entry.last.min(now);
            if every == 0 || now.0 - entry.last.0 < every {
                continue;
            }
            if entry.running || running >= RUNNING_MAX {
                self.skipped += 1;
                // Its rows are those of the next run: the window grows.
                continue;
            }
            let start = UnixNs(entry.last.0.saturating_sub(nanoseconds(OVERLAP)));
            runs.push(Run { id: *id, script: entry.script.clone(), start, end: UnixNs(start.0.saturating_add(now.0 - entry.last.0)) });
            entry.last = now;
            entry.running = true;
            running += 1;
        }
        runs
    }

    /// A run is over.
    pub(crate) fn ended(&mut self, id: ScriptId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.running = false;
        }
    }

    /// When something is due next; none if nothing ever is.
    pub(crate) fn next(&self) -> Option<UnixNs> {
        let due = |entry: &Entry| UnixNs(entry.last.0.saturating_add(nanoseconds(entry.script.every)));
        self.entries.values().filter(|entry| !entry.script.every.is_zero() && !entry.running).map(due).min()
    }
}

fn nanoseconds(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn id(number: u64) -> ScriptId {
        ScriptId::from_halves(0, number)
    }

    fn script(seconds: u64) -> CronScript {
        CronScript { text: "import px".to_owned(), every: Duration::from_secs(seconds), configs: String::new() }
    }

    fn at(schedule: &mut Schedule, second: i64) -> Vec<(u64, i64, i64)> {
        schedule.due(UnixNs(second * S)).into_iter().map(|run| (run.id.to_halves().1, run.start.0 / S, run.end.0 / S)).collect()
    }

    #[test]
    fn each_runs_every_period_over_the_rows_since_its_last_run() {
        let mut schedule = Schedule::default();
        schedule.set([(id(1), script(10)), (id(2), script(3)), (id(3), script(0))].into(), UnixNs(100 * S));
        assert_eq!(schedule.next(), Some(UnixNs(103 * S)));
        assert_eq!(at(&mut schedule, 102), []);
        assert_eq!(at(&mut schedule, 103), [(2, 99, 102)]);
        assert_eq!(schedule.next(), Some(UnixNs(110 * S)), "what runs is not due");
        schedule.ended(id(2));
        assert_eq!(schedule.next(), Some(UnixNs(106 * S)));
        assert_eq!(at(&mut schedule, 110), [(1, 99, 109), (2, 102, 109)]);
    }

    #[test]
    fn what_still_runs_waits_and_loses_no_rows() {
        let mut schedule = Schedule::default();
        schedule.set([(id(1), script(10))].into(), UnixNs(0));
        assert_eq!(at(&mut schedule, 10), [(1, -1, 9)]);
        assert_eq!(at(&mut schedule, 20), []);
        schedule.ended(id(1));
        assert_eq!((at(&mut schedule, 25), schedule.skipped), (vec![(1, 9, 24)], 1));
    }

    #[test]
    fn a_changed_script_begins_anew_and_one_that_stays_does_not() {
        let mut schedule = Schedule::default();
        schedule.set([(id(1), script(10)), (id(2), script(10))].into(), UnixNs(0));
        schedule.set([(id(1), script(10)), (id(2), CronScript { text: "other".to_owned(), ..script(10) })].into(), UnixNs(5 * S));
        assert_eq!(at(&mut schedule, 10), [(1, -1, 9)]);
        schedule.set(BTreeMap::new(), UnixNs(11 * S));
        assert_eq!((at(&mut schedule, 100), schedule.next()), (vec![], None));
    }

    #[test]
    fn no_more_run_at_a_time_than_may() {
        let mut schedule = Schedule::default();
        schedule.set((0..20).map(|number| (id(number), script(1))).collect(), UnixNs(0));
        assert_eq!(at(&mut schedule, 1).len(), RUNNING_MAX);
        assert_eq!(at(&mut schedule, 2).len(), 0);
        schedule.ended(id(0));
        assert_eq!(at(&mut schedule, 3).len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_delays_and_does_not_stop() {
        let mut schedule = Schedule::default();
        schedule.set([(id(1), script(10))].into(), UnixNs(1000 * S));
        assert_eq!(at(&mut schedule, 500), []);
        assert_eq!(at(&mut schedule, 510), [(1, 499, 509)]);
    }
}
