//! Which Kelvin runs a query.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use api::internal::kelvin_client::KelvinClient;
use auth::{Bearer, SigningKey};
use ids::AgentId;
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::service::interceptor::InterceptedService;

use crate::Error;
use crate::metadata::{Channeled, SERVICE};
use crate::peers::Connect;
use crate::tracker::{ClusterView, KnownAgent};

/// Bytes of one of Kelvin's messages: about a megabyte of rows, and a single row may be larger than any client takes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A Kelvin that was lost is asked only if there is no other, for this long: twice a heartbeat, so that the tracker knows by then.
const AVOIDED: Duration = Duration::from_secs(10);

/// Connections to the Kelvins that there are, and how many queries run on each.
pub(crate) struct Kelvins {
    connect: Connect,
    key: SigningKey,
    known: Mutex<BTreeMap<AgentId, Arc<Kelvin>>>,
    turn: AtomicU64,
}

#[derive(Debug)]
struct Kelvin {
    address: String,
    name: String,
    hostname: String,
    channel: Channeled,
    running: AtomicUsize,
    lost: Mutex<Option<Instant>>,
}

/// A Kelvin, for one query: counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) id: AgentId,
    kelvin: Arc<Kelvin>,
}

/// What is known of one when it may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    id: AgentId,
    running: usize,
    avoided: bool,
}

impl Kelvins {
    pub(crate) fn new(connect: Connect, key: SigningKey) -> Kelvins {
        Kelvins { connect, key, known: Mutex::default(), turn: AtomicU64::default() }
    }

    /// The one with the fewest queries of ours, but for those in `without`. None if there is none.
    pub(crate) fn choose(&self, view: &ClusterView, without: &BTreeSet<AgentId>) -> Result<Option<Lease>, Error> {
        let now = Instant::now();
        let mut known = self.known.lock();
        known.retain(|id, kelvin| view.kelvins().any(|(live, agent)| live == *id && kelvin.is(agent)));
        for (id, agent) in view.kelvins() {
            if let Entry::Vacant(vacant) = known.entry(id) {
                vacant.insert(Arc::new(self.connect(agent)?));
            }
        }
        let candidates = known.iter().filter(|(id, _)| !without.contains(id)).map(|(id, kelvin)| Candidate {
            id: *id,
            running: kelvin.running.load(Ordering::Relaxed),
            avoided: kelvin.lost.lock().is_some_and(|at| now.duration_since(at) < AVOIDED),
        });
        let candidates: Vec<_> = candidates.collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let chosen = least_loaded(&candidates, turn).and_then(|id| Some((id, Arc::clone(known.get(&id)?))));
        // Within the lock, so that two queries at once do not see the same one idle.
        Ok(chosen.map(|(id, kelvin)| {
            kelvin.running.fetch_add(1, Ordering::Relaxed);
            Lease { id, kelvin }
        }))
    }

    fn connect(&self, agent: &KnownAgent) -> Result<Kelvin, Error> {
        let channel = (self.connect)(&agent.query_address, &agent.tls_server_name)?;
        Ok(Kelvin {
            address: agent.query_address.clone(),
            name: agent.tls_server_name.clone(),
            hostname: agent.hostname.clone(),
            channel: InterceptedService::new(channel, Bearer::new(self.key.clone(), SERVICE)),
            running: AtomicUsize::default(),
            lost: Mutex::default(),
        })
    }
}

impl Kelvin {
    fn is(&self, agent: &KnownAgent) -> bool {
        self.address == agent.query_address && self.name == agent.tls_server_name
    }
}

impl Lease {
    pub(crate) fn client(&self) -> KelvinClient<Channeled> {
        KelvinClient::new(self.kelvin.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// It did not answer, or not to the end.
    pub(crate) fn lost(&self) {
        *self.kelvin.lost.lock() = Some(Instant::now());
    }

    /// For people.
    pub(crate) fn name(&self) -> String {
        let Kelvin { hostname, address, .. } = &*self.kelvin;
        if hostname.is_empty() { address.clone() } else { format!("{hostname} ({address})") }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.kelvin.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The fewest queries among those that were not lost just now; who has as many takes turns.
fn least_loaded(candidates: &[Candidate], turn: u64) -> Option<AgentId> {
    let best = candidates.iter().map(|candidate| (candidate.avoided, candidate.running)).min()?;
    let equal: Vec<_> = candidates.iter().filter(|candidate| (candidate.avoided, candidate.running) == best).collect();
    equal.get((turn % equal.len() as u64) as usize).map(|candidate| candidate.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(number: u64, running: usize, avoided: bool) -> Candidate {
        Candidate { id: AgentId::from_halves(0, number), running, avoided }
    }

    fn chosen(candidates: &[Candidate], turn: u64) -> Option<u64> {
        least_loaded(candidates, turn).map(|id| id.to_halves().1)
    }

    #[test]
    fn the_one_with_the_fewest_queries_is_chosen_and_equals_take_turns() {
        let candidates = [candidate(1, 2, false), candidate(2, 1, false), candidate(3, 1, false)];
        assert_eq!((0..4).map(|turn| chosen(&candidates, turn)).collect::<Vec<_>>(), [Some(2), Some(3), Some(2), Some(3)]);
        assert_eq!(chosen(&[], 0), None);
    }

    #[test]
    fn one_that_was_lost_is_chosen_only_where_there_is_no_other() {
        assert_eq!(chosen(&[candidate(1, 0, true), candidate(2, 9, false)], 0), Some(2));
        assert_eq!(chosen(&[candidate(1, 0, true)], 0), Some(1));
    }
}
