use std::collections::VecDeque;

use ids::{Direction, MonoNs, Role};

use super::limits::{HELD_BYTES_MAX, HOLD_MAX};
use super::reader::{Reader, Stamp};
use super::stitcher::{Requests, Responses, Stitcher};
use crate::{Chunk, Sink, Start, State, Stop};

/// What came while a response waited for its request.
#[derive(Debug)]
enum Held {
    Bytes(Vec<u8>, Stamp),
    Gap { len: u64, seen: Option<MonoNs> },
}

/// One HTTP/1.x connection.
#[derive(Debug)]
pub struct Session {
    requests_go: Direction,
    requests: Reader,
    responses: Reader,
    stitcher: Stitcher,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// When a held response stops waiting.
    deadline: Option<MonoNs>,
    last_at: MonoNs,
}

impl Session {
    /// `role` is the traced side's; unknown counts as server.
    pub fn new(role: Role, start: Start) -> Session {
        Session {
            requests_go: if role == Role::Client { Direction::Sent } else { Direction::Received },
            requests: Reader::new(start == Start::Fresh),
            responses: Reader::new(start == Start::Fresh),
            stitcher: Stitcher::new(role, start),
            held: VecDeque::new(),
            held_bytes: 0,
            deadline: None,
            last_at: MonoNs(0),
        }
    }

    /// See [`crate::Session::on_bytes`].
    pub fn on_bytes(&mut self, direction: Direction, chunk: Chunk<'_>, now: MonoNs, sink: &mut Sink) {
        let stamp = Stamp { at: chunk.at, process: chunk.process };
        self.last_at = chunk.at;
        if direction == self.requests_go {
            self.requests.push(chunk.bytes, stamp, &mut Requests { stitcher: &mut self.stitcher, sink });
            if self.responses.holds() {
                self.resume(now, sink);
            }
        } else if self.responses.holds() {
            self.hold(Held::Bytes(chunk.bytes.to_vec(), stamp), now, sink);
        } else {
            let taken = self.push_responses(chunk.bytes, stamp, sink);
            if self.responses.holds() {
                self.deadline = Some(now.plus(HOLD_MAX));
                if taken < chunk.bytes.len() {
                    self.hold(Held::Bytes(chunk.bytes[taken..].to_vec(), stamp), now, sink);
                }
            }
        }
        self.settle();
    }

    /// See [`crate::Session::on_gap`].
    pub fn on_gap(&mut self, direction: Direction, len: u64, seen: Option<MonoNs>, now: MonoNs, sink: &mut Sink) {
        if direction == self.requests_go {
            self.requests.gap(len, seen, self.last_at, &mut Requests { stitcher: &mut self.stitcher, sink });
            if self.responses.holds() {
                self.resume(now, sink);
            }
        } else if self.responses.holds() {
            self.hold(Held::Gap { len, seen }, now, sink);
        } else {
            self.responses.gap(len, seen, self.last_at, &mut Responses { stitcher: &mut self.stitcher, sink });
        }
        self.settle();
    }

    /// See [`crate::Session::on_end`].
    pub fn on_end(&mut self, at: MonoNs, sink: &mut Sink) {
        self.requests.end(at, &mut Requests { stitcher: &mut self.stitcher, sink });
        while self.responses.holds() {
            self.hurry(at, sink);
        }
        self.responses.end(at, &mut Responses { stitcher: &mut self.stitcher, sink });
        self.stitcher.end(sink);
    }

    /// See [`crate::Session::tick`].
    pub fn tick(&mut self, now: MonoNs, sink: &mut Sink) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.hurry(now, sink);
            self.settle();
        }
    }

    /// See [`crate::Session::deadline`].
    pub fn deadline(&self) -> Option<MonoNs> {
        self.deadline
    }

    /// See [`crate::Session::state`].
    pub fn state(&self) -> State {
        match self.stitcher.stopped() {
            Some(stop) => State::Stopped(stop),
            None if self.requests.is_undecodable() || self.responses.is_undecodable() => State::Stopped(Stop::Undecodable),
            None => State::Running,
        }
    }

    /// See [`crate::Session::memory_bytes`].
    pub fn memory_bytes(&self) -> usize {
        self.requests.memory_bytes() + self.responses.memory_bytes() + self.held_bytes + self.stitcher.memory_bytes()
    }

    fn push_responses(&mut self, bytes: &[u8], stamp: Stamp, sink: &mut Sink) -> usize {
        self.responses.push(bytes, stamp, &mut Responses { stitcher: &mut self.stitcher, sink })
    }

    /// Puts `held` behind what waits; too much of that ends the wait.
    fn hold(&mut self, held: Held, now: MonoNs, sink: &mut Sink) {
        self.held_bytes += size_of::<Held>();
        if let Held::Bytes(bytes, _) = &held {
            self.held_bytes += bytes.len();
        }
        self.held.push_back(held);
        while self.held_bytes > HELD_BYTES_MAX && self.responses.holds() {
            self.hurry(now, sink);
        }
    }

    /// Ends the wait of the held response.
    fn hurry(&mut self, now: MonoNs, sink: &mut Sink) {
        self.stitcher.hurry = true;
        self.resume(now, sink);
        self.stitcher.hurry = false;
    }

    /// Asks about the held response again, and reads what came behind it.
    fn resume(&mut self, now: MonoNs, sink: &mut Sink) {
        let stamp = Stamp { at: self.last_at, ..Stamp::default() };
        self.push_responses(&[], stamp, sink);
        let mut freed = !self.responses.holds();
        while !self.responses.holds()
            && let Some(held) = self.held.pop_front()
        {
            self.held_bytes = self.held_bytes.saturating_sub(size_of::<Held>());
            match held {
                Held::Gap { len, seen } => {
                    self.responses.gap(len, seen, self.last_at, &mut Responses { stitcher: &mut self.stitcher, sink });
                }
                Held::Bytes(mut bytes, stamp) => {
                    self.held_bytes = self.held_bytes.saturating_sub(bytes.len());
                    let taken = self.push_responses(&bytes, stamp, sink);
                    if taken < bytes.len() {
                        bytes.drain(..taken);
                        self.held_bytes += bytes.len() + size_of::<Held>();
                        self.held.push_front(Held::Bytes(bytes, stamp));
                    }
                }
            }
            freed = true;
        }
        if !self.responses.holds() {
            self.deadline = None;
        } else if freed {
            self.deadline = Some(now.plus(HOLD_MAX));
        }
    }

    /// After a stop nothing is kept.
    fn settle(&mut self) {
        if self.state() != State::Running {
            self.requests.stop();
            self.responses.stop();
            self.held = VecDeque::new();
            (self.held_bytes, self.deadline) = (0, None);
        }
    }
}
