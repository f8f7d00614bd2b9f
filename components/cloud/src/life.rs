//! Where a cluster stands, by what it said and how long ago. Pure: time is an argument.

use std::time::Duration;

use ids::UnixNs;

/// A cluster that says nothing for longer is disconnected. Twenty-four heartbeats of 5 s. Reference: vizier.md, section 3.6.
pub const SILENCE_MAX: Duration = Duration::from_mins(2);

/// The same while it changes its version, and its connector with it.
pub const SILENCE_UPDATING_MAX: Duration = Duration::from_mins(15);

/// Where a cluster stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has not said.
    #[default]
    Unknown,
    /// Scripts are answered.
    Healthy,
    /// They are not.
    Unhealthy,
    /// It is not heard.
    Disconnected,
    /// It changes its version.
    Updating,
    /// It is there, and has not said how it is.
    Connected,
    /// It could not change its version.
    UpdateFailed,
    /// Scripts are answered, and something is amiss.
    Degraded,
}

impl Standing {
    /// Whether scripts may be passed to it. Reference: api.md, section 8.2.
    pub fn takes_scripts(self) -> bool {
        matches!(self, Standing::Healthy | Standing::Degraded)
    }

    fn silence_max(self) -> Duration {
        if self == Standing::Updating { SILENCE_UPDATING_MAX } else { SILENCE_MAX }
    }
}

/// What a heartbeat says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Said {
    /// How it is.
    pub standing: Standing,
    /// Why.
    pub message: String,
    /// Nodes there are.
    pub nodes: i32,
    /// Nodes with a running agent.
    pub instrumented_nodes: i32,
}

/// What is known of a cluster's state.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Life {
    /// As it was last said.
    said: Said,
    /// When it was last heard.
    heard: Option<UnixNs>,
    /// Where it stood before, and until when.
    previous: Option<(Standing, UnixNs)>,
}

impl Life {
    /// As it was stored.
    pub fn restored(said: Said, heard: Option<UnixNs>, previous: Option<(Standing, UnixNs)>) -> Self {
        Self { said, heard, previous }
    }

    /// As it was last said, whenever that was: what is stored.
    pub fn said(&self) -> &Said {
        &self.said
    }

    /// When it was last heard.
    pub fn heard(&self) -> Option<UnixNs> {
        self.heard
    }

    /// Where it stood before it said what it said last, and until when: what is stored.
    pub fn stored_previous(&self) -> Option<(Standing, UnixNs)> {
        self.previous
    }

    /// Where it stands.
    pub fn standing(&self, now: UnixNs) -> Standing {
        if self.silent_since(now).is_some() { Standing::Disconnected } else { self.said.standing }
    }

    /// Where it stood before that, and until when.
    pub fn previous(&self, now: UnixNs) -> Option<(Standing, UnixNs)> {
        self.silent_since(now).map(|since| (self.said.standing, since)).or(self.previous)
    }

    /// Why it stands there, in its own words; what it said before it fell silent says nothing now.
    pub fn message(&self, now: UnixNs) -> &str {
        if self.silent_since(now).is_some() { "" } else { &self.said.message }
    }

    /// Its bridge is there, and it has not said how it is.
    pub fn connected(&mut self, now: UnixNs) {
        let said = Said { standing: Standing::Connected, message: String::new(), ..self.said.clone() };
        self.heartbeat(said, now);
    }

    /// It says how it is.
    pub fn heartbeat(&mut self, said: Said, now: UnixNs) {
        if self.standing(now) != said.standing {
            let until = self.silent_since(now).filter(|_| said.standing == Standing::Disconnected).unwrap_or(now);
            self.previous = Some((self.standing(now), until));
        }
        self.said = said;
        // A wall clock that steps back does not make a cluster that was just heard look silent, nor one in the future immortal.
        self.heard = Some(now);
    }

    /// From when on it counts as disconnected, if it does.
    fn silent_since(&self, now: UnixNs) -> Option<UnixNs> {
        let heard = self.heard?;
        let longest = i64::try_from(self.said.standing.silence_max().as_nanos()).unwrap_or(i64::MAX);
        let end = UnixNs(heard.0.saturating_add(longest));
        (now > end).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn at(second: i64) -> UnixNs {
        UnixNs(second * SECOND)
    }

    fn says(standing: Standing) -> Said {
        Said { standing, message: "as it says".to_owned(), nodes: 3, instrumented_nodes: 2 }
    }

    #[test]
    fn a_cluster_that_is_not_heard_for_two_minutes_is_disconnected_and_comes_back_as_it_says() {
        let mut life = Life::default();
        assert_eq!(life.standing(at(0)), Standing::Unknown);
        life.connected(at(10));
        assert_eq!((life.standing(at(10)), life.previous(at(10))), (Standing::Connected, Some((Standing::Unknown, at(10)))));
        life.heartbeat(says(Standing::Healthy), at(15));
        assert_eq!((life.standing(at(135)), life.message(at(135))), (Standing::Healthy, "as it says"));
        assert_eq!((life.standing(at(136)), life.message(at(136))), (Standing::Disconnected, ""));
        assert_eq!(life.previous(at(136)), Some((Standing::Healthy, at(135))));
        life.heartbeat(says(Standing::Degraded), at(500));
        assert_eq!((life.standing(at(500)), life.previous(at(500))), (Standing::Degraded, Some((Standing::Disconnected, at(500)))));
    }

    #[test]
    fn one_that_changes_its_version_may_be_silent_for_a_quarter_of_an_hour() {
        let mut life = Life::default();
        life.heartbeat(says(Standing::Updating), at(0));
        assert_eq!(life.standing(at(900)), Standing::Updating);
        assert_eq!(life.standing(at(901)), Standing::Disconnected);
    }

    #[test]
    fn saying_the_same_again_keeps_since_when_it_is_so() {
        let mut life = Life::default();
        life.heartbeat(says(Standing::Healthy), at(5));
        life.heartbeat(says(Standing::Healthy), at(10));
        assert_eq!(life.previous(at(10)), Some((Standing::Unknown, at(5))));
        assert!(life.standing(at(10)).takes_scripts() && Standing::Degraded.takes_scripts());
        assert!(!Standing::Connected.takes_scripts());
    }

    #[test]
    fn a_clock_that_steps_back_makes_nobody_disconnected() {
        let mut life = Life::default();
        life.heartbeat(says(Standing::Healthy), at(1000));
        assert_eq!(life.standing(at(10)), Standing::Healthy);
        life.heartbeat(says(Standing::Healthy), at(15));
        assert_eq!(life.standing(at(136)), Standing::Disconnected);
    }
}
