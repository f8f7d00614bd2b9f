//! One connection as its parser sees it: bytes, gaps, ticks.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use ids::{Asid, Direction, MonoNs, Role, Upid};
use protocols::{Chunk, Counters, Protocol, Record, Session, Sink, Start, State};

use crate::text::{lines, parse_bytes, parse_number, parse_time, show_counters, show_record};

/// What happens on a connection, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Which side is traced.
    pub role: Role,
    /// Whether it begins with the connection.
    pub start: Start,
    /// In the order of the stream of each direction; times do not decrease within one.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: MonoNs,
    /// What.
    pub action: Action,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A call moved bytes.
    Bytes {
        /// Which way.
        direction: Direction,
        /// Which.
        bytes: Vec<u8>,
        /// Who called.
        process: Upid,
    },
    /// Bytes passed that were not captured.
    Gap {
        /// Which way.
        direction: Direction,
        /// How many.
        len: u64,
        /// Whether their call was seen.
        seen: bool,
    },
    /// Time passed.
    Tick,
    /// The connection was closed.
    End,
}

/// The process of the scripts.
pub fn process(pid: u32) -> Upid {
    Upid::new(Asid(1), pid, 100)
}

impl Script {
    /// Reads the text of a case: see `golden/protocols/README.md`.
    ///
    /// # Errors
    /// With the line that is wrong.
    pub fn parse(text: &str) -> Result<Script> {
        let mut script = Script { role: Role::Server, start: Start::Fresh, steps: Vec::new() };
        for (number, line, more) in lines(text) {
            script.parse_line(&line, &more).with_context(|| format!("line {number}: `{line}`"))?;
        }
        ensure!(!script.steps.is_empty(), "nothing happens");
        Ok(script)
    }

    fn parse_line(&mut self, line: &str, more: &[&str]) -> Result<()> {
        let (head, quoted) = line.split_at(line.find('"').unwrap_or(line.len()));
        let words: Vec<&str> = head.split_whitespace().collect();
        let (time, words) = match &words[..] {
            ["role", "client"] => {
                self.role = Role::Client;
                return Ok(());
            }
            ["start", "midstream"] => {
                self.start = Start::Midstream;
                return Ok(());
            }
            [time, words @ ..] => (parse_time(time)?, words),
            [] => bail!("no time"),
        };
        let mut bytes = Vec::new();
        for part in (!quoted.is_empty()).then_some(quoted).iter().chain(more) {
            bytes.extend_from_slice(&parse_bytes(part)?);
        }
        self.steps.push(Step { at: time, action: parse_action(words, bytes)? });
        Ok(())
    }
}

fn parse_action(words: &[&str], bytes: Vec<u8>) -> Result<Action> {
    let direction = match words.first() {
        Some(&"sent") => Direction::Sent,
        Some(&"recv") => Direction::Received,
        Some(&"tick") => return Ok(Action::Tick),
        Some(&"end") => return Ok(Action::End),
        _ => bail!("neither sent, recv, tick nor end"),
    };
    match &words[1..] {
        ["gap", len] => Ok(Action::Gap { direction, len: parse_number(len)?, seen: false }),
        ["gap", len, "seen"] => Ok(Action::Gap { direction, len: parse_number(len)?, seen: true }),
        ["pid", number] => Ok(Action::Bytes { direction, bytes, process: process(parse_number(number)?) }),
        [] => Ok(Action::Bytes { direction, bytes, process: process(1) }),
        _ => bail!("neither bytes nor a gap"),
    }
}

/// What became of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// In the order in which they were finished.
    pub records: Vec<Record>,
    /// Beside them.
    pub counters: Counters,
    /// At the end.
    pub state: State,
    /// The most that was held at any time.
    pub memory_bytes_max: usize,
}

/// Reads the connection with a session of its own.
pub fn read(script: &Script) -> Reading {
    let mut sink = Sink::default();
    let Some(mut session) = Session::new(Protocol::Http, script.role, script.start) else { unreachable!("HTTP is parsed") };
    let mut memory_bytes_max = 0;
    for Step { at, action } in &script.steps {
        match action {
            Action::Bytes { direction, bytes, process } => {
                session.on_bytes(*direction, Chunk { bytes, at: *at, process: *process }, *at, &mut sink);
            }
            Action::Gap { direction, len, seen } => session.on_gap(*direction, *len, seen.then_some(*at), *at, &mut sink),
            Action::Tick => session.tick(*at, &mut sink),
            Action::End => session.on_end(*at, &mut sink),
        }
        memory_bytes_max = memory_bytes_max.max(session.memory_bytes());
    }
    Reading { records: sink.records.into(), counters: sink.counters, state: session.state(), memory_bytes_max }
}

/// As the cases expect it.
pub fn show(reading: &Reading) -> String {
    let mut out = String::new();
    for (number, record) in reading.records.iter().enumerate() {
        let _ = writeln!(out, "record {}\n{}", number + 1, show_record(record));
    }
    let _ = write!(out, "counters\n{}", show_counters(reading.counters.iter()));
    if let State::Stopped(stop) = reading.state {
        let _ = writeln!(out, "\nstopped: {stop:?}");
    }
    out
}
