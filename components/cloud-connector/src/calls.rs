//! The calls of the present bridge. Pure.

use std::collections::{HashSet, VecDeque};

/// Calls that run at a time; further ones are refused. The broker has limits of its own for scripts.
pub(crate) const CALLS_MAX: usize = 4096;

/// Calls that have ended and whose last answers may still be asked for again; the oldest go first.
const ENDED_MAX: usize = 1024;

/// Calls that were given up, and may have to be given up again; the oldest go first.
const FORGOTTEN_MAX: usize = 256;

/// Calls of whose answers somebody wants to hear.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    running: HashSet<String>,
    ended: VecDeque<String>,
    forgotten: VecDeque<String>,
}

/// What a call that the control plane says is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is new.
    First,
    /// It was said before.
    Again,
    /// It is new, and too many run.
    TooMany,
}

impl Calls {
    /// A call is said.
    pub(crate) fn say(&mut self, id: &str) -> Said {
        if self.is_wanted(id) {
            return Said::Again;
        }
        if self.running.len() >= CALLS_MAX {
            return Said::TooMany;
        }
        self.running.insert(id.to_owned());
        Said::First
    }

    /// Whether somebody waits for its answers.
    pub(crate) fn is_wanted(&self, id: &str) -> bool {
        self.running.contains(id) || self.ended.iter().any(|ended| ended == id)
    }

    /// Its last answer goes to the control plane, which may miss one before it.
    pub(crate) fn end(&mut self, id: &str) {
        if self.running.remove(id) {
            self.ended.push_back(id.to_owned());
            if self.ended.len() > ENDED_MAX {
                self.ended.pop_front();
            }
        }
    }

    /// It is over for everybody: it was refused here, or its last answer has no number.
    pub(crate) fn remove(&mut self, id: &str) {
        self.running.remove(id);
        self.ended.retain(|ended| ended != id);
    }

    /// Nobody waits for its answers any more, and the broker is told.
    pub(crate) fn forget(&mut self, id: &str) {
        self.remove(id);
        self.forgotten.push_back(id.to_owned());
        if self.forgotten.len() > FORGOTTEN_MAX {
            self.forgotten.pop_front();
        }
    }

    /// The last ones that were forgotten: where the bus was away then, the broker may not have heard it.
    pub(crate) fn take_forgotten(&mut self) -> Vec<String> {
        std::mem::take(&mut self.forgotten).into()
    }

    /// The bridge has ended. Those that ran, in order.
    pub(crate) fn take(&mut self) -> Vec<String> {
        self.ended.clear();
        let mut running: Vec<String> = std::mem::take(&mut self.running).into_iter().collect();
        running.sort();
        for id in &running {
            self.forget(id);
        }
        running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_wanted_until_the_control_plane_says_otherwise() {
        let mut calls = Calls::default();
        assert_eq!((calls.say("a"), calls.say("a"), calls.say("b")), (Said::First, Said::Again, Said::First));
        calls.end("a");
        // Its end came, and one of its answers did not: it is said again.
        assert_eq!((calls.is_wanted("a"), calls.say("a")), (true, Said::Again));
        calls.forget("a");
        assert!(!calls.is_wanted("a"));
        calls.end("a");
        assert!(!calls.is_wanted("a"), "an end of a call that nobody knows");
        assert_eq!(calls.say("refused"), Said::First);
        calls.remove("refused");
        assert_eq!((calls.take(), calls.is_wanted("b")), (vec!["b".to_owned()], false));
        assert_eq!(calls.take_forgotten(), ["a", "b"]);
        assert!(calls.take_forgotten().is_empty());
    }

    #[test]
    fn too_many_are_refused_and_those_that_have_ended_take_no_room() {
        let mut calls = Calls::default();
        for number in 0..CALLS_MAX {
            assert_eq!(calls.say(&number.to_string()), Said::First);
        }
        assert_eq!((calls.say("more"), calls.say("0")), (Said::TooMany, Said::Again));
        for number in 0..=ENDED_MAX {
            calls.end(&number.to_string());
        }
        assert!(calls.take_forgotten().is_empty(), "nobody gave them up");
        assert_eq!((calls.is_wanted("0"), calls.is_wanted("1"), calls.say("more")), (false, true, Said::First));
    }
}
