use std::collections::VecDeque;

use ids::AgentId;

use super::types::Agent;

/// A state that subscribers were told of. Versions of different runs of this process have nothing in common.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Which run: the wall clock's nanoseconds at its start.
    pub epoch: u64,
    /// Grows with each change.
    pub number: u64,
}

/// One change. Reference: `AgentUpdate` of `metadatapb/service.proto`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentUpdate {
    /// It is there, and like this.
    Present(Box<Agent>),
    /// It is gone.
    Removed(AgentId),
}

/// What brings a subscriber to a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Where it is then.
    pub version: Version,
    /// These are all agents: what it knew before is void.
    pub full: bool,
    /// In no order; each agent once.
    pub updates: Vec<AgentUpdate>,
}

/// A part of it. What it says counts when the last part has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangesPage {
    /// Some of the updates.
    pub updates: Vec<AgentUpdate>,
    /// Whether these are the last ones.
    pub end_of_version: bool,
}

impl Changes {
    /// In parts of at most `updates_max`. There is always a last part, also if nothing changed.
    pub fn pages(self, updates_max: usize) -> Vec<ChangesPage> {
        let updates_max = updates_max.max(1);
        let mut pages: Vec<ChangesPage> =
            self.updates.chunks(updates_max).map(|updates| ChangesPage { updates: updates.to_vec(), end_of_version: false }).collect();
        match pages.last_mut() {
            Some(last) => last.end_of_version = true,
            None => pages.push(ChangesPage { updates: vec![], end_of_version: true }),
        }
        pages
    }
}

/// Removals that are remembered for subscribers. One that lags further behind gets the full state, which costs the same.
const REMOVALS_MAX: usize = 1024;

/// What is gone, by version.
#[derive(Debug, Default, Clone)]
pub(super) struct Removals {
    kept: VecDeque<(Version, AgentId)>,
    floor: u64,
}

impl Removals {
    pub(super) fn push(&mut self, version: Version, id: AgentId) {
        self.kept.push_back((version, id));
        if self.kept.len() > REMOVALS_MAX
            && let Some((dropped, _)) = self.kept.pop_front()
        {
            self.floor = dropped.number;
        }
    }

    /// None if some were forgotten.
    pub(super) fn since(&self, version: Version) -> Option<impl Iterator<Item = AgentId>> {
        let after = move |(removed, _): &&(Version, AgentId)| removed.number > version.number;
        (version.number >= self.floor).then(|| self.kept.iter().filter(after).map(|(_, id)| *id))
    }
}
