//! What the child says of its traffic, and how it says it: lines on its standard output.
//!
//! ```text
//! process PID START_TICKS                                      who makes the calls that follow
//! stream LOCAL_PORT REMOTE_PORT sent|received HEX|- LENGTH     the next bytes of a stream, or so many that cannot be known
//! closed LOCAL_PORT REMOTE_PORT                                the connection was closed
//! secret HEX                                                   must be in no captured bytes
//! ready, done                                                  now the collectors may start; all is said
//! ```

use std::{collections::BTreeMap, fmt::Write as _};

/// A side of a connection, and a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// The port of the side that is looked at.
    pub local: u16,
    /// Its peer's.
    pub remote: u16,
    /// Whether it is what that side sent.
    pub sent: bool,
}

/// Bytes of a stream; those that cannot be captured are `None`.
pub type Bytes = Vec<Option<u8>>;

/// All that a child said.
#[derive(Debug, Default)]
pub struct Expected {
    /// What went over each stream.
    pub streams: BTreeMap<Stream, Bytes>,
    /// Connections that were closed.
    pub closed: Vec<(u16, u16)>,
    /// What must not be seen.
    pub secrets: Vec<Vec<u8>>,
    /// Who made the calls.
    pub processes: Vec<(u32, u64)>,
}

/// Says a piece of a stream.
pub fn say_bytes(stream: Stream, bytes: &[u8]) {
    say_piece(stream, &hex(bytes), bytes.len());
}

/// Two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Says a piece of a stream that cannot be captured.
pub fn say_hole(stream: Stream, length: usize) {
    say_piece(stream, "-", length);
}

fn say_piece(stream: Stream, hex: &str, length: usize) {
    println!("stream {} {} {} {hex} {length}", stream.local, stream.remote, if stream.sent { "sent" } else { "received" });
}

impl Expected {
    /// Takes a line; whether it was the last.
    pub fn hear(&mut self, line: &str) -> Result<bool, String> {
        let bad = || format!("the child said {line:?}");
        let number = |text: &str| text.parse::<u16>().map_err(|_| bad());
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["stream", local, remote, direction, hex, length] => {
                let stream = Stream { local: number(local)?, remote: number(remote)?, sent: *direction == "sent" };
                let bytes = match *hex {
                    "-" => vec![None; length.parse().map_err(|_| bad())?],
                    hex => unhex(hex).ok_or_else(bad)?.into_iter().map(Some).collect(),
                };
                self.streams.entry(stream).or_default().extend(bytes);
            }
            ["closed", local, remote] => self.closed.push((number(local)?, number(remote)?)),
            ["secret", hex] => self.secrets.push(unhex(hex).ok_or_else(bad)?),
            ["process", pid, ticks] => self.processes.push((pid.parse().map_err(|_| bad())?, ticks.parse().map_err(|_| bad())?)),
            ["done"] => return Ok(true),
            _ => return Err(bad()),
        }
        Ok(false)
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()).collect()
}
