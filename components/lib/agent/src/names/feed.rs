use std::collections::BTreeMap;
use std::time::Duration;

use ids::MonoNs;

/// Updates that wait for one before them. Reference: 1000. What does not fit is asked for again.
pub const BACKLOG_UPDATES_MAX: usize = 1_000;
/// A request that nobody answers is said again. Reference: 5 s.
pub const REQUEST_AGAIN: Duration = Duration::from_secs(5);
/// Somebody who lost the last update of all would never know: so it is asked whether there are newer ones.
const CHECK_PERIOD: Duration = Duration::from_mins(1);

/// Something with its place in a feed. Reference: `update_version` and `prev_update_version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequenced<T> {
    /// Its own place.
    pub version: i64,
    /// The place of the one before it in this feed; 0: it is the first.
    pub previous: i64,
    /// What happened.
    pub update: T,
}

/// Something that happened to the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedEvent<T> {
    /// An update came.
    Update(Sequenced<T>),
    /// An answer came, or a part of it.
    Missing {
        /// Some of what was asked for, in order.
        updates: Vec<Sequenced<T>>,
        /// The first one that there still is; 0: none.
        first_available: i64,
        /// The last one that there is; 0: none.
        last_available: i64,
    },
    /// The bus carries messages again: some were lost meanwhile.
    Connected,
    /// Time has passed.
    Tick,
}

/// What has to be done about it, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedEffect<T> {
    /// It is the next one.
    Apply(Sequenced<T>),
    /// What was known is void: the other side began anew.
    Reset,
    /// Ask for all updates from here on.
    Request {
        /// First place.
        from: i64,
    },
}

/// What became of updates. Each only grows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct FeedCounts {
    /// Applied.
    pub applied: u64,
    /// Known already.
    pub old: u64,
    /// Found no place among those that wait.
    pub dropped: u64,
    /// Were replaced while they waited for those before them.
    pub replaced: u64,
    /// Requests for missing ones.
    pub requests: u64,
    /// Times that the other side began anew.
    pub resets: u64,
    /// Updates that were missing and are there no more.
    pub unavailable: u64,
}

/// Brings updates into their order.
#[derive(Debug)]
pub struct Feed<T> {
    last: i64,
    backlog: BTreeMap<i64, Sequenced<T>>,
    /// When the next request is said.
    due: MonoNs,
    /// Whether everything that there was has come at least once.
    complete: bool,
    counts: FeedCounts,
}

impl<T> Feed<T> {
    /// Knows nothing: the first tick asks for everything.
    pub fn new(now: MonoNs) -> Feed<T> {
        Feed { last: 0, backlog: BTreeMap::new(), due: now, complete: false, counts: FeedCounts::default() }
    }

    /// The newest place that was applied.
    pub fn version(&self) -> i64 {
        self.last
    }

    /// Whether everything that there was when it began has come.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// What became of updates.
    pub fn counts(&self) -> FeedCounts {
        self.counts
    }

    /// When the next [`FeedEvent::Tick`] is due.
    pub fn deadline(&self) -> MonoNs {
        self.due
    }

    /// Takes an event.
    pub fn handle(&mut self, event: FeedEvent<T>, now: MonoNs) -> Vec<FeedEffect<T>> {
        let mut effects = Vec::new();
        match event {
            FeedEvent::Update(update) => {
                self.hold(update);
                self.drain(&mut effects);
                if self.has_gap() && self.due > now.plus(REQUEST_AGAIN) {
                    self.request(now, &mut effects);
                }
            }
            FeedEvent::Missing { updates, first_available, last_available } => {
                self.answered(updates, first_available, last_available, now, &mut effects);
            }
            FeedEvent::Connected => self.request(now, &mut effects),
            FeedEvent::Tick if self.due <= now => self.request(now, &mut effects),
            FeedEvent::Tick => {}
        }
        effects
    }

    fn answered(
        &mut self,
        updates: Vec<Sequenced<T>>,
        first_available: i64,
        last_available: i64,
        now: MonoNs,
        effects: &mut Vec<FeedEffect<T>>,
    ) {
        if last_available < self.last && last_available != 0 {
            // Its numbers began anew: nothing that is known has a place among them.
            self.last = 0;
            self.backlog.clear();
            self.complete = false;
            self.counts.resets += 1;
            effects.push(FeedEffect::Reset);
        }
        for update in updates {
            self.hold(update);
        }
        self.drain(effects);
        // What is before the first one that there still is will never come.
        if let Some((version, update)) = self.backlog.first_key_value()
            && *version <= first_available
            && update.previous > self.last
        {
            self.counts.unavailable += 1;
            self.last = update.previous;
            self.drain(effects);
        }
        if self.last >= last_available && !self.has_gap() {
            self.complete = true;
            self.due = now.plus(CHECK_PERIOD);
        } else {
            // Further parts are on their way, or were lost.
            self.due = self.due.min(now.plus(REQUEST_AGAIN));
        }
    }

    fn hold(&mut self, update: Sequenced<T>) {
        if update.version <= self.last {
            self.counts.old += 1;
            return;
        }
        if let Some(known) = self.backlog.get_mut(&update.version) {
            // What was between may be kept no more: then it comes after an older one.
            known.previous = known.previous.min(update.previous);
            self.counts.old += 1;
            return;
        }
        self.backlog.insert(update.version, update);
        // The next ones are those that are needed first.
        if self.backlog.len() > BACKLOG_UPDATES_MAX {
            self.backlog.pop_last();
            self.counts.dropped += 1;
        }
    }

    /// Whatever comes directly after what is known. What waits between was replaced by it since, and is kept nowhere.
    fn drain(&mut self, effects: &mut Vec<FeedEffect<T>>) {
        while let Some(version) = self.backlog.values().find(|update| update.previous <= self.last).map(|update| update.version) {
            let later = self.backlog.split_off(&version);
            self.counts.replaced += self.backlog.len() as u64;
            self.backlog = later;
            let Some(update) = self.backlog.remove(&version) else { break };
            self.last = version;
            self.counts.applied += 1;
            effects.push(FeedEffect::Apply(update));
        }
    }

    fn has_gap(&self) -> bool {
        !self.backlog.is_empty()
    }

    fn request(&mut self, now: MonoNs, effects: &mut Vec<FeedEffect<T>>) {
        let from = if self.last == 0 { 0 } else { self.last + 1 };
        self.due = now.plus(REQUEST_AGAIN);
        self.counts.requests += 1;
        // To the newest: each gap by itself would take a request of its own, and what follows a gap may come after an older one now.
        effects.push(FeedEffect::Request { from });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// The metadata service, as far as one feed goes: it forgets what a newer update of the same subject has replaced.
    #[derive(Debug, Default)]
    struct Publisher {
        /// Subjects, with their places.
        updates: Vec<Sequenced<u64>>,
        /// Of all feeds.
        version: i64,
        last: i64,
    }

    const BATCH: usize = 16;
    const SUBJECTS: u64 = 7;

    impl Publisher {
        fn publish(&mut self, skip: i64, subject: u64) -> Sequenced<u64> {
            self.version += 1 + skip;
            let update = Sequenced { version: self.version, previous: std::mem::replace(&mut self.last, self.version), update: subject };
            self.updates.push(update.clone());
            update
        }

        /// Newest version of each subject.
        fn state(&self) -> BTreeMap<u64, i64> {
            self.updates.iter().map(|update| (update.update, update.version)).collect()
        }

        fn compact(&mut self, random: &mut StdRng) {
            let newest = self.state();
            self.updates.retain(|update| newest[&update.update] == update.version || random.gen_range(0..2) == 0);
            let mut previous = 0;
            for update in &mut self.updates {
                update.previous = std::mem::replace(&mut previous, update.version);
            }
        }

        fn missing(&self, from: i64) -> Vec<FeedEvent<u64>> {
            let wanted: Vec<_> = self.updates.iter().filter(|update| update.version >= from).cloned().collect();
            let (first, last) = (self.updates.first(), self.updates.last());
            let (first_available, last_available) = (first.map_or(0, |u| u.version), last.map_or(0, |u| u.version));
            let part = |updates: &[Sequenced<u64>]| FeedEvent::Missing { updates: updates.to_vec(), first_available, last_available };
            if wanted.is_empty() { vec![part(&[])] } else { wanted.chunks(BATCH).map(part).collect() }
        }
    }

    struct World {
        publisher: Publisher,
        feed: Feed<u64>,
        now: MonoNs,
        state: BTreeMap<u64, i64>,
        random: StdRng,
        lost_percent: u32,
        waiting: Vec<FeedEvent<u64>>,
    }

    impl World {
        fn new(seed: u64) -> World {
            let random = StdRng::seed_from_u64(seed);
            let (publisher, feed) = (Publisher::default(), Feed::new(MonoNs(0)));
            World { publisher, feed, now: MonoNs(0), state: BTreeMap::new(), random, lost_percent: 0, waiting: vec![] }
        }

        /// Loses, doubles or keeps back.
        fn send(&mut self, event: FeedEvent<u64>) {
            if self.random.gen_range(0..100) < self.lost_percent {
                return;
            }
            if self.lost_percent > 0 && self.random.gen_range(0..100) < 20 {
                let at = self.random.gen_range(0..=self.waiting.len());
                self.waiting.insert(at, event.clone());
            }
            self.waiting.push(event);
        }

        fn deliver(&mut self, count: usize) {
            for _ in 0..count.min(self.waiting.len()) {
                let at = if self.lost_percent > 0 { self.random.gen_range(0..self.waiting.len()) } else { 0 };
                let event = self.waiting.remove(at);
                self.take(event);
            }
        }

        fn take(&mut self, event: FeedEvent<u64>) {
            for effect in self.feed.handle(event, self.now) {
                match effect {
                    FeedEffect::Apply(update) => {
                        let newest = self.state.values().max().copied().unwrap_or(0);
                        assert!(update.version > newest, "in order, and each once");
                        self.state.insert(update.update, update.version);
                    }
                    FeedEffect::Reset => self.state.clear(),
                    FeedEffect::Request { from } => {
                        if self.random.gen_range(0..100) >= self.lost_percent {
                            for answer in self.publisher.missing(from) {
                                self.send(answer);
                            }
                        }
                    }
                }
            }
        }

        fn pass(&mut self, span: Duration) {
            self.now = self.now.plus(span);
            self.take(FeedEvent::Tick);
        }
    }

    proptest! {
        #[test]
        fn through_any_loss_disorder_and_repetition_it_becomes_what_was_published(
            seed in any::<u64>(),
            steps in prop::collection::vec((0_u32..90, 0_usize..60, 0_i64..3, 0_usize..40, 0_u64..9, any::<bool>()), 1..12),
        ) {
            let mut world = World::new(seed);
            for (lost, count, skip, delivered, seconds, compacts) in steps {
                world.lost_percent = lost;
                for _ in 0..count {
                    let subject = world.random.gen_range(0..SUBJECTS);
                    let update = world.publisher.publish(skip, subject);
                    world.send(FeedEvent::Update(update));
                }
                if compacts {
                    world.publisher.compact(&mut world.random);
                }
                world.deliver(delivered);
                world.pass(Duration::from_secs(seconds));
            }
            world.lost_percent = 0;
            for _ in 0..20 {
                world.deliver(usize::MAX);
                world.pass(REQUEST_AGAIN);
            }
            prop_assert_eq!(world.state, world.publisher.state());
            prop_assert!(world.feed.is_complete());
        }
    }

    #[test]
    fn a_backlog_has_an_end() {
        let mut feed = Feed::new(MonoNs(0));
        for version in 2..BACKLOG_UPDATES_MAX as i64 + 10 {
            feed.handle(FeedEvent::Update(Sequenced { version, previous: version - 1, update: () }), MonoNs(0));
        }
        assert_eq!((feed.counts().dropped, feed.version()), (8, 0));
    }

    #[test]
    fn a_publisher_that_began_anew_is_followed_from_its_beginning() {
        let mut feed = Feed::new(MonoNs(0));
        let update = |version: i64| Sequenced { version, previous: version - 1, update: () };
        feed.handle(FeedEvent::Update(update(1)), MonoNs(0));
        feed.handle(FeedEvent::Update(update(2)), MonoNs(0));
        let anew = FeedEvent::Missing { updates: vec![], first_available: 1, last_available: 1 };
        assert_eq!(feed.handle(anew, MonoNs(1)), [FeedEffect::Reset]);
        let due = feed.deadline();
        assert_eq!(feed.handle(FeedEvent::Tick, due), [FeedEffect::Request { from: 0 }]);
    }

    #[test]
    fn what_is_there_no_more_is_passed_over() {
        let mut feed = Feed::new(MonoNs(0));
        assert_eq!(feed.handle(FeedEvent::Tick, MonoNs(0)), [FeedEffect::Request { from: 0 }]);
        let update = Sequenced { version: 9, previous: 8, update: () };
        let answer = FeedEvent::Missing { updates: vec![update.clone()], first_available: 9, last_available: 9 };
        assert_eq!(feed.handle(answer, MonoNs(1)), [FeedEffect::Apply(update)]);
        assert_eq!((feed.is_complete(), feed.counts().unavailable), (true, 1));
    }
}
