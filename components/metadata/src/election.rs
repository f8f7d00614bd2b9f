//! Which of several replicas may lead: a record that the leader renews. Pure, so that it is tested without clocks.
//!
//! ```text
//! candidate: sees the record ─▶ waits while it changes ─▶ claims it when it was released, or did not change for the lease
//! leader:    renews it ─▶ steps down when it could not for the deadline, or somebody else has it ─▶ releases it when it stops
//! ```
//!
//! Clocks of replicas are never compared: a candidate measures on its own how long the record has not changed.

use std::time::Duration;

use ids::MonoNs;
use serde::{Deserialize, Serialize};

/// How often the leader renews, and candidates look. Reference: the renew deadline by four.
pub const RENEW_EVERY: Duration = Duration::from_millis(1_875);
/// A leader that could not renew for as long steps down. Reference: `renew_period` as deployed.
pub const RENEW_DEADLINE: Duration = Duration::from_millis(7_500);
/// A record that did not change for as long is nobody's. Reference: `renew_period` and `max_expected_clock_skew` as deployed.
pub const LEASE: Duration = Duration::from_millis(9_500);

/// Who leads, as everybody sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The leader's name.
    pub holder: String,
    /// Grows with each renewal.
    pub beat: u64,
    /// The leader has stopped: whoever comes first is the next one.
    pub released: bool,
}

impl Record {
    /// The record by which somebody takes over from `before`.
    pub fn claim(name: &str, before: Option<&Record>) -> Record {
        Record { holder: name.to_owned(), beat: before.map_or(0, |before| before.beat + 1), released: false }
    }

    /// The next one of the same leader.
    #[must_use]
    pub fn renewed(&self) -> Record {
        Record { beat: self.beat + 1, ..self.clone() }
    }

    /// The last one of this leader.
    #[must_use]
    pub fn let_go(&self) -> Record {
        Record { beat: self.beat + 1, released: true, ..self.clone() }
    }
}

/// What a candidate does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It tries to take over from the record that it saw.
    Claim,
    /// It looks again later.
    Wait,
}

/// One who would lead.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// As the record says it.
    name: String,
    /// Whether no other replica has this name: then a record with it is our own, of before a restart.
    name_is_ours: bool,
    seen: Option<(Record, MonoNs)>,
}

impl Candidate {
    /// `name_is_ours`: no other replica has it, as with the name of a pod of a stateful set.
    pub fn new(name: impl Into<String>, name_is_ours: bool) -> Candidate {
        Candidate { name: name.into(), name_is_ours, seen: None }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What to do, having seen `record` at `now`.
    pub fn observe(&mut self, record: Option<&Record>, now: MonoNs) -> Step {
        let Some(record) = record else { return Step::Claim };
        if record.released || (self.name_is_ours && record.holder == self.name) {
            return Step::Claim;
        }
        match &self.seen {
            Some((seen, since)) if seen == record => {
                if now.since(*since) >= LEASE {
                    Step::Claim
                } else {
                    Step::Wait
                }
            }
            Some(_) | None => {
                self.seen = Some((record.clone(), now));
                Step::Wait
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonoNs {
        MonoNs(seconds * 1_000_000_000)
    }

    #[test]
    fn a_record_is_nobodys_when_it_did_not_change_for_the_lease() {
        let mut candidate = Candidate::new("b", true);
        let first = Record::claim("a", None);
        assert_eq!(candidate.observe(Some(&first), at(0)), Step::Wait);
        assert_eq!(candidate.observe(Some(&first), at(9)), Step::Wait);
        assert_eq!(candidate.observe(Some(&first.renewed()), at(10)), Step::Wait, "it lives");
        assert_eq!(candidate.observe(Some(&first.renewed()), at(19)), Step::Wait);
        assert_eq!(candidate.observe(Some(&first.renewed()), at(20)), Step::Claim);
    }

    #[test]
    fn a_record_that_was_released_or_is_ours_or_is_none_is_claimed_at_once() {
        let mut candidate = Candidate::new("b", true);
        assert_eq!(candidate.observe(None, at(0)), Step::Claim);
        assert_eq!(candidate.observe(Some(&Record::claim("a", None).let_go()), at(0)), Step::Claim);
        assert_eq!(candidate.observe(Some(&Record::claim("b", None)), at(0)), Step::Claim, "of before a restart");
        let mut other = Candidate::new("b", false);
        assert_eq!(other.observe(Some(&Record::claim("b", None)), at(0)), Step::Wait, "another one may have the name too");
    }
}
