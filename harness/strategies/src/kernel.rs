//! Connections as the tracker sees them: socket events, as text and made from traffic.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use conntrack::{ConnStatsRow, ConnTracker, Counters, Event, Limits, Opened, Output, Transfer};
use ids::{Direction, Endpoints, MonoNs, Role, SocketId, Transport};

use crate::text::{lines, parse_bytes, parse_number, parse_time, show_counters, show_record};
use crate::traffic::{Action, process};

/// An event that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedEvent {
    /// Bytes passed, or passed unseen.
    Transfer {
        /// All but the bytes.
        transfer: Transfer<'static>,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Anything else.
    Other(Event<'static>),
}

impl OwnedEvent {
    /// As the tracker takes it.
    pub fn as_event(&self) -> Event<'_> {
        match self {
            OwnedEvent::Transfer { transfer, bytes } => Event::Transfer(Transfer { bytes, ..transfer.clone() }),
            OwnedEvent::Other(event) => event.clone(),
        }
    }
}

/// What a case does to a tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Hands it an event.
    Event(MonoNs, OwnedEvent),
    /// Lets time pass.
    Tick(MonoNs),
    /// Asks for the counters per process and peer.
    Stats(MonoNs),
}

/// Steps of a case, in the order in which the tracker meets them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Script {
    /// In that order.
    pub steps: Vec<Step>,
    /// What the tracker may hold.
    pub limits: Limits,
}

/// Where a connection of a script stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    socket: SocketId,
    sent: u32,
    received: u32,
    bytes_sent: u64,
    bytes_received: u64,
}

/// The words `key=value` of a line, and those without a value.
struct Words<'a>(Vec<(&'a str, Option<&'a str>)>);

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Words<'a> {
        Words(text.split_whitespace().map(|word| word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)))).collect())
    }

    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|word| word.0 == key)
    }

    fn value(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|word| word.0 == key).and_then(|word| word.1)
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>> {
        self.value(key).map(parse_number).transpose()
    }
}

impl Script {
    /// Reads the text of a case: see `golden/conntrack/README.md`.
    ///
    /// # Errors
    /// With the line that is wrong.
    pub fn parse(text: &str) -> Result<Script> {
        let (mut script, mut places) = (Script::default(), BTreeMap::new());
        for (number, line, more) in lines(text) {
            script.parse_line(&line, &more, &mut places).with_context(|| format!("line {number}: `{line}`"))?;
        }
        Ok(script)
    }

    fn parse_line(&mut self, line: &str, more: &[&str], places: &mut BTreeMap<String, Place>) -> Result<()> {
        let (head, quoted) = line.split_at(line.find('"').unwrap_or(line.len()));
        let words = Words::of(head);
        if words.has("limits") {
            self.limits.connections_max = words.number("connections")?.unwrap_or(self.limits.connections_max);
            self.limits.buffered_bytes_max = words.number("buffered")?.unwrap_or(self.limits.buffered_bytes_max);
            return Ok(());
        }
        if words.has("unopened") {
            let at = words.value("opened").map(parse_time).transpose()?.unwrap_or_default();
            opened(at, &Words([&[("", None)], &words.0[..]].concat()), places)?;
            return Ok(());
        }
        let [(time, None), (what, None), ..] = words.0[..] else { bail!("no time and event") };
        let at = parse_time(time)?;
        // An event may be handled later than it happened.
        let now = words.value("now").map(parse_time).transpose()?.unwrap_or(at);
        match what {
            "tick" => self.steps.push(Step::Tick(at)),
            "stats" => self.steps.push(Step::Stats(at)),
            "opened" => self.steps.push(Step::Event(now, OwnedEvent::Other(opened(at, &words, places)?))),
            "closed" | "counted" => {
                let place = place(&words, places)?;
                let counters = Counters {
                    bytes_sent: words.number("sent")?.unwrap_or(place.bytes_sent),
                    bytes_received: words.number("recv")?.unwrap_or(place.bytes_received),
                };
                let event = match what {
                    "closed" => Event::Closed { socket: place.socket, at, counters, process: None },
                    _ => Event::Counted { socket: place.socket, counters },
                };
                self.steps.push(Step::Event(now, OwnedEvent::Other(event)));
            }
            "sent" | "recv" | "lost" => {
                let mut bytes = Vec::new();
                for part in (!quoted.is_empty()).then_some(quoted).iter().chain(more) {
                    bytes.extend_from_slice(&parse_bytes(part)?);
                }
                if let Some(event) = transfer(at, what, &words, bytes, places)? {
                    self.steps.push(Step::Event(now, event));
                }
            }
            _ => bail!("`{what}` is no event"),
        }
        Ok(())
    }
}

fn place<'a>(words: &Words<'_>, places: &'a mut BTreeMap<String, Place>) -> Result<&'a mut Place> {
    let name = words.0.get(2).map(|word| word.0).context("no connection is named")?;
    places.get_mut(name).with_context(|| format!("`{name}` was not opened"))
}

fn opened(at: MonoNs, words: &Words<'_>, places: &mut BTreeMap<String, Place>) -> Result<Event<'static>> {
    let name = words.0.get(2).map(|word| word.0).context("no connection is named")?;
    let address = words.number("sock")?.unwrap_or_else(|| name.bytes().fold(0, |all, byte| all * 256 + u64::from(byte)));
    let socket = SocketId { address, opened: at, netns: words.number("netns")?.unwrap_or(1) };
    let place = Place {
        socket,
        sent: words.number("send")?.unwrap_or(1000),
        received: words.number("receive")?.unwrap_or(2000),
        bytes_sent: 0,
        bytes_received: 0,
    };
    places.insert(name.to_owned(), place);
    let endpoint = |key: &str, default: &str| words.value(key).unwrap_or(default).parse().with_context(|| format!("{key} is no address"));
    let endpoints = Endpoints { local: endpoint("local", "10.0.0.1:80")?, remote: endpoint("remote", "10.0.0.2:40000")? };
    Ok(Event::Opened(Opened {
        socket,
        endpoints: (!words.has("unaddressed")).then_some(endpoints),
        transport: if words.has("udp") { Transport::Udp } else { Transport::Tcp },
        role: match words.value("role") {
            Some("client") => Role::Client,
            Some("server") => Role::Server,
            _ => Role::Unknown,
        },
        fresh: !words.has("seen"),
        send_position: place.sent,
        receive_position: place.received,
        process: words.number("pid")?.map(process),
    }))
}

fn transfer(at: MonoNs, what: &str, words: &Words<'_>, bytes: Vec<u8>, places: &mut BTreeMap<String, Place>) -> Result<Option<OwnedEvent>> {
    let place = place(words, places)?;
    let sent = what == "sent" || (what == "lost" && words.has("sent"));
    let call_bytes: u32 = words.number("call")?.unwrap_or(bytes.len() as u32);
    let offset = words.number("offset")?.unwrap_or(0);
    let (next, count) = if sent { (&mut place.sent, &mut place.bytes_sent) } else { (&mut place.received, &mut place.bytes_received) };
    // Without a position a call follows the one before.
    let call_position = match words.value("pos") {
        Some(back) if back.starts_with('-') => next.wrapping_sub(parse_number(&back[1..])?),
        Some(ahead) if ahead.starts_with('+') => next.wrapping_add(parse_number(&ahead[1..])?),
        Some(position) => parse_number(position)?,
        None => *next,
    };
    if words.value("pos").is_none() && !words.has("more") {
        *next = next.wrapping_add(call_bytes);
        *count += u64::from(call_bytes);
    }
    if what == "lost" {
        return Ok(None);
    }
    let transfer = Transfer {
        socket: place.socket,
        process: process(words.number("pid")?.unwrap_or(1)),
        direction: if sent { Direction::Sent } else { Direction::Received },
        at,
        call_position,
        call_bytes,
        offset,
        bytes: &[],
        last: !words.has("more"),
    };
    Ok(Some(OwnedEvent::Transfer { transfer, bytes }))
}

/// Runs a script: what the tracker says, as the cases expect it.
pub fn run(script: &Script) -> String {
    let mut tracker = ConnTracker::new(script.limits);
    let (mut out, mut names) = (String::new(), Vec::new());
    for step in &script.steps {
        match step {
            Step::Event(now, event) => tracker.handle(&event.as_event(), *now),
            Step::Tick(now) => tracker.tick(*now),
            Step::Stats(now) => {
                let rows = tracker.conn_stats(*now);
                show_outputs(&mut out, &mut names, &mut tracker);
                let _ = writeln!(out, "stats {}", crate::text::show_time(*now));
                for row in rows {
                    show_row(&mut out, &row);
                }
                out.push('\n');
            }
        }
        show_outputs(&mut out, &mut names, &mut tracker);
    }
    let _ = write!(out, "metrics\n{}", show_counters(tracker.metrics().iter()));
    out
}

/// Connections are numbered in the order of their first output.
fn show_outputs(out: &mut String, names: &mut Vec<SocketId>, tracker: &mut ConnTracker) {
    let mut number = |socket: SocketId| {
        names.iter().position(|known| *known == socket).unwrap_or_else(|| {
            names.push(socket);
            names.len() - 1
        }) + 1
    };
    while let Some(output) = tracker.poll() {
        match output {
            Output::Verdict { socket, verdict } => {
                let _ = writeln!(out, "verdict connection={} {verdict:?}\n", number(socket));
            }
            Output::Record { socket, endpoints, role, record } => {
                let ends = endpoints.map_or("unaddressed".to_owned(), |ends| format!("local={} remote={}", ends.local, ends.remote));
                let _ = writeln!(out, "record connection={} {ends} role={role:?}\n{}", number(socket), show_record(&record));
            }
        }
    }
}

fn show_row(out: &mut String, row: &ConnStatsRow) {
    let addr = row.remote_addr.map_or("-".to_owned(), |addr| addr.to_string());
    let _ = writeln!(
        out,
        "  pid={} remote={addr}:{} role={:?} family={:?} protocol={} ssl={} open={} close={} active={} sent={} recv={}",
        row.upid.pid(),
        row.remote_port,
        row.role,
        row.addr_family,
        row.protocol,
        row.ssl,
        row.conn_open,
        row.conn_close,
        row.conn_active,
        row.bytes_sent,
        row.bytes_received
    );
}

/// A socket of generated traffic.
pub fn socket(number: u64) -> SocketId {
    SocketId { address: 0xffff_8880_0000_0000 + number * 0x100, opened: MonoNs(1), netns: 4_026_531_840 }
}

/// The event that opens it at these positions.
pub fn opening(socket: SocketId, role: Role, fresh: bool, send_position: u32, receive_position: u32) -> OwnedEvent {
    let endpoints = "10.0.0.1:80".parse().ok().zip("10.0.0.2:40000".parse().ok()).map(|(local, remote)| Endpoints { local, remote });
    let transport = Transport::Tcp;
    OwnedEvent::Other(Event::Opened(Opened { socket, endpoints, transport, role, fresh, send_position, receive_position, process: None }))
}

/// The socket events of one connection's traffic, from these positions on; the times are those of the calls. Ticks are left to the caller.
pub fn events(traffic: &crate::traffic::Script, socket: SocketId, send_position: u32, receive_position: u32) -> Vec<(MonoNs, OwnedEvent)> {
    let fresh = traffic.start == protocols::Start::Fresh;
    let mut events = vec![(MonoNs(1), opening(socket, Role::Unknown, fresh, send_position, receive_position))];
    let (mut sent, mut received) = (send_position, receive_position);
    for step in &traffic.steps {
        let (direction, call_bytes, bytes, process) = match &step.action {
            Action::Bytes { direction, bytes, process } => (*direction, bytes.len() as u32, bytes.clone(), *process),
            Action::Gap { direction, len, .. } => (*direction, *len as u32, Vec::new(), process(1)),
            Action::Tick => continue,
            Action::End => {
                let counters = Counters {
                    bytes_sent: u64::from(sent.wrapping_sub(send_position)),
                    bytes_received: u64::from(received.wrapping_sub(receive_position)),
                };
                events.push((step.at, OwnedEvent::Other(Event::Closed { socket, at: step.at, counters, process: None })));
                continue;
            }
        };
        let position = match direction {
            Direction::Sent => &mut sent,
            Direction::Received => &mut received,
        };
        let call_position = *position;
        *position = position.wrapping_add(call_bytes);
        if !matches!(step.action, Action::Gap { seen: false, .. }) {
            let transfer =
                Transfer { socket, process, direction, at: step.at, call_position, call_bytes, offset: 0, bytes: &[], last: true };
            events.push((step.at, OwnedEvent::Transfer { transfer, bytes }));
        }
    }
    events
}
