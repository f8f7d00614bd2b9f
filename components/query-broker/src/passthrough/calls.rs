//! The calls that are known: those that run, and some that have ended, whose answers may have been lost.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::answers::Heard;
use crate::limits::{PASSTHROUGH_CALLS_MAX, PASSTHROUGH_ENDED_MAX};

/// Known calls, by their ids.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    known: BTreeMap<String, Call>,
    /// Those that have ended, in that order.
    ended: VecDeque<String>,
}

#[derive(Debug)]
struct Call {
    cancel: CancellationToken,
    heard: watch::Sender<Heard>,
}

/// What a request means that carries a call.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It is new.
    New,
    /// It is known, and what is kept of its answers was asked for again.
    Known,
    /// It is new, and too many run.
    Full,
}

impl Calls {
    /// A call is said, for the first time or again.
    pub(crate) fn begin(&mut self, id: &str, cancel: &CancellationToken, heard: watch::Sender<Heard>) -> Begun {
        if self.hear(id, 0, true) {
            return Begun::Known;
        }
        if self.known.len() - self.ended.len() >= PASSTHROUGH_CALLS_MAX {
            return Begun::Full;
        }
        self.known.insert(id.to_owned(), Call { cancel: cancel.clone(), heard });
        Begun::New
    }

    /// Answers were taken, up to this one; the others are asked for again, or not. Whether the call is known.
    pub(crate) fn hear(&self, id: &str, acknowledged: u64, again: bool) -> bool {
        let Some(call) = self.known.get(id) else { return false };
        call.heard.send_if_modified(|heard| {
            // Acknowledgements may overtake each other.
            let news = Heard { acknowledged: heard.acknowledged.max(acknowledged), again: heard.again + u64::from(again) };
            let is_news = *heard != news;
            *heard = news;
            is_news
        });
        true
    }

    /// Nobody waits for its answers any more.
    pub(crate) fn cancel(&self, id: &str) {
        if let Some(call) = self.known.get(id) {
            call.cancel.cancel();
        }
    }

    /// It runs no more. Of those that have ended the oldest are given up where there are too many.
    pub(crate) fn end(&mut self, id: &str) {
        self.ended.push_back(id.to_owned());
        if self.ended.len() > PASSTHROUGH_ENDED_MAX
            && let Some(oldest) = self.ended.front()
        {
            self.cancel(oldest);
        }
    }

    /// Nothing of it is kept any more.
    pub(crate) fn forget(&mut self, id: &str) {
        self.known.remove(id);
        self.ended.retain(|ended| ended != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(calls: &mut Calls, number: usize) -> (Begun, CancellationToken, watch::Receiver<Heard>) {
        let (cancel, (heard, seen)) = (CancellationToken::new(), watch::channel(Heard::default()));
        (calls.begin(&number.to_string(), &cancel, heard), cancel, seen)
    }

    #[test]
    fn a_call_that_is_said_twice_is_one_and_one_that_has_ended_takes_no_room() {
        let mut calls = Calls::default();
        let (_, _, seen) = begin(&mut calls, 0);
        assert!(matches!(begin(&mut calls, 0).0, Begun::Known));
        assert_eq!(*seen.borrow(), Heard { acknowledged: 0, again: 1 });
        for number in 1..PASSTHROUGH_CALLS_MAX {
            assert!(matches!(begin(&mut calls, number).0, Begun::New));
        }
        assert!(matches!(begin(&mut calls, 9999).0, Begun::Full));
        calls.end("0");
        assert!(matches!(begin(&mut calls, 9999).0, Begun::New));
        assert!(matches!(begin(&mut calls, 0).0, Begun::Known), "its answers may have been lost");
        calls.forget("0");
        assert!(!calls.hear("0", 1, true));
    }

    #[test]
    fn the_oldest_that_have_ended_are_given_up() {
        let mut calls = Calls::default();
        let tokens: Vec<CancellationToken> = (0..=PASSTHROUGH_ENDED_MAX)
            .map(|number| {
                let (_, cancel, _seen) = begin(&mut calls, number);
                calls.end(&number.to_string());
                cancel
            })
            .collect();
        let given_up = tokens.iter().filter(|token| token.is_cancelled()).count();
        assert_eq!((given_up, tokens[0].is_cancelled()), (1, true));
    }

    #[test]
    fn acknowledgements_that_overtake_each_other_take_nothing_back() {
        let mut calls = Calls::default();
        let (_, _, seen) = begin(&mut calls, 0);
        assert!(calls.hear("0", 3, false) && calls.hear("0", 2, true));
        assert_eq!(*seen.borrow(), Heard { acknowledged: 3, again: 1 });
    }
}
