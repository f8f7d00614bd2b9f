use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ids::{AgentId, MonoNs, TracepointId, UnixNs};

use super::plan::Action;
use super::types::{Deployment, Node, Report, State, Tracepoint, Wanted};
use crate::agents::{Incarnation, Now};

/// Tracepoints at a time, those that go included. A script deploys a handful.
pub const TRACEPOINTS_MAX: usize = 1000;
/// A name that people type.
const NAME_BYTES_MAX: usize = 256;
/// All programs of one tracepoint, encoded; one transaction of the store holds it.
const DEPLOYMENT_BYTES_MAX: usize = 256 * 1024;
/// What an agent says of a tracepoint; the rest is cut off.
const MESSAGE_BYTES_MAX: usize = 4096;

/// What came of asking for a tracepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// There was none of this name.
    New(TracepointId),
    /// It is there already; it lives longer now.
    Refreshed(TracepointId),
    /// One of this name had another program: it goes.
    Replaced {
        /// The one from now on.
        new: TracepointId,
        /// The one that goes.
        old: TracepointId,
    },
}

/// Why a tracepoint was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has no name, or a very long one.
    #[error("a tracepoint needs a name of 1 to {NAME_BYTES_MAX} bytes")]
    Name,
    /// It would live for no time.
    #[error("the tracepoint `{name}` needs a time to live of more than zero")]
    TimeToLive {
        /// Whose.
        name: String,
    },
    /// It has nothing to deploy.
    #[error("the tracepoint `{name}` has no program")]
    Empty {
        /// Whose.
        name: String,
    },
    /// It is too large.
    #[error("the programs of `{name}` have {bytes} bytes, and {DEPLOYMENT_BYTES_MAX} is the limit")]
    TooLarge {
        /// Whose.
        name: String,
        /// How large.
        bytes: usize,
    },
    /// There are too many.
    #[error("there are {TRACEPOINTS_MAX} tracepoints already: delete some")]
    Full,
}

/// What became of an agent's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It is news.
    Taken,
    /// It was known.
    Known,
    /// There is no such tracepoint: the agent has to take it away.
    Unknown,
}

/// When an agent was last asked for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) wanted: Wanted,
    pub(super) incarnation: Incarnation,
    pub(super) at: MonoNs,
}

/// What changed since it was written last.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct UnsavedTracepoints {
    /// As they are now, without reports.
    pub tracepoints: BTreeSet<TracepointId>,
    /// Reports as they are now, or gone.
    pub reports: BTreeSet<(TracepointId, AgentId)>,
}

impl UnsavedTracepoints {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.tracepoints.is_empty() && self.reports.is_empty()
    }
}

/// All tracepoints. What to do about them is decided by [`super::plan`].
#[derive(Debug, Default, Clone)]
pub struct Book {
    pub(super) tracepoints: BTreeMap<TracepointId, Tracepoint>,
    pub(super) asked: BTreeMap<(TracepointId, AgentId), Asked>,
    unsaved: UnsavedTracepoints,
}

impl Book {
    /// Knows what was kept.
    pub fn load(tracepoints: Vec<Tracepoint>) -> Book {
        Book { tracepoints: tracepoints.into_iter().map(|tracepoint| (tracepoint.id, tracepoint)).collect(), ..Book::default() }
    }

    /// One of them.
    pub fn get(&self, id: TracepointId) -> Option<&Tracepoint> {
        self.tracepoints.get(&id)
    }

    /// All, by id.
    pub fn all(&self) -> impl Iterator<Item = &Tracepoint> {
        self.tracepoints.values()
    }

    /// The one that is to run under this name.
    pub fn named(&self, name: &str) -> Option<&Tracepoint> {
        self.tracepoints.values().find(|tracepoint| tracepoint.name == name && tracepoint.wanted == Wanted::Running)
    }

    /// Somebody wants it. `id` is the one that it has if it is a new one.
    ///
    /// # Errors
    /// It cannot be taken.
    pub fn register(
        &mut self,
        id: TracepointId,
        name: &str,
        deployment: Deployment,
        time_to_live: Duration,
        now: Now,
    ) -> Result<Registered, Refused> {
        check(name, &deployment, time_to_live)?;
        let expires = later(now.wall, time_to_live);
        let same = self.named(name).map(|known| (known.id, *known.deployment == deployment));
        if let Some((known, true)) = same {
            if let Some(tracepoint) = self.tracepoints.get_mut(&known) {
                tracepoint.expires = expires;
                self.unsaved.tracepoints.insert(known);
            }
            return Ok(Registered::Refreshed(known));
        }
        if self.tracepoints.len() >= TRACEPOINTS_MAX {
            return Err(Refused::Full);
        }
        if let Some((old, false)) = same {
            self.want_gone(old);
        }
        let tracepoint = Tracepoint {
            id,
            name: name.to_owned(),
            deployment: Arc::new(deployment),
            wanted: Wanted::Running,
            expires,
            reports: BTreeMap::new(),
        };
        self.tracepoints.insert(id, tracepoint);
        self.unsaved.tracepoints.insert(id);
        Ok(same.map_or(Registered::New(id), |(old, _)| Registered::Replaced { new: id, old }))
    }

    /// Nobody wants the one of this name any longer. Says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let id = self.named(name).map(|tracepoint| tracepoint.id);
        if let Some(id) = id {
            self.want_gone(id);
        }
        id.is_some()
    }

    /// An agent says where a tracepoint stands there.
    pub fn report(&mut self, id: TracepointId, agent: AgentId, mut report: Report) -> Reported {
        let Some(tracepoint) = self.tracepoints.get_mut(&id) else {
            return if report.state == State::Terminated { Reported::Known } else { Reported::Unknown };
        };
        let length = report.status.message.floor_char_boundary(MESSAGE_BYTES_MAX);
        report.status.message.truncate(length);
        if tracepoint.reports.get(&agent) == Some(&report) {
            return Reported::Known;
        }
        tracepoint.reports.insert(agent, report);
        self.unsaved.reports.insert((id, agent));
        Reported::Taken
    }

    /// Does what an action says, as far as it is done here. What agents are told is the caller's part.
    pub fn apply(&mut self, action: &Action, now: Now) {
        match action {
            Action::Expire { id } => self.want_gone(*id),
            Action::Deploy { id, agent, incarnation } => self.ask(*id, *agent, Wanted::Running, *incarnation, now),
            Action::Remove { id, agent, incarnation } => self.ask(*id, *agent, Wanted::Gone, *incarnation, now),
            Action::ForgetReport { id, agent } => {
                if let Some(tracepoint) = self.tracepoints.get_mut(id) {
                    tracepoint.reports.remove(agent);
                }
                self.asked.remove(&(*id, *agent));
                self.unsaved.reports.insert((*id, *agent));
            }
            Action::Forget { id } => {
                if let Some(tracepoint) = self.tracepoints.remove(id) {
                    self.unsaved.reports.extend(tracepoint.reports.keys().map(|agent| (*id, *agent)));
                }
                self.asked.retain(|(asked, _), _| asked != id);
                self.unsaved.tracepoints.insert(*id);
            }
        }
    }

    /// What changed since the last call. Give it back with [`Self::put_back`] if it could not be written.
    pub fn take_unsaved(&mut self) -> UnsavedTracepoints {
        std::mem::take(&mut self.unsaved)
    }

    /// What could not be written is written with what comes next.
    pub fn put_back(&mut self, unsaved: UnsavedTracepoints) {
        self.unsaved.tracepoints.extend(unsaved.tracepoints);
        self.unsaved.reports.extend(unsaved.reports);
    }

    /// What an agent is to be told, with the programs that fit its node.
    pub fn programs_for(&self, id: TracepointId, node: &Node) -> Option<(&Tracepoint, Deployment)> {
        let tracepoint = self.tracepoints.get(&id)?;
        let programs = tracepoint.deployment.programs.iter().filter(|program| program.fits(node)).cloned().collect();
        Some((tracepoint, Deployment { target: tracepoint.deployment.target.clone(), programs }))
    }

    fn want_gone(&mut self, id: TracepointId) {
        if let Some(tracepoint) = self.tracepoints.get_mut(&id) {
            tracepoint.wanted = Wanted::Gone;
            self.unsaved.tracepoints.insert(id);
        }
    }

    fn ask(&mut self, id: TracepointId, agent: AgentId, wanted: Wanted, incarnation: Incarnation, now: Now) {
        self.asked.insert((id, agent), Asked { wanted, incarnation, at: now.mono });
    }
}

fn check(name: &str, deployment: &Deployment, time_to_live: Duration) -> Result<(), Refused> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Refused::Name);
    }
    let name = || name.to_owned();
    if time_to_live.is_zero() {
        return Err(Refused::TimeToLive { name: name() });
    }
    if deployment.programs.is_empty() {
        return Err(Refused::Empty { name: name() });
    }
    let bytes = deployment.target.len() + deployment.programs.iter().map(|program| program.table.len() + program.body.len()).sum::<usize>();
    if bytes > DEPLOYMENT_BYTES_MAX { Err(Refused::TooLarge { name: name(), bytes }) } else { Ok(()) }
}

fn later(time: UnixNs, span: Duration) -> UnixNs {
    UnixNs(time.0.saturating_add(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
}
