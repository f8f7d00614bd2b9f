//! The same state elsewhere: changes with numbers, so that each follower knows what it missed.

use std::collections::VecDeque;

use crate::limits::FEED_UPDATES_MAX;
use crate::{Change, Limits, Outcome, Record, Snapshot, State};

/// Place of an update in a feed. They grow, and may skip.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedVersion(pub u64);

/// A change on its way to followers. Reference: `ResourceUpdate` with `update_version` and `prev_update_version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Its own place.
    pub version: FeedVersion,
    /// The place of the update before it in this feed.
    pub previous: FeedVersion,
    /// What happened.
    pub change: Change,
}

/// The source's whole knowledge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resync {
    /// The last update that is in it.
    pub version: FeedVersion,
    /// Everything.
    pub records: Vec<Record>,
}

/// What somebody who knows everything up to a place lacks.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing {
    /// These, in order; perhaps none.
    Updates(Vec<Update>),
    /// More than is kept: it needs a [`Resync`].
    Everything,
}

/// Numbers changes and keeps the last ones.
#[derive(Debug)]
pub struct Feed {
    kept: VecDeque<Update>,
    /// The place before the first that is kept.
    floor: FeedVersion,
    last: FeedVersion,
}

impl Feed {
    /// `start` is larger than every place that was ever given, also before a restart: what is stored, or the wall clock's nanoseconds.
    pub fn new(start: FeedVersion) -> Feed {
        Feed { kept: VecDeque::new(), floor: start, last: start }
    }

    /// The place of the newest update.
    pub fn version(&self) -> FeedVersion {
        self.last
    }

    /// Gives a change its place.
    pub fn publish(&mut self, change: Change) -> Update {
        let update = Update { version: FeedVersion(self.last.0 + 1), previous: self.last, change };
        self.last = update.version;
        self.kept.push_back(update.clone());
        if self.kept.len() > FEED_UPDATES_MAX
            && let Some(dropped) = self.kept.pop_front()
        {
            self.floor = dropped.version;
        }
        update
    }

    /// What a follower lacks that knows everything up to `have`.
    pub fn since(&self, have: FeedVersion) -> Missing {
        if have < self.floor || have > self.last {
            return Missing::Everything;
        }
        Missing::Updates(self.kept.iter().filter(|update| update.version > have).cloned().collect())
    }

    /// Everything, from a snapshot that has every update up to now.
    pub fn resync(&self, snapshot: &Snapshot) -> Resync {
        Resync { version: self.last, records: snapshot.records().cloned().collect() }
    }
}

/// What a follower did with an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// It came in its turn.
    Applied(Outcome),
    /// It was known.
    Old,
    /// Updates are missing between what is known and this one, which was not taken: ask for all since `have`.
    Gap {
        /// The newest that is known.
        have: FeedVersion,
    },
}

/// Follows a feed, through loss, repetition and disorder.
#[derive(Debug)]
pub struct Follower {
    state: State,
    limits: Limits,
    last: FeedVersion,
    gaps: u64,
}

impl Follower {
    /// Knows nothing: the first update shows a gap.
    pub fn new(limits: Limits) -> Follower {
        Follower { state: State::new(limits), limits, last: FeedVersion::default(), gaps: 0 }
    }

    /// Takes an update if it is the next one.
    pub fn apply(&mut self, update: &Update) -> Followed {
        if update.version <= self.last {
            return Followed::Old;
        }
        if update.previous > self.last || self.last == FeedVersion::default() {
            self.gaps += 1;
            return Followed::Gap { have: self.last };
        }
        self.last = update.version;
        Followed::Applied(self.state.apply(&update.change))
    }

    /// Takes the place of everything that was known, unless that is newer.
    pub fn resync(&mut self, resync: Resync) {
        if resync.version >= self.last {
            self.last = resync.version;
            self.state = State::restore(self.limits, resync.records);
        }
    }

    /// The newest update that is known.
    pub fn version(&self) -> FeedVersion {
        self.last
    }

    /// How often updates were missing.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// What is known.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The same, to let it expire.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }
}
