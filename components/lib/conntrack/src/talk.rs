use ids::{Direction, MonoNs, Role, Upid};
use protocols::{Chunk, Inference, Message, Protocol, Session, Start, State, infer};

use crate::Verdict;
use crate::context::Context;
use crate::limits::{CALLS_UNDECIDED_MAX, PREFIX_BYTES_MAX, TURNS_UNDECIDED_MAX};
use crate::stream::Delivery;

/// What the peers of one connection say to each other: first which protocol it is, then the protocol's session.
#[derive(Debug)]
pub(crate) struct Talk {
    phase: Phase,
    role: Role,
    protocol: Protocol,
    /// To be told to the kernel.
    verdict: Option<Verdict>,
}

#[derive(Debug)]
enum Phase {
    Undecided(Box<Guess>),
    Parsing(Session),
    Ignored,
}

/// A direction's first bytes.
#[derive(Debug)]
struct Prefix {
    bytes: Vec<u8>,
    /// Where in them which call's bytes begin.
    marks: Vec<(usize, MonoNs, Upid)>,
    /// Whether they are the stream's first.
    in_place: bool,
}

#[derive(Debug)]
struct Guess {
    sent: Prefix,
    received: Prefix,
    turn: Direction,
    turns: u32,
    calls: u32,
    /// Whether bytes are known to be missing.
    lost: bool,
}

impl Prefix {
    fn new(in_place: bool) -> Prefix {
        Prefix { bytes: Vec::new(), marks: Vec::new(), in_place }
    }

    fn push(&mut self, bytes: &[u8], at: MonoNs, process: Upid) {
        self.marks.push((self.bytes.len(), at, process));
        self.bytes.extend_from_slice(bytes);
    }

    fn lose(&mut self) {
        *self = Prefix::new(false);
    }

    fn chunks(&self) -> impl Iterator<Item = Chunk<'_>> {
        let ends = self.marks.iter().skip(1).map(|mark| mark.0).chain([self.bytes.len()]);
        self.marks.iter().zip(ends).map(|(mark, end)| Chunk { bytes: &self.bytes[mark.0..end], at: mark.1, process: mark.2 })
    }
}

impl Guess {
    fn prefix(&mut self, direction: Direction) -> &mut Prefix {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }
}

impl Talk {
    pub(crate) fn new(role: Role, fresh: bool) -> Talk {
        let guess =
            Guess { sent: Prefix::new(fresh), received: Prefix::new(fresh), turn: Direction::Sent, turns: 0, calls: 0, lost: false };
        Talk { phase: Phase::Undecided(Box::new(guess)), role, protocol: Protocol::Unknown, verdict: None }
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(crate) fn is_ignored(&self) -> bool {
        matches!(self.phase, Phase::Ignored)
    }

    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self.phase, Phase::Undecided(_))
    }

    pub(crate) fn take_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }

    /// The kernel has forgotten the verdict.
    pub(crate) fn repeat_verdict(&mut self) {
        self.verdict = match self.phase {
            Phase::Undecided(_) => None,
            Phase::Parsing(_) => Some(Verdict::Trace),
            Phase::Ignored => Some(Verdict::Ignore),
        };
    }

    /// Who opened the connection, learnt late.
    pub(crate) fn set_role(&mut self, role: Role) {
        if self.role == Role::Unknown && self.is_undecided() {
            self.role = role;
        }
    }

    /// These are the connection's first bytes, learnt late.
    pub(crate) fn set_fresh(&mut self) {
        if let Phase::Undecided(guess) = &mut self.phase {
            (guess.sent.in_place, guess.received.in_place) = (true, true);
        }
    }

    /// Its opening was lost, and who knows what else.
    pub(crate) fn set_lost(&mut self) {
        if let Phase::Undecided(guess) = &mut self.phase {
            guess.lost = true;
        }
    }

    /// Wants no more bytes.
    pub(crate) fn ignore(&mut self) {
        if !self.is_ignored() {
            self.phase = Phase::Ignored;
            self.verdict = Some(Verdict::Ignore);
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        match &self.phase {
            Phase::Undecided(guess) => guess.sent.bytes.len() + guess.received.bytes.len(),
            Phase::Parsing(session) => session.memory_bytes(),
            Phase::Ignored => 0,
        }
    }

    pub(crate) fn deadline(&self) -> Option<MonoNs> {
        match &self.phase {
            Phase::Parsing(session) => session.deadline(),
            Phase::Undecided(_) | Phase::Ignored => None,
        }
    }

    pub(crate) fn tick(&mut self, context: &mut Context) {
        if let Phase::Parsing(session) = &mut self.phase {
            session.tick(context.now, &mut context.sink);
            self.settle();
        }
    }

    pub(crate) fn end(&mut self, at: MonoNs, context: &mut Context) {
        if let Phase::Parsing(session) = &mut self.phase {
            session.on_end(at, &mut context.sink);
        }
        self.phase = Phase::Ignored;
    }

    /// Drops unfinished messages, and goes on from the middle.
    pub(crate) fn forget(&mut self) {
        match &mut self.phase {
            Phase::Undecided(guess) => {
                guess.sent.lose();
                guess.received.lose();
                guess.lost = true;
            }
            Phase::Parsing(session) => {
                if let Some(anew) = Session::new(self.protocol, self.role, Start::AfterLoss) {
                    *session = anew;
                }
            }
            Phase::Ignored => {}
        }
    }

    pub(crate) fn deliver(&mut self, direction: Direction, delivery: Delivery<'_>, context: &mut Context) {
        match (&mut self.phase, delivery) {
            (Phase::Ignored, _) => {}
            (Phase::Parsing(session), Delivery::Bytes { bytes, at, process, .. }) => {
                session.on_bytes(direction, Chunk { bytes, at, process }, context.now, &mut context.sink);
                self.settle();
            }
            (Phase::Parsing(session), Delivery::Gap { len, seen }) => {
                session.on_gap(direction, len, seen, context.now, &mut context.sink);
                self.settle();
            }
            (Phase::Undecided(guess), Delivery::Gap { .. }) => {
                guess.prefix(direction).lose();
                guess.lost = true;
            }
            (Phase::Undecided(_), Delivery::Bytes { bytes, at, process, begins_call }) => {
                self.guess(direction, Chunk { bytes, at, process }, begins_call, context);
            }
        }
    }

    fn guess(&mut self, direction: Direction, chunk: Chunk<'_>, begins_call: bool, context: &mut Context) {
        let Phase::Undecided(guess) = &mut self.phase else { return };
        guess.calls += u32::from(begins_call);
        if guess.turn != direction {
            (guess.turn, guess.turns) = (direction, guess.turns + 1);
        }
        let tried_enough = guess.turns > TURNS_UNDECIDED_MAX || guess.calls > CALLS_UNDECIDED_MAX;
        let prefix = guess.prefix(direction);
        if !prefix.in_place && prefix.bytes.is_empty() && !begins_call {
            return;
        }
        let inference = if prefix.bytes.is_empty() {
            infer(chunk.bytes)
        } else {
            let room = PREFIX_BYTES_MAX.saturating_sub(prefix.bytes.len()).min(chunk.bytes.len());
            let known = prefix.bytes.len();
            prefix.bytes.extend_from_slice(&chunk.bytes[..room]);
            let inference = infer(&prefix.bytes);
            prefix.bytes.truncate(known);
            inference
        };
        match inference {
            Inference::Is(protocol, message) => self.decide(protocol, message, direction, chunk, context),
            Inference::NeedMore if prefix.bytes.len() + chunk.bytes.len() < PREFIX_BYTES_MAX => {
                prefix.push(chunk.bytes, chunk.at, chunk.process);
            }
            Inference::NeedMore | Inference::No => {
                if prefix.in_place || tried_enough {
                    context.metrics.connections_undecided += 1;
                    self.ignore();
                } else {
                    prefix.lose();
                }
            }
        }
    }

    fn decide(&mut self, protocol: Protocol, message: Message, direction: Direction, chunk: Chunk<'_>, context: &mut Context) {
        let Phase::Undecided(guess) = std::mem::replace(&mut self.phase, Phase::Ignored) else { return };
        self.protocol = protocol;
        // Whoever sends requests is the client, whatever the kernel said.
        self.role = match (direction, message) {
            (Direction::Sent, Message::Request) | (Direction::Received, Message::Response) => Role::Client,
            (Direction::Sent, Message::Response) | (Direction::Received, Message::Request) => Role::Server,
        };
        let start = match guess.sent.in_place && guess.received.in_place {
            true => Start::Fresh,
            false if guess.lost => Start::AfterLoss,
            false => Start::Midstream,
        };
        let Some(mut session) = Session::new(protocol, self.role, start) else {
            self.verdict = Some(Verdict::Ignore);
            return;
        };
        for (of, prefix) in [(Direction::Sent, &guess.sent), (Direction::Received, &guess.received)] {
            for earlier in prefix.chunks() {
                session.on_bytes(of, earlier, context.now, &mut context.sink);
            }
        }
        session.on_bytes(direction, chunk, context.now, &mut context.sink);
        self.phase = Phase::Parsing(session);
        self.verdict = Some(Verdict::Trace);
        self.settle();
    }

    /// After a session's stop its connection is left alone.
    fn settle(&mut self) {
        if let Phase::Parsing(session) = &self.phase
            && matches!(session.state(), State::Stopped(_))
        {
            self.ignore();
        }
    }
}
