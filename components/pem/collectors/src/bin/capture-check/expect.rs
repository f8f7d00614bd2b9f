//! What the child says of its traffic, and how it says it: lines on its standard output.
//!
//! ```text
//! process PID START_TICKS                                      who makes the calls that follow
//! stream LOCAL_PORT REMOTE_PORT sent|received HEX|-|? LENGTH   the next bytes of a stream; `-`: so many that are told of without their content,
//!                                                              `?`: so many that only the next position or the close tells of
//! closed LOCAL_PORT REMOTE_PORT                                the connection was closed
//! counted LOCAL_PORT REMOTE_PORT SENT RECEIVED                 what the counters of the connection say
//! role LOCAL_PORT REMOTE_PORT Client|Server|Unknown            the role that is told
//! counter NAME LEAST                                           how much a counter of losses has grown by
//! secret HEX                                                   must be in no captured bytes
//! decide LOCAL_PORT REMOTE_PORT Trace|Ignore                   give the verdict on this connection, then say so
//! ready, done, skip REASON                                     now the collectors may start; all is said; this machine cannot do it
//! ```

use std::{collections::BTreeMap, fmt::Write as _};

use conntrack::Verdict;

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
    /// How much of each stream no call tells of.
    pub untold: BTreeMap<Stream, usize>,
    /// Counters of connections: ports, sent, received.
    pub counted: Vec<((u16, u16), [u64; 2])>,
    /// Roles, by ports.
    pub roles: Vec<((u16, u16), String)>,
    /// Counters of losses, and how much they have grown by at least.
    pub counters: Vec<(String, u64)>,
    /// Why this machine cannot do it.
    pub skipped: Option<String>,
    /// Connections that were closed.
    pub closed: Vec<(u16, u16)>,
    /// What must not be seen.
    pub secrets: Vec<Vec<u8>>,
    /// Who made the calls.
    pub processes: Vec<(u32, u64)>,
}

/// What the child waits for after a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    More,
    /// A verdict on the connections with these ports.
    Decide(u16, u16, Verdict),
    /// The end.
    End,
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

/// Says a piece of a stream that is told of without its bytes.
pub fn say_hole(stream: Stream, length: usize) {
    say_piece(stream, "-", length);
}

/// Says a piece of a stream that nothing tells of but the next position, or the close.
pub fn say_untold(stream: Stream, length: usize) {
    say_piece(stream, "?", length);
}

fn say_piece(stream: Stream, hex: &str, length: usize) {
    println!("stream {} {} {} {hex} {length}", stream.local, stream.remote, if stream.sent { "sent" } else { "received" });
}

impl Expected {
    /// Takes a line.
    pub fn hear(&mut self, line: &str) -> Result<Next, String> {
        let bad = || format!("the child said {line:?}");
        let number = |text: &str| text.parse::<u16>().map_err(|_| bad());
        let long = |text: &str| text.parse::<u64>().map_err(|_| bad());
        let length = |text: &str| text.parse::<usize>().map_err(|_| bad());
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["stream", local, remote, direction, hex, bytes] => {
                let stream = Stream { local: number(local)?, remote: number(remote)?, sent: *direction == "sent" };
                let bytes = match *hex {
                    "-" => vec![None; length(bytes)?],
                    "?" => {
                        *self.untold.entry(stream).or_default() += length(bytes)?;
                        vec![None; length(bytes)?]
                    }
                    hex => unhex(hex).ok_or_else(bad)?.into_iter().map(Some).collect(),
                };
                self.streams.entry(stream).or_default().extend(bytes);
            }
            ["closed", local, remote] => self.closed.push((number(local)?, number(remote)?)),
            ["secret", hex] => self.secrets.push(unhex(hex).ok_or_else(bad)?),
            ["process", pid, ticks] => self.processes.push((pid.parse().map_err(|_| bad())?, long(ticks)?)),
            ["counted", local, remote, sent, received] => {
                self.counted.push(((number(local)?, number(remote)?), [long(sent)?, long(received)?]));
            }
            ["role", local, remote, role] => self.roles.push(((number(local)?, number(remote)?), (*role).to_owned())),
            ["counter", name, least] => self.counters.push(((*name).to_owned(), long(least)?)),
            ["decide", local, remote, "Trace"] => return Ok(Next::Decide(number(local)?, number(remote)?, Verdict::Trace)),
            ["decide", local, remote, "Ignore"] => return Ok(Next::Decide(number(local)?, number(remote)?, Verdict::Ignore)),
            ["skip", why @ ..] => {
                self.skipped = Some(why.join(" "));
                return Ok(Next::End);
            }
            ["done"] => return Ok(Next::End),
            _ => return Err(bad()),
        }
        Ok(Next::More)
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()).collect()
}
