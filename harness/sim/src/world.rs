//! What all parts of one world share: time, the bus, the network, the store, chance.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use auth::SigningKey;
use bus::{Fate, Hub};
use ids::UnixNs;
use metadata::store::Memory;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::net::Net;

/// When a world begins: 2026-01-01T00:00:00Z.
pub(crate) const BEGIN: UnixNs = UnixNs(1_767_225_600_000_000_000);

/// How likely it is that a message on the bus does not simply arrive, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weather {
    /// It is lost.
    pub(crate) lost: u8,
    /// It arrives twice.
    pub(crate) twice: u8,
    /// It arrives up to two seconds late.
    pub(crate) late: u8,
}

/// What all parts share.
#[derive(Debug)]
pub(crate) struct World {
    /// The bus.
    pub(crate) hub: Hub,
    /// The network.
    pub(crate) net: Net,
    /// What the metadata service keeps. It outlives every process.
    pub(crate) store: Memory,
    /// Of the Vizier.
    pub(crate) key: SigningKey,
    began: Instant,
    random: Mutex<StdRng>,
    trace: Mutex<Vec<String>>,
    processes: AtomicU64,
}

impl World {
    /// An empty one.
    pub(crate) fn new(seed: u64) -> Arc<World> {
        Arc::new(World {
            hub: Hub::new(),
            net: Net::default(),
            store: Memory::default(),
            key: SigningKey::new([7; 64]),
            began: Instant::now(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            trace: Mutex::default(),
            processes: AtomicU64::new(0),
        })
    }

    /// Since the world began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// A number from the seed.
    pub(crate) fn draw(&self) -> u64 {
        self.random.lock().r#gen()
    }

    /// A number below `limit`, from the seed.
    pub(crate) fn below(&self, limit: usize) -> usize {
        self.random.lock().gen_range(0..limit.max(1))
    }

    /// The number of a new process: no two have the same.
    pub(crate) fn process_number(&self) -> u64 {
        self.processes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Decides what becomes of messages from now on.
    pub(crate) fn set_weather(&self, weather: Weather) {
        let mut random = StdRng::seed_from_u64(self.draw());
        let Weather { lost, twice, late } = weather;
        self.hub.set_fates(move |_| {
            let (roll, delay) = (random.gen_range(0..100_u8), random.gen_range(1..2_000));
            if roll < lost {
                Fate::Lose
            } else if roll < lost + twice {
                Fate::Twice
            } else if roll < lost + twice + late {
                Fate::Late(Duration::from_millis(delay))
            } else {
                Fate::Deliver
            }
        });
    }

    /// Writes down what happened, and when.
    pub(crate) fn note(&self, what: &str) {
        tracing::debug!(at = ?self.elapsed(), what, "sim");
        self.trace.lock().push(format!("{:>10.3} {what}", self.elapsed().as_secs_f64()));
    }

    /// All that was written down.
    pub(crate) fn trace(&self) -> Vec<String> {
        self.trace.lock().clone()
    }

    /// A clock that shows the world's time, and that can be set wrong.
    pub(crate) fn clock(&self) -> WrongClock {
        WrongClock { began: self.began, off_ns: Arc::default() }
    }
}

/// A node's wall clock.
#[derive(Debug, Clone)]
pub(crate) struct WrongClock {
    began: Instant,
    off_ns: Arc<AtomicI64>,
}

impl WrongClock {
    /// What it shows.
    pub(crate) fn now(&self) -> UnixNs {
        let elapsed = i64::try_from(self.began.elapsed().as_nanos()).unwrap_or(i64::MAX);
        UnixNs(BEGIN.0.saturating_add(elapsed).saturating_add(self.off_ns.load(Ordering::Relaxed)))
    }

    /// Steps by this many seconds.
    pub(crate) fn step(&self, seconds: i64) {
        self.off_ns.fetch_add(seconds.saturating_mul(1_000_000_000), Ordering::Relaxed);
    }
}
