use std::sync::Arc;
use std::time::Duration;

use ids::{AgentId, Asid, MonoNs};
use rand::{Rng, RngCore};

use super::news::{News, Parts};
use super::types::{Answer, Beat, Cluster, Incarnation, Member, Now, Profile, Refusal, Registration, Word};
use crate::Backoff;

/// How often an agent says that it lives. Reference: 5 s.
pub const HEARTBEAT_PERIOD: Duration = Duration::from_secs(5);
/// Whoever begins together does not speak at once. The original waits up to 60 s; a new node shall take part within two.
pub const REGISTER_JITTER_MAX: Duration = Duration::from_secs(1);
/// How often a member says its registration again. Whoever restarted without its state may have given another number to one of those that were on
/// their way, in an answer that was lost: heartbeats would not show it.
pub const CONFIRM_PERIOD: Duration = Duration::from_mins(1);
/// Every so many confirmations everything is told again: whoever restarted between a late registration and the beat after it knows the agent, and
/// nothing of it. Some 100 KiB in ten minutes.
const CONFIRMATIONS_PER_EVERYTHING: u32 = 10;
/// News that are waited for (a new table) do not wait for the next beat, but this long after the last one.
const HURRY_MIN: Duration = Duration::from_millis(500);
/// Between registrations that nobody answers.
const ASK_AGAIN: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(10) };
/// Between registrations that are refused: whatever it is, it does not change in seconds.
const REFUSED_AGAIN: Backoff = Backoff { first: Duration::from_secs(10), max: Duration::from_mins(1) };

/// Something that happened to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The bus carries messages again: whatever waits is said.
    Connected,
    /// The metadata service has spoken.
    Heard(Word),
    /// Something in [`Life::news`] should not wait for the next beat.
    Hurry,
}

/// What has to be done about it, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answers come under this id from now on.
    Listen(AgentId),
    /// Say it.
    Register(Box<Registration>),
    /// Say it.
    Beat(Arc<Beat>),
    /// It is this agent from now on; perhaps it was before.
    Joined(Member),
    /// What is known of the cluster.
    Cluster(Cluster),
    /// It is over: nothing more is said. Why, for people.
    Stop(String),
}

/// How the agent stands, for people and health checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It wants to belong to the Vizier.
    Registering {
        /// Registrations that were said since it last belonged.
        asked: u32,
        /// Why it does not yet, if something was said about it.
        reason: Option<String>,
    },
    /// It does.
    Running(Member),
    /// It must not.
    Stopped {
        /// Why.
        reason: String,
    },
}

/// What was said and heard. Each only grows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LifeCounts {
    /// Registrations said, repeated ones too.
    pub registrations: u64,
    /// Registrations refused.
    pub refused: u64,
    /// How often it became a member, the first time included.
    pub joined: u64,
    /// Beats made.
    pub beats: u64,
    /// Beats said again.
    pub beats_repeated: u64,
    /// Beats acknowledged.
    pub acknowledged: u64,
    /// Answers for another run of the process, or to what is no longer asked.
    pub answers_ignored: u64,
}

#[derive(Debug)]
enum State {
    Registering { due: MonoNs, asked: u32, reason: Option<String> },
    Running { member: Member, due: MonoNs, last: MonoNs, confirm: MonoNs, sent: Option<Arc<Beat>> },
    Stopped { reason: String },
}

/// One run of an agent's process, as the metadata service sees it.
#[derive(Debug)]
pub struct Life {
    profile: Profile,
    incarnation: Incarnation,
    id: AgentId,
    /// The number that it had last.
    asid: Option<Asid>,
    /// Of the last beat that was made.
    sequence: u64,
    confirmations: u32,
    state: State,
    news: News,
    counts: LifeCounts,
}

impl Life {
    /// It begins to register within [`REGISTER_JITTER_MAX`]. `id` is random: the place may have another one.
    pub fn new(profile: Profile, incarnation: Incarnation, id: AgentId, now: Now, random: &mut dyn RngCore) -> Life {
        let state = State::Registering { due: soon(now, random), asked: 0, reason: None };
        let (sequence, confirmations) = (0, 0);
        Life { profile, incarnation, id, asid: None, sequence, confirmations, state, news: News::default(), counts: LifeCounts::default() }
    }

    /// Under which id answers come.
    pub fn id(&self) -> AgentId {
        self.id
    }

    /// What the next beat carries.
    pub fn news(&mut self) -> &mut News {
        &mut self.news
    }

    /// What was said and heard.
    pub fn counts(&self) -> LifeCounts {
        self.counts
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        match &self.state {
            State::Registering { asked, reason, .. } => Standing::Registering { asked: *asked, reason: reason.clone() },
            State::Running { member, .. } => Standing::Running(*member),
            State::Stopped { reason } => Standing::Stopped { reason: reason.clone() },
        }
    }

    /// When the next [`Event::Tick`] is due; never, once it has stopped.
    pub fn deadline(&self) -> Option<MonoNs> {
        match &self.state {
            State::Registering { due, .. } => Some(*due),
            State::Running { due, confirm, .. } => Some(*due.min(confirm)),
            State::Stopped { .. } => None,
        }
    }

    /// Takes an event.
    pub fn handle(&mut self, event: Event, now: Now, random: &mut dyn RngCore) -> Vec<Effect> {
        match event {
            Event::Tick => self.tick(now, random),
            Event::Connected => {
                match &mut self.state {
                    State::Registering { due, .. } | State::Running { due, .. } => *due = soon(now, random).min(*due),
                    State::Stopped { .. } => {}
                }
                vec![]
            }
            Event::Hurry => {
                match &mut self.state {
                    State::Running { due, last, sent: None, .. } => *due = last.plus(HURRY_MIN).max(now.mono).min(*due),
                    // A beat that is not acknowledged is said first; a registration is followed by everything.
                    State::Running { sent: Some(_), .. } | State::Registering { .. } | State::Stopped { .. } => {}
                }
                vec![]
            }
            Event::Heard(word) if word.incarnation.is_some_and(|other| other != self.incarnation) => self.ignore(),
            Event::Heard(word) => self.hear(word.answer, now, random),
        }
    }

    fn tick(&mut self, now: Now, random: &mut dyn RngCore) -> Vec<Effect> {
        match &mut self.state {
            State::Registering { due, asked, .. } if *due <= now.mono => {
                *asked = asked.saturating_add(1);
                *due = now.mono.plus(ASK_AGAIN.delay(*asked, random));
                self.counts.registrations += 1;
                vec![Effect::Register(Box::new(self.registration()))]
            }
            State::Running { due, .. } if *due <= now.mono => vec![Effect::Beat(self.beat(now))],
            State::Running { confirm, .. } if *confirm <= now.mono => {
                *confirm = now.mono.plus(CONFIRM_PERIOD);
                self.confirmations = self.confirmations.wrapping_add(1);
                if self.confirmations.is_multiple_of(CONFIRMATIONS_PER_EVERYTHING) {
                    self.news.tell_everything();
                }
                self.counts.registrations += 1;
                vec![Effect::Register(Box::new(self.registration()))]
            }
            State::Registering { .. } | State::Running { .. } | State::Stopped { .. } => vec![],
        }
    }

    fn registration(&self) -> Registration {
        Registration { id: self.id, incarnation: self.incarnation, asid: self.asid, profile: self.profile.clone() }
    }

    /// The one that is not acknowledged, else a new one.
    fn beat(&mut self, now: Now) -> Arc<Beat> {
        let (id, incarnation) = (self.id, self.incarnation);
        let (news, sequence, counts) = (&mut self.news, &mut self.sequence, &mut self.counts);
        let mut make = || {
            *sequence += 1;
            let Parts { tables, collectors, names, processes } = news.take();
            Arc::new(Beat { id, incarnation, sequence: *sequence, time: now.wall, tables, collectors, names, processes })
        };
        match &mut self.state {
            State::Running { due, last, sent, .. } => {
                (*due, *last) = (now.mono.plus(HEARTBEAT_PERIOD), now.mono);
                if let Some(beat) = sent {
                    counts.beats_repeated += 1;
                    return Arc::clone(beat);
                }
                counts.beats += 1;
                Arc::clone(sent.insert(make()))
            }
            State::Registering { .. } | State::Stopped { .. } => make(),
        }
    }

    fn hear(&mut self, answer: Answer, now: Now, random: &mut dyn RngCore) -> Vec<Effect> {
        match (&mut self.state, answer) {
            (State::Registering { .. }, Answer::Registered { id, asid }) => self.join(Member { id: id.unwrap_or(self.id), asid }, now),
            (State::Registering { .. }, Answer::Refused { refusal, text }) => self.refused(refusal, text, now, random),
            (State::Registering { .. } | State::Running { .. }, Answer::Stop { refusal, text }) => match refusal {
                Refusal::Unsaid | Refusal::Superseded => self.stop(text),
                Refusal::IdTaken | Refusal::Full | Refusal::TooLarge => self.refused(refusal, text, now, random),
            },
            (State::Running { member, .. }, Answer::Registered { id, asid }) => {
                if *member == (Member { id: id.unwrap_or(self.id), asid }) {
                    return self.ignore();
                }
                // One of both answers is old: what is asked now decides.
                self.register_again("the metadata service gave two identities".to_owned(), now, random)
            }
            (State::Running { .. }, Answer::Refused { refusal: Refusal::Superseded, text }) => self.stop(text),
            // To what was said before it registered again, to a registration before the one that was taken, or to one who has stopped.
            (State::Registering { .. }, Answer::Acknowledged { .. } | Answer::Unregistered { .. })
            | (State::Running { .. }, Answer::Refused { .. })
            | (State::Stopped { .. }, _) => self.ignore(),
            (State::Running { sent, .. }, Answer::Acknowledged { sequence, cluster }) => {
                if sent.as_ref().is_none_or(|beat| beat.sequence != sequence) {
                    return self.ignore();
                }
                *sent = None;
                self.counts.acknowledged += 1;
                cluster.map(Effect::Cluster).into_iter().collect()
            }
            (State::Running { .. }, Answer::Unregistered { text }) => self.register_again(text, now, random),
        }
    }

    fn join(&mut self, member: Member, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        if member.id != self.id {
            self.id = member.id;
            effects.push(Effect::Listen(member.id));
        }
        self.asid = Some(member.asid);
        self.counts.joined += 1;
        self.news.tell_everything();
        // What was subscribed is in effect when the first beat is said.
        self.state = State::Running { member, due: now.mono, last: now.mono, confirm: now.mono.plus(CONFIRM_PERIOD), sent: None };
        effects.push(Effect::Joined(member));
        effects
    }

    fn refused(&mut self, refusal: Refusal, text: String, now: Now, random: &mut dyn RngCore) -> Vec<Effect> {
        self.counts.refused += 1;
        match refusal {
            // Who was a member has been replaced. Who never was may have started after the wall clock stepped back: it is taken once the one
            // before it is given up, after a minute.
            Refusal::Superseded if self.asid.is_some() => self.stop(text),
            Refusal::IdTaken => {
                self.id = AgentId::from_halves(random.next_u64(), random.next_u64());
                self.wait_to_register(soon(now, random), Some(text));
                vec![Effect::Listen(self.id)]
            }
            Refusal::Superseded | Refusal::Unsaid | Refusal::Full | Refusal::TooLarge => {
                let asked = match &self.state {
                    State::Registering { asked, .. } => *asked,
                    State::Running { .. } | State::Stopped { .. } => 1,
                };
                self.wait_to_register(now.mono.plus(REFUSED_AGAIN.delay(asked, random)), Some(text));
                vec![]
            }
        }
    }

    fn register_again(&mut self, reason: String, now: Now, random: &mut dyn RngCore) -> Vec<Effect> {
        if let State::Running { sent: Some(beat), .. } = &self.state {
            // Its number is used; what it said of processes is said by the next one.
            let processes = beat.processes.clone();
            self.news.put_back(processes);
        }
        self.wait_to_register(soon(now, random), Some(reason));
        vec![]
    }

    fn wait_to_register(&mut self, due: MonoNs, reason: Option<String>) {
        let asked = match &self.state {
            State::Registering { asked, .. } => *asked,
            State::Running { .. } | State::Stopped { .. } => 0,
        };
        self.state = State::Registering { due, asked, reason };
    }

    fn stop(&mut self, reason: String) -> Vec<Effect> {
        self.state = State::Stopped { reason: reason.clone() };
        vec![Effect::Stop(reason)]
    }

    fn ignore(&mut self) -> Vec<Effect> {
        self.counts.answers_ignored += 1;
        vec![]
    }
}

fn soon(now: Now, random: &mut dyn RngCore) -> MonoNs {
    now.mono.plus(REGISTER_JITTER_MAX.mul_f64(random.gen_range(0.0..1.0)))
}
