//! Which answer to a call comes next, and what is to be said again. Pure: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// How often a call, or the number of its last answer, is said again while nothing comes: what is lost costs this much time.
pub(crate) const SAY_EVERY: Duration = Duration::from_secs(2);

/// A call that a Vizier has not taken within this is given up, and so is one of whose answers one is still missing after it: it was said, or
/// asked for, fifteen times by then.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What has come of a call.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Whether the Vizier knows calls again, and says answers again.
    repeats: bool,
    /// The number of the last answer; 0 while none is numbered.
    received: u64,
    /// When anything was heard; at first, when it was said.
    heard: Instant,
    /// Whether anything was.
    taken: bool,
    /// Since when the next answer is missing, though a later one came, and when it was last asked for.
    missing: Option<(Instant, Instant)>,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// It is the next one.
    Next,
    /// It came before, or says only that the call runs.
    Nothing,
    /// One before it is missing: it is asked for, and this one comes again with it.
    Ask,
    /// One before it is missing, and does not come.
    Lost,
}

/// What is to be done while nothing comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quiet {
    /// Nothing.
    Wait,
    /// Say the call again: the Vizier may not know it.
    SayCall,
    /// Say which answer was the last one. The Vizier may have said more.
    SayNumber,
    /// The call was lost on its way, again and again.
    NeverTaken,
}

impl Progress {
    /// A call was said.
    pub(crate) fn new(repeats: bool, now: Instant) -> Self {
        Self { repeats, received: 0, heard: now, taken: false, missing: None }
    }

    /// The number of the last answer.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Whether what is missing can be asked for.
    pub(crate) fn repeats(&self) -> bool {
        self.repeats
    }

    /// For how long nothing was heard.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// An answer came; `says`: it says more than that the call runs.
    pub(crate) fn take(&mut self, sequence: u64, says: bool, now: Instant) -> Came {
        (self.heard, self.taken) = (now, true);
        match sequence {
            // The Vizier is none of ours, or the answer is its connector's.
            0 => {
                if says {
                    Came::Next
                } else {
                    Came::Nothing
                }
            }
            next if next == self.received + 1 => {
                (self.received, self.missing) = (next, None);
                Came::Next
            }
            known if known <= self.received => Came::Nothing,
            _ => self.miss(now),
        }
    }

    fn miss(&mut self, now: Instant) -> Came {
        if !self.repeats {
            return Came::Lost;
        }
        match &mut self.missing {
            Some((since, _)) if now.saturating_duration_since(*since) >= ANSWER_MAX => Came::Lost,
            Some((_, asked)) if now.saturating_duration_since(*asked) < SAY_EVERY => Came::Nothing,
            Some((_, asked)) => {
                *asked = now;
                Came::Ask
            }
            None => {
                self.missing = Some((now, now));
                Came::Ask
            }
        }
    }

    /// Nothing came for [`SAY_EVERY`].
    pub(crate) fn quiet(&self, now: Instant) -> Quiet {
        if !self.taken && self.silence(now) >= ANSWER_MAX {
            return Quiet::NeverTaken;
        }
        match (self.received, self.repeats) {
            (0, true) => Quiet::SayCall,
            (0, false) => Quiet::Wait,
            (_, true | false) => Quiet::SayNumber,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_call_that_nobody_takes_is_said_again_until_it_is_given_up() {
        let start = Instant::now();
        let call = Progress::new(true, start);
        assert_eq!(call.quiet(after(start, 2)), Quiet::SayCall);
        assert_eq!(call.quiet(after(start, 29)), Quiet::SayCall);
        assert_eq!(call.quiet(after(start, 30)), Quiet::NeverTaken);
        let of_another_make = Progress::new(false, start);
        assert_eq!(of_another_make.quiet(after(start, 2)), Quiet::Wait, "it would run twice there");
        assert_eq!(of_another_make.quiet(after(start, 30)), Quiet::NeverTaken);
    }

    #[test]
    fn one_that_runs_may_take_its_time() {
        let start = Instant::now();
        let mut call = Progress::new(true, start);
        assert_eq!(call.take(0, false, after(start, 2)), Came::Nothing);
        // A broker that was restarted meanwhile runs it: nothing of it was handed over yet.
        assert_eq!(call.quiet(after(start, 600)), Quiet::SayCall);
        assert_eq!(call.take(1, true, after(start, 601)), Came::Next);
        assert_eq!(call.quiet(after(start, 700)), Quiet::SayNumber);
        assert_eq!(call.silence(after(start, 611)), Duration::from_secs(10));
    }

    #[test]
    fn answers_are_taken_once_and_in_order_and_what_is_missing_is_asked_for() {
        let start = Instant::now();
        let mut call = Progress::new(true, start);
        let mut take = |sequence, second| call.take(sequence, true, after(start, second));
        assert_eq!((take(1, 0), take(1, 0)), (Came::Next, Came::Nothing));
        // Three is lost: what follows it comes again.
        assert_eq!((take(2, 0), take(4, 0), take(5, 1), take(6, 3)), (Came::Next, Came::Ask, Came::Nothing, Came::Ask));
        assert_eq!((take(3, 3), take(4, 3), take(5, 3)), (Came::Next, Came::Next, Came::Next));
        assert_eq!((take(7, 100), take(8, 129), take(9, 130)), (Came::Ask, Came::Ask, Came::Lost));
    }

    #[test]
    fn a_vizier_that_says_nothing_again_has_lost_what_is_missing() {
        let start = Instant::now();
        let mut call = Progress::new(false, start);
        assert_eq!((call.take(1, true, start), call.take(3, true, start)), (Came::Next, Came::Lost));
    }
}
