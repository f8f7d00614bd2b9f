//! What the connector does next. Pure: time, randomness and all that happens are arguments; what is to be done comes back.

use std::time::Duration;

use bus::Backoff;

use crate::identity::Identity;

/// From heartbeat to heartbeat. Reference: vizier.md, section 3.2.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

/// How long the control plane may take to say whether it knows us. Reference: section 3.1.
pub const ACK_MAX: Duration = Duration::from_secs(30);

/// The first wait after a failure, before jitter: a control plane that restarts is back by then.
pub const RETRY_FIRST: Duration = Duration::from_millis(500);

/// No wait is longer: an hour of outage costs half a minute more. The original waits up to half an hour.
pub const RETRY_MAX: Duration = Duration::from_secs(30);

/// Without a heartbeat that was handed over for as long, though a bridge is open, something hangs that only a restart heals. Reference:
/// section 3.2.
pub const WATCHDOG_MAX: Duration = Duration::from_mins(10);

/// How the control plane refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not reached, or it ended what was begun.
    Unreached,
    /// It does not take our deploy key.
    Key,
    /// It knows no such cluster of ours.
    Unknown,
    /// Another connector of this cluster is active.
    Active,
}

/// What happens. Times (arguments of [`Machine::handle`]) are counted from the process's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The process runs, with the identity that it was given before, if it was.
    Started(Option<Identity>),
    /// The control plane has given us an identity.
    Registered(Identity),
    /// The bridge stands, and we have said who we are.
    Greeted,
    /// The control plane knows us.
    Acknowledged {
        /// What it calls us now.
        name: String,
    },
    /// A heartbeat was handed over.
    Beaten,
    /// What was begun has failed, or ended.
    Failed(Refusal),
    /// Time has passed.
    Time,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the control plane for an identity.
    Register,
    /// Keep the identity.
    Keep(Identity),
    /// Open the bridge and say who we are.
    Open(Identity),
    /// Send a heartbeat with this number.
    Beat(i64),
    /// End the bridge.
    Close,
    /// Leave, to be started again.
    Leave,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Nothing was said yet.
    New,
    /// An identity was asked for.
    Registering,
    /// The bridge is being opened.
    Opening(Identity),
    /// We have said who we are.
    Greeting { identity: Identity, since: Duration },
    /// The control plane knows us.
    Up { identity: Identity, next_beat: Duration, last_beat: Duration },
    /// Something failed; it is tried again.
    Waiting { identity: Option<Identity>, until: Duration },
    /// Something hangs.
    Left,
}

/// The connector's state.
#[derive(Debug)]
pub struct Machine {
    state: State,
    refusal: Option<Refusal>,
    backoff: Backoff,
    beats: i64,
}

impl Machine {
    /// Before it starts. `seed`: from which its waits are drawn.
    pub fn new(seed: u64) -> Self {
        Self { state: State::New, refusal: None, backoff: Backoff::new(RETRY_FIRST, RETRY_MAX, seed), beats: 0 }
    }

    /// Something happens at `now`.
    pub fn handle(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        let state = std::mem::replace(&mut self.state, State::New);
        let (state, effects) = self.step(state, event, now);
        self.state = state;
        effects
    }

    fn step(&mut self, state: State, event: Event, now: Duration) -> (State, Vec<Effect>) {
        match (state, event) {
            (State::New, Event::Started(Some(identity))) => (State::Opening(identity.clone()), vec![Effect::Open(identity)]),
            (State::New, Event::Started(None)) => (State::Registering, vec![Effect::Register]),
            (State::Registering, Event::Registered(identity)) => {
                self.backoff.reset();
                (State::Opening(identity.clone()), vec![Effect::Keep(identity.clone()), Effect::Open(identity)])
            }
            (State::Opening(identity), Event::Greeted) => (State::Greeting { identity, since: now }, vec![]),
            (State::Greeting { identity, .. }, Event::Acknowledged { name }) => {
                self.backoff.reset();
                self.refusal = None;
                self.up(&identity, name, now)
            }
            (State::Up { identity, next_beat, .. }, Event::Beaten) => (State::Up { identity, next_beat, last_beat: now }, vec![]),
            (State::Registering, Event::Failed(refusal)) => self.wait(None, refusal, now),
            (State::Opening(identity) | State::Greeting { identity, .. } | State::Up { identity, .. }, Event::Failed(refusal)) => {
                self.wait(Some(identity), refusal, now)
            }
            (state, Event::Time) => self.time(state, now),
            // A duplicate, or news of something that has ended meanwhile.
            (
                state @ (State::New
                | State::Registering
                | State::Opening(_)
                | State::Greeting { .. }
                | State::Up { .. }
                | State::Waiting { .. }
                | State::Left),
                Event::Started(_) | Event::Registered(_) | Event::Greeted | Event::Acknowledged { .. } | Event::Beaten | Event::Failed(_),
            ) => (state, vec![]),
        }
    }

    fn time(&mut self, state: State, now: Duration) -> (State, Vec<Effect>) {
        match state {
            State::Greeting { identity, since } if now >= since + ACK_MAX => {
                let (state, _) = self.wait(Some(identity), Refusal::Unreached, now);
                (state, vec![Effect::Close])
            }
            State::Up { last_beat, .. } if now >= last_beat + WATCHDOG_MAX => (State::Left, vec![Effect::Leave]),
            State::Up { identity, next_beat, last_beat } if now >= next_beat => {
                self.beats += 1;
                // After a pause of the whole process there is one heartbeat, not all that were missed.
                let next_beat = (next_beat + HEARTBEAT_EVERY).max(now);
                (State::Up { identity, next_beat, last_beat }, vec![Effect::Beat(self.beats)])
            }
            State::Waiting { identity, until } if now >= until => match identity {
                Some(identity) => (State::Opening(identity.clone()), vec![Effect::Open(identity)]),
                None => (State::Registering, vec![Effect::Register]),
            },
            state @ (State::New
            | State::Registering
            | State::Opening(_)
            | State::Greeting { .. }
            | State::Up { .. }
            | State::Waiting { .. }
            | State::Left) => (state, vec![]),
        }
    }

    fn up(&mut self, identity: &Identity, name: String, now: Duration) -> (State, Vec<Effect>) {
        self.beats += 1;
        let mut effects = Vec::new();
        let named = Identity { name, ..identity.clone() };
        if named != *identity {
            effects.push(Effect::Keep(named.clone()));
        }
        effects.push(Effect::Beat(self.beats));
        (State::Up { identity: named, next_beat: now + HEARTBEAT_EVERY, last_beat: now }, effects)
    }

    fn wait(&mut self, identity: Option<Identity>, refusal: Refusal, now: Duration) -> (State, Vec<Effect>) {
        self.refusal = Some(refusal);
        (State::Waiting { identity, until: now + self.backoff.next_delay() }, vec![])
    }

    /// When [`Event::Time`] is due; None: not by time alone.
    pub fn deadline(&self) -> Option<Duration> {
        match &self.state {
            State::Greeting { since, .. } => Some(*since + ACK_MAX),
            State::Up { next_beat, last_beat, .. } => Some((*next_beat).min(*last_beat + WATCHDOG_MAX)),
            State::Waiting { until, .. } => Some(*until),
            State::New | State::Registering | State::Opening(_) | State::Left => None,
        }
    }

    /// Who we are, once we have been told.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.state {
            State::Opening(identity) | State::Greeting { identity, .. } | State::Up { identity, .. } => Some(identity),
            State::Waiting { identity, .. } => identity.as_ref(),
            State::New | State::Registering | State::Left => None,
        }
    }

    /// Whether the control plane knows us and is connected.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Why it is not up, in the words of `/statusz`. Reference: vizier.md, section 3.
    pub fn reason(&self) -> Option<&'static str> {
        match (&self.state, self.refusal) {
            (State::Up { .. }, _) => None,
            (_, Some(Refusal::Key)) => Some("InvalidDeployKey"),
            (_, Some(Refusal::Active)) => Some("CloudConnectorRegistering"),
            (_, None) if self.identity().is_none() => Some("CloudConnectorRegistering"),
            (_, Some(Refusal::Unreached | Refusal::Unknown) | None) => Some("CloudConnectFailed"),
        }
    }
}
