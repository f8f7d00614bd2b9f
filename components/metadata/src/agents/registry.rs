use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ids::{AgentId, Asid, UnixNs};

use super::asids::Asids;
use super::changes::{AgentUpdate, Changes, Removals, Version};
use super::stored::{Seat, Unsaved};
use super::types::{
    Agent, AgentInfo, AgentState, Answer, CollectorStatus, Heartbeat, Now, Place, Progress, Refusal, Registration, Reply, SchemaInfo,
    TableSchema,
};

/// Twelve heartbeats of 5 s. Reference: an agent is deleted after a minute without a message.
pub const AGENT_SILENCE_MAX: Duration = Duration::from_mins(1);
/// Six heartbeats of 5 s. Reference: shown as unresponsive after 30 s.
pub const AGENT_UNRESPONSIVE_AFTER: Duration = Duration::from_secs(30);
/// Kubernetes ends at 5,000 nodes; as many again while a rollout replaces them.
pub const AGENTS_MAX: usize = 10_000;
/// Places of agents that are gone, so that they have the same number when they come back. A cluster that is renewed node by node, twice.
pub const PLACES_REMEMBERED_MAX: usize = 20_000;

/// Names and addresses of one agent. The longest host name has 64 bytes, a pod's name with its namespace 317.
const INFO_BYTES_MAX: usize = 4096;
/// Tables of one agent, as they are kept: some 30 tables of 20 columns take 100 KiB.
const TABLES_BYTES_MAX: usize = 512 * 1024;
/// Collectors of one agent, with their reasons.
const COLLECTORS_BYTES_MAX: usize = 64 * 1024;
/// A filter of 10,000 names at 1 % error has 12 KiB.
const NAMES_BYTES_MAX: usize = 64 * 1024;

/// What happened to messages and agents. Each only grows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Metrics {
    /// Processes registered.
    pub registered: u64,
    /// Registrations that were known.
    pub registrations_repeated: u64,
    /// Registrations refused.
    pub refused: u64,
    /// Heartbeats taken.
    pub heartbeats: u64,
    /// Heartbeats that were known.
    pub heartbeats_repeated: u64,
    /// Heartbeats before which one is missing, or that did not say everything when they had to.
    pub heartbeats_missed: u64,
    /// Heartbeats of agents that are not registered.
    pub heartbeats_unknown: u64,
    /// Agents given up for their silence.
    pub expired: u64,
    /// Remembered places forgotten because there were too many.
    pub places_forgotten: u64,
    /// Tables, collectors and filters that were too large to be kept.
    pub cut: u64,
}

/// The agents. A caller answers when what changed is kept: `register` or `heartbeat`, then [`super::Keeper::save`], then the reply.
#[derive(Debug, Clone)]
pub struct Registry {
    agents: BTreeMap<AgentId, Agent>,
    /// Agents that are gone and would be known again.
    remembered: BTreeMap<AgentId, Seat>,
    /// The same by when they left.
    by_left: BTreeSet<(UnixNs, AgentId)>,
    places: BTreeMap<Place, AgentId>,
    asids: Asids,
    version: Version,
    removals: Removals,
    unsaved: BTreeSet<AgentId>,
    metrics: Metrics,
}

impl Registry {
    /// Knows what was kept. Agents that were alive have as much time as if they had just been heard.
    pub fn load(last_asid: Asid, seats: Vec<Seat>, now: Now) -> Registry {
        let epoch = now.wall.0.unsigned_abs();
        let mut registry = Registry {
            agents: BTreeMap::new(),
            remembered: BTreeMap::new(),
            by_left: BTreeSet::new(),
            places: seats.iter().map(|seat| (seat.place.clone(), seat.id)).collect(),
            asids: Asids::new(last_asid, seats.iter().map(|seat| seat.asid)),
            version: Version { epoch, number: 0 },
            removals: Removals::default(),
            unsaved: BTreeSet::new(),
            metrics: Metrics::default(),
        };
        for seat in seats {
            if let Some(left) = seat.left {
                registry.by_left.insert((left, seat.id));
                registry.remembered.insert(seat.id, seat);
            } else {
                let version = registry.next_version();
                let progress = if seat.told { Progress::Restored } else { Progress::Fresh };
                registry.agents.insert(seat.id, agent(seat, now, progress, version));
            }
        }
        registry
    }

    /// An agent's first word. The same word again has the same answer and changes nothing.
    pub fn register(&mut self, word: Registration, now: Now) -> Reply {
        let (to, incarnation) = (word.id, word.incarnation);
        let answer = match self.seat_of(&word) {
            Ok(Some(id)) if self.agents.contains_key(&id) => self.register_again(id, word, now),
            Ok(Some(id)) => self.come_back(id, word, now),
            Ok(None) => self.join(word, now),
            Err(refusal) => Answer::Refused(refusal),
        };
        if let Answer::Refused(_) = answer {
            self.metrics.refused += 1;
        }
        Reply { to, incarnation, answer }
    }

    /// An agent's word every five seconds.
    pub fn heartbeat(&mut self, word: Heartbeat, now: Now) -> Reply {
        let (to, incarnation) = (word.id, word.incarnation);
        Reply { to, incarnation, answer: self.answer_heartbeat(word, now) }
    }

    /// Gives up those that were silent for too long, and says who.
    pub fn expire(&mut self, now: Now) -> Vec<AgentId> {
        let silent = |agent: &&Agent| now.mono.since(agent.heard_mono) >= AGENT_SILENCE_MAX;
        let gone: Vec<AgentId> = self.agents.values().filter(silent).map(|agent| agent.id).collect();
        for id in &gone {
            let Some(agent) = self.agents.remove(id) else { continue };
            let version = self.next_version();
            self.removals.push(version, *id);
            self.remember(Seat { left: Some(now.wall), tables: Arc::default(), collectors: BTreeMap::new(), ..seat(&agent) });
            self.metrics.expired += 1;
        }
        gone
    }

    /// A live agent.
    pub fn agent(&self, id: AgentId) -> Option<&Agent> {
        self.agents.get(&id)
    }

    /// Every live agent, by id.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    /// Whether an agent can be counted on.
    pub fn state(agent: &Agent, now: Now) -> AgentState {
        if now.mono.since(agent.heard_mono) > AGENT_UNRESPONSIVE_AFTER { AgentState::Unresponsive } else { AgentState::Healthy }
    }

    /// Every table and who has it. While a release is rolled out a table can be there in two forms.
    pub fn schemas(&self) -> Vec<SchemaInfo> {
        let mut tables: BTreeMap<&TableSchema, Vec<AgentId>> = BTreeMap::new();
        for agent in self.agents.values() {
            for table in agent.tables.iter() {
                tables.entry(table).or_default().push(agent.id);
            }
        }
        tables.into_iter().map(|(table, agents)| SchemaInfo { table: table.clone(), agents }).collect()
    }

    /// The newest version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// What somebody who knows `since` has to be told: everything if that is not known any more.
    pub fn changes_since(&self, since: Option<Version>) -> Changes {
        let known = since.filter(|since| since.epoch == self.version.epoch && since.number <= self.version.number);
        let removed: Option<Vec<AgentId>> = known.and_then(|known| self.removals.since(known)).map(Iterator::collect);
        let (full, from) = match (&removed, known) {
            (Some(_), Some(known)) => (false, known.number),
            _ => (true, 0),
        };
        let gone: BTreeSet<AgentId> = removed.into_iter().flatten().filter(|id| !self.agents.contains_key(id)).collect();
        let present = self.agents.values().filter(|agent| full || agent.changed.number > from);
        let present = present.map(|agent| AgentUpdate::Present(Box::new(agent.clone())));
        let updates = gone.into_iter().map(AgentUpdate::Removed).chain(present).collect();
        Changes { version: self.version, full, updates }
    }

    /// What happened to messages and agents.
    pub fn metrics(&self) -> Metrics {
        self.metrics
    }

    /// All that is kept: what [`Self::load`] makes the same registry of.
    pub fn stored(&self) -> (Asid, Vec<Seat>) {
        let mut seats: Vec<Seat> = self.agents.values().map(seat).chain(self.remembered.values().cloned()).collect();
        seats.sort_by_key(|seat| seat.id);
        (self.asids.last(), seats)
    }

    /// What changed since the last call. Give it back with [`Self::put_back`] if it could not be written.
    pub fn take_unsaved(&mut self) -> Unsaved {
        let mut unsaved = Unsaved { last_asid: self.asids.last(), seats: vec![], forgotten: vec![] };
        for id in std::mem::take(&mut self.unsaved) {
            match (self.agents.get(&id), self.remembered.get(&id)) {
                (Some(agent), _) => unsaved.seats.push(seat(agent)),
                (None, Some(seat)) => unsaved.seats.push(seat.clone()),
                (None, None) => unsaved.forgotten.push(id),
            }
        }
        unsaved
    }

    /// What could not be written is written with what comes next.
    pub fn put_back(&mut self, unsaved: &Unsaved) {
        self.unsaved.extend(unsaved.seats.iter().map(|seat| seat.id).chain(unsaved.forgotten.iter().copied()));
    }

    /// Whose place it is.
    fn seat_of(&self, word: &Registration) -> Result<Option<AgentId>, Refusal> {
        let (info, place) = (&word.info, &word.place);
        let own = [&info.hostname, &info.pod_name, &info.host_address, &info.address, &info.version, &info.kernel_release, &info.boot_id];
        let reached = [&info.rpc_address, &info.query_address, &info.tls_server_name, &place.host];
        if own.iter().chain(&reached).map(|text| text.len()).sum::<usize>() > INFO_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let seat = self.places.get(place).copied();
        let taken = self.agents.contains_key(&word.id) || self.remembered.contains_key(&word.id);
        if taken && seat != Some(word.id) { Err(Refusal::IdTaken) } else { Ok(seat) }
    }

    /// The place has a live agent: this is it, or the one that takes over from it.
    fn register_again(&mut self, id: AgentId, word: Registration, now: Now) -> Answer {
        let version = Version { number: self.version.number + 1, ..self.version };
        let Some(agent) = self.agents.get_mut(&id) else { return Answer::Unregistered };
        if word.incarnation < agent.incarnation {
            return Answer::Refused(Refusal::Superseded);
        }
        let answer = Answer::Registered { id, asid: agent.asid };
        let repeated = word.incarnation == agent.incarnation;
        if repeated && agent.progress != Progress::Lost {
            self.metrics.registrations_repeated += 1;
            return answer;
        }
        (agent.heard, agent.heard_mono, agent.progress) = (now.wall, now.mono, Progress::Fresh);
        if !repeated || agent.info != word.info {
            agent.told &= repeated;
            (agent.incarnation, agent.info, agent.registered) = (word.incarnation, word.info, now.wall);
            (agent.changed, self.version) = (version, version);
            self.unsaved.insert(id);
        }
        self.metrics.registered += 1;
        answer
    }

    /// The place is remembered.
    fn come_back(&mut self, id: AgentId, word: Registration, now: Now) -> Answer {
        if self.agents.len() >= AGENTS_MAX {
            return Answer::Refused(Refusal::Full);
        }
        let Some(seat) = self.remembered.remove(&id) else { return Answer::Unregistered };
        if let Some(left) = seat.left {
            self.by_left.remove(&(left, id));
        }
        self.sit(Seat { incarnation: word.incarnation, info: word.info, registered: now.wall, left: None, told: false, ..seat }, now)
    }

    /// Nobody was ever there.
    fn join(&mut self, word: Registration, now: Now) -> Answer {
        if self.agents.len() >= AGENTS_MAX {
            return Answer::Refused(Refusal::Full);
        }
        let asid = self.asids.give(word.asid);
        self.places.insert(word.place.clone(), word.id);
        let seat = Seat {
            id: word.id,
            asid,
            place: word.place,
            incarnation: word.incarnation,
            info: word.info,
            registered: now.wall,
            left: None,
            told: false,
            tables: Arc::default(),
            collectors: BTreeMap::new(),
        };
        self.sit(seat, now)
    }

    fn sit(&mut self, seat: Seat, now: Now) -> Answer {
        let (id, asid, version) = (seat.id, seat.asid, self.next_version());
        self.agents.insert(id, agent(seat, now, Progress::Fresh, version));
        self.unsaved.insert(id);
        self.metrics.registered += 1;
        Answer::Registered { id, asid }
    }

    fn answer_heartbeat(&mut self, word: Heartbeat, now: Now) -> Answer {
        let version = Version { number: self.version.number + 1, ..self.version };
        let Some(agent) = self.agents.get_mut(&word.id) else {
            self.metrics.heartbeats_unknown += 1;
            return Answer::Unregistered;
        };
        if word.incarnation < agent.incarnation {
            self.metrics.refused += 1;
            return Answer::Refused(Refusal::Superseded);
        }
        if word.incarnation > agent.incarnation {
            self.metrics.heartbeats_unknown += 1;
            return Answer::Unregistered;
        }
        let says_everything = word.tables.is_some() && word.collectors.is_some();
        match agent.progress {
            Progress::After(last) if word.sequence <= last => {
                // The newest one again: it is alive, and did not hear us. An older one was on its way for long.
                if word.sequence == last {
                    (agent.heard, agent.heard_mono) = (now.wall, agent.heard_mono.max(now.mono));
                }
                self.metrics.heartbeats_repeated += 1;
                return Answer::Ack { sequence: word.sequence };
            }
            Progress::After(last) if word.sequence > last + 1 => {
                agent.progress = Progress::Lost;
                self.metrics.heartbeats_missed += 1;
                return Answer::Unregistered;
            }
            Progress::Fresh if !says_everything => {
                agent.progress = Progress::Lost;
                self.metrics.heartbeats_missed += 1;
                return Answer::Unregistered;
            }
            Progress::Lost => {
                self.metrics.heartbeats_missed += 1;
                return Answer::Unregistered;
            }
            Progress::Fresh | Progress::Restored | Progress::After(_) => {}
        }
        (agent.heard, agent.heard_mono, agent.progress) = (now.wall, now.mono, Progress::After(word.sequence));
        let (id, sequence) = (word.id, word.sequence);
        let change = take(agent, word, &mut self.metrics.cut);
        if change != Change::Nothing {
            (agent.changed, self.version) = (version, version);
        }
        if change == Change::Kept || (says_everything && !agent.told) {
            agent.told |= says_everything;
            self.unsaved.insert(id);
        }
        self.metrics.heartbeats += 1;
        Answer::Ack { sequence }
    }

    fn remember(&mut self, seat: Seat) {
        self.unsaved.insert(seat.id);
        if let Some(left) = seat.left {
            self.by_left.insert((left, seat.id));
        }
        self.remembered.insert(seat.id, seat);
        if self.remembered.len() > PLACES_REMEMBERED_MAX
            && let Some((_, oldest)) = self.by_left.pop_first()
            && let Some(forgotten) = self.remembered.remove(&oldest)
        {
            self.places.remove(&forgotten.place);
            self.asids.give_back(forgotten.asid);
            self.unsaved.insert(oldest);
            self.metrics.places_forgotten += 1;
        }
    }

    fn next_version(&mut self) -> Version {
        self.version.number += 1;
        self.version
    }
}

#[derive(PartialEq, Eq)]
enum Change {
    Nothing,
    /// Subscribers want to know.
    Told,
    /// And it is kept.
    Kept,
}

/// Takes what a heartbeat says over.
fn take(agent: &mut Agent, word: Heartbeat, cut: &mut u64) -> Change {
    let mut change = Change::Nothing;
    if let Some(names) = word.names {
        let names = Some(names).filter(|names| names.len() <= NAMES_BYTES_MAX).or_else(|| {
            *cut += 1;
            None
        });
        if agent.names.as_deref() != names.as_ref() {
            agent.names = names.map(Arc::new);
            change = Change::Told;
        }
    }
    if let Some(tables) = word.tables {
        let tables = fitting(tables, table_bytes, TABLES_BYTES_MAX, cut);
        if *agent.tables != tables {
            agent.tables = Arc::new(tables);
            change = Change::Kept;
        }
    }
    if let Some(collectors) = word.collectors {
        let bytes =
            |(name, status): &(String, CollectorStatus)| name.len() + status.way.len() + status.reason.len() + status.remedy.len() + 64;
        let collectors = fitting(collectors.into_iter().collect(), bytes, COLLECTORS_BYTES_MAX, cut).into_iter().collect();
        if agent.collectors != collectors {
            agent.collectors = collectors;
            change = Change::Kept;
        }
    }
    change
}

/// The first ones that have no more than `bytes_max` together.
fn fitting<T>(all: Vec<T>, bytes: impl Fn(&T) -> usize, bytes_max: usize, cut: &mut u64) -> Vec<T> {
    let (mut sum, count) = (0, all.len());
    let kept: Vec<T> = all
        .into_iter()
        .take_while(|one| {
            sum += bytes(one);
            sum <= bytes_max
        })
        .collect();
    *cut += (count - kept.len()) as u64;
    kept
}

/// As it is kept, about.
fn table_bytes(table: &TableSchema) -> usize {
    let columns: usize = table.columns.iter().map(|column| column.name.len() + column.description.len() + 80).sum();
    table.name.len() + table.description.len() + 64 + columns
}

fn agent(seat: Seat, now: Now, progress: Progress, changed: Version) -> Agent {
    Agent {
        id: seat.id,
        asid: seat.asid,
        place: seat.place,
        incarnation: seat.incarnation,
        info: seat.info,
        registered: seat.registered,
        heard: now.wall,
        tables: seat.tables,
        collectors: seat.collectors,
        names: None,
        told: seat.told,
        heard_mono: now.mono,
        progress,
        changed,
    }
}

fn seat(agent: &Agent) -> Seat {
    Seat {
        id: agent.id,
        asid: agent.asid,
        place: agent.place.clone(),
        incarnation: agent.incarnation,
        info: AgentInfo::clone(&agent.info),
        registered: agent.registered,
        left: None,
        told: agent.told,
        tables: agent.tables.clone(),
        collectors: agent.collectors.clone(),
    }
}
