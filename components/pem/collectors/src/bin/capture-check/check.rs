//! The parent: collects what the kernel tells, compares it with what the child says.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, TryRecvError},
    time::{Duration, Instant},
};

use collectors::{Collector, Collectors, Losses, ProcessEvent, Settings, Source, SourceEvent, State, Way, WayChoice};
use conntrack::{Event, Opened, Transfer};
use ids::{Asid, Direction, SocketId, Transport, Upid};

use crate::{
    cases::Case,
    expect::{Bytes, Expected, Next, Stream},
};

/// The machine may be doing other things, and what they send is captured too: room for it.
const RING_BYTES: u32 = 64 << 20;

/// The longest that records may take to come; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a case did not pass.
pub enum Failure {
    /// The collectors do not run here.
    NothingRuns(String),
    /// They do, and captured something else.
    Wrong(String),
}

#[derive(Default)]
struct Seen {
    sockets: BTreeMap<SocketId, Socket>,
    exits: Vec<(Upid, Option<u8>, Option<u8>)>,
    strangers: Vec<Upid>,
}

struct Socket {
    opened: Opened,
    transfers: Vec<(Direction, u32, Vec<u8>)>,
    lengths: [u64; 2],
    closed: Option<conntrack::Counters>,
    processes: Vec<Upid>,
}

/// What runs while cases do.
pub struct Running {
    source: Source,
    way: Way,
}

/// Starts the collectors, all of which must run.
fn start(settings: &Settings) -> Result<Running, Failure> {
    let collectors = Collectors::start(settings);
    let mut way = None;
    for status in &collectors.statuses {
        match &status.state {
            State::Failed { reason, .. } => return Err(Failure::NothingRuns(format!("{}: {reason}", status.collector))),
            State::Running { way: taken } if status.collector == Collector::SocketData => way = *taken,
            State::Running { .. } | State::Off => {}
        }
    }
    let source = collectors.source.ok_or_else(|| Failure::NothingRuns("no source".to_owned()))?;
    Ok(Running { source, way: way.ok_or_else(|| Failure::NothingRuns("no way to capture".to_owned()))? })
}

/// Runs a case; why this machine cannot do it, if so. Uses the collectors that run, or starts them: those whose connections are to be older
/// than the agent need new ones, and so do those that want other settings.
pub fn run(case: &Case, way: WayChoice, only_own: bool, running: &mut Option<Running>) -> Result<Option<String>, Failure> {
    let wrong = |error: std::io::Error| Failure::Wrong(error.to_string());
    let mut child = Command::new(std::env::current_exe().map_err(wrong)?)
        .args(["traffic", case.name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(wrong)?;
    let outcome = observe(case, way, only_own, &mut child, running);
    if case.sockets_max.is_some() {
        *running = None;
    }
    drop(child.stdin.take());
    let status = child.wait().map_err(wrong)?;
    let skipped = outcome?;
    if status.success() { Ok(skipped) } else { Err(Failure::Wrong(format!("the child ended with {status}"))) }
}

fn observe(
    case: &Case,
    way: WayChoice,
    only_own: bool,
    child: &mut Child,
    running: &mut Option<Running>,
) -> Result<Option<String>, Failure> {
    let lines = lines_of(child.stdout.take().ok_or_else(|| Failure::Wrong("no output".to_owned()))?);
    if lines.recv().ok().as_deref() != Some("ready") {
        return Err(Failure::Wrong("the child did not get ready".to_owned()));
    }
    if !case.openings[0] || case.sockets_max.is_some() {
        *running = None;
    }
    let defaults = Settings::default();
    let settings = Settings { way, ring_bytes: RING_BYTES, sockets_max: case.sockets_max.unwrap_or(defaults.sockets_max), ..defaults };
    let Running { source, way } = match running {
        Some(running) => running,
        None => running.insert(start(&settings)?),
    };
    let before = source.losses();
    let letter = match way {
        Way::SocketLayer => "a",
        Way::CallExit => "b",
    };
    tell(child, letter)?;
    let (mut expected, mut seen) = (Expected::default(), Seen::default());
    loop {
        match expected.hear(&next_line(&lines, source, &mut seen)?).map_err(Failure::Wrong)? {
            Next::More => {}
            Next::Decide(local, remote, verdict) => {
                decide(source, &mut seen, (local, remote), verdict)?;
                tell(child, letter)?;
            }
            Next::End => break,
        }
    }
    if expected.skipped.is_some() {
        return Ok(expected.skipped);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        read(source, &mut seen)?;
        match judge(case, &expected, &seen, source, &before, only_own) {
            Ok(()) => return Ok(None),
            Err(reason) if Instant::now() > deadline => return Err(Failure::Wrong(format!("{reason}; {:?}", source.losses()))),
            Err(_) => {}
        }
    }
}

fn tell(child: &mut Child, line: &str) -> Result<(), Failure> {
    let Some(stdin) = &mut child.stdin else { return Ok(()) };
    writeln!(stdin, "{line}").map_err(|error| Failure::Wrong(error.to_string()))
}

/// Waits for the connection, then gives the verdict on it.
fn decide(source: &mut Source, seen: &mut Seen, (local, remote): (u16, u16), verdict: conntrack::Verdict) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while seen.of(local, remote).is_empty() {
        if Instant::now() > deadline {
            return Err(Failure::Wrong(format!("{local} to {remote}: no connection to decide on")));
        }
        read(source, seen)?;
    }
    for (id, _) in seen.of(local, remote) {
        source.set_verdict(*id, verdict).map_err(|error| Failure::Wrong(error.to_string()))?;
    }
    Ok(())
}

/// What the child says, line by line; the end of its output ends them.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line.trim().to_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The child's next line. Until it comes the ring is read: others on this machine make traffic too, and would fill it.
fn next_line(lines: &Receiver<String>, source: &mut Source, seen: &mut Seen) -> Result<String, Failure> {
    loop {
        match lines.try_recv() {
            Ok(line) => return Ok(line),
            Err(TryRecvError::Empty) => read(source, seen)?,
            Err(TryRecvError::Disconnected) => return Err(Failure::Wrong("the child ended early".to_owned())),
        }
    }
}

fn read(source: &mut Source, seen: &mut Seen) -> Result<(), Failure> {
    let mut handle = |event: SourceEvent<'_>| match event {
        SourceEvent::Socket(event) => seen.take(&event),
        SourceEvent::Process(ProcessEvent::Exit { process, code, signal, .. }) => seen.exits.push((process, code, signal)),
        SourceEvent::Process(ProcessEvent::Seen(process)) => seen.strangers.push(process.upid),
        SourceEvent::Process(ProcessEvent::Exec { .. }) => {}
    };
    source.read(Duration::from_millis(20), &mut handle).map(|_| ()).map_err(|error| Failure::Wrong(error.to_string()))
}

impl Seen {
    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Opened(opened) => {
                let socket = Socket {
                    opened: *opened,
                    transfers: Vec::new(),
                    lengths: [0; 2],
                    closed: None,
                    processes: opened.process.into_iter().collect(),
                };
                self.sockets.insert(opened.socket, socket);
            }
            Event::Transfer(transfer) => {
                if let Some(socket) = self.sockets.get_mut(&transfer.socket) {
                    socket.take(transfer);
                }
            }
            Event::Closed { socket, counters, .. } => {
                if let Some(socket) = self.sockets.get_mut(socket) {
                    socket.closed = Some(*counters);
                }
            }
            Event::Counted { .. } => {}
        }
    }

    fn of(&self, local: u16, remote: u16) -> Vec<(&SocketId, &Socket)> {
        let ports = |socket: &Socket| socket.opened.endpoints.map(|ends| (ends.local.port(), ends.remote.port()));
        let mut found: Vec<_> = self.sockets.iter().filter(|(_, socket)| ports(socket) == Some((local, remote))).collect();
        found.sort_by_key(|(id, _)| id.opened);
        found
    }
}

impl Socket {
    fn take(&mut self, transfer: &Transfer<'_>) {
        let start = match transfer.direction {
            Direction::Sent => self.opened.send_position,
            Direction::Received => self.opened.receive_position,
        };
        let at = transfer.call_position.wrapping_add(transfer.offset).wrapping_sub(start);
        self.transfers.push((transfer.direction, at, transfer.bytes.to_vec()));
        if transfer.last {
            self.lengths[transfer.direction as usize] += u64::from(transfer.call_bytes);
        }
        self.processes.push(transfer.process);
    }

    fn stream(&self, direction: Direction, length: usize) -> Result<Bytes, String> {
        let mut stream = vec![None; length];
        for (_, at, bytes) in self.transfers.iter().filter(|(which, ..)| *which == direction) {
            let place = stream.get_mut(*at as usize..*at as usize + bytes.len());
            let place = place.ok_or_else(|| format!("{direction:?}: {} bytes at {at}, but the stream has {length}", bytes.len()))?;
            for (slot, byte) in place.iter_mut().zip(bytes) {
                if slot.replace(*byte).is_some() {
                    return Err(format!("{direction:?}: bytes at {at} came twice"));
                }
            }
        }
        Ok(stream)
    }
}

/// Whether what was seen is what the child said.
fn judge(case: &Case, expected: &Expected, seen: &Seen, source: &Source, before: &Losses, only_own: bool) -> Result<(), String> {
    for (stream, bytes) in &expected.streams {
        judge_stream(case, *stream, bytes, expected, seen, source)?;
    }
    for (local, remote) in &expected.closed {
        let found = seen.of(*local, *remote);
        let closed = found.iter().find_map(|(_, socket)| socket.closed);
        let length = |sent| expected.streams.get(&Stream { local: *local, remote: *remote, sent }).map_or(0, Vec::len) as u64;
        let counters = conntrack::Counters { bytes_sent: length(true), bytes_received: length(false) };
        if found.len() == 1 && closed != Some(counters) {
            return Err(format!("{local} to {remote}: closed {closed:?}, not {counters:?}"));
        }
    }
    judge_said(expected, seen, source, before)?;
    for secret in &expected.secrets {
        let mut all = seen.sockets.values().flat_map(|socket| &socket.transfers);
        if all.any(|(_, _, bytes)| bytes.windows(secret.len()).any(|window| window == secret)) {
            return Err("bytes of a file or pipe were captured".to_owned());
        }
    }
    let known = |upid: &Upid| expected.processes.contains(&(upid.pid(), upid.start_ticks()));
    if only_own && let Some(stranger) = seen.strangers.iter().find(|upid| !known(upid)) {
        return Err(format!("saw the process {stranger}, which lies outside"));
    }
    (case.judge)(&seen_exits(seen), expected)
}

/// Counters, roles, losses: where the child said what they are.
fn judge_said(expected: &Expected, seen: &Seen, source: &Source, before: &Losses) -> Result<(), String> {
    for ((local, remote), wanted) in &expected.counted {
        let ids: Vec<SocketId> = seen.of(*local, *remote).into_iter().map(|(id, _)| *id).collect();
        let counted: Vec<_> = source.poll_counters(&ids).iter().map(|(_, counts)| [counts.bytes_sent, counts.bytes_received]).collect();
        if counted != [*wanted] {
            return Err(format!("{local} to {remote}: counted {counted:?}, not {wanted:?}"));
        }
    }
    for ((local, remote), wanted) in &expected.roles {
        let roles: Vec<_> = seen.of(*local, *remote).into_iter().map(|(_, socket)| format!("{:?}", socket.opened.role)).collect();
        if roles.is_empty() || roles.iter().any(|role| role != wanted) {
            return Err(format!("{local} to {remote}: {roles:?}, not {wanted}"));
        }
    }
    let now = source.losses();
    for (name, least) in &expected.counters {
        let grown = now.iter().find(|(counter, _)| format!("{counter:?}") == *name).map(|(counter, count)| count - before.get(counter));
        if grown.is_none_or(|grown| grown < *least) {
            return Err(format!("{name} has grown by {grown:?}, not by {least}"));
        }
    }
    Ok(())
}

fn seen_exits(seen: &Seen) -> Vec<(u32, Option<u8>, Option<u8>)> {
    seen.exits.iter().map(|(upid, code, signal)| (upid.pid(), *code, *signal)).collect()
}

fn judge_stream(case: &Case, stream: Stream, bytes: &Bytes, expected: &Expected, seen: &Seen, source: &Source) -> Result<(), String> {
    let name = format!("{} to {}, {}", stream.local, stream.remote, if stream.sent { "sent" } else { "received" });
    let found = seen.of(stream.local, stream.remote);
    let Some((id, socket)) = found.first() else { return Err(format!("{name}: the connection was not seen")) };
    if found.len() != case.openings.len() {
        return Err(format!("{name}: {} connections, not {}", found.len(), case.openings.len()));
    }
    if socket.opened.transport == Transport::Udp {
        let counters = source.poll_counters(&[**id]).first().map(|(_, counters)| *counters).ok_or("no counters")?;
        let counted = if stream.sent { counters.bytes_sent } else { counters.bytes_received };
        return if counted == bytes.len() as u64 { Ok(()) } else { Err(format!("{name}: counted {counted}, not {}", bytes.len())) };
    }
    let direction = if stream.sent { Direction::Sent } else { Direction::Received };
    let per_connection = bytes.len() / found.len();
    for ((index, (_, socket)), fresh) in found.iter().enumerate().zip(case.openings) {
        let captured = socket.stream(direction, per_connection)?;
        let wanted = &bytes[index * per_connection..(index + 1) * per_connection];
        if let Some(at) = captured.iter().zip(wanted).position(|(captured, wanted)| captured != wanted) {
            return Err(format!("{name}: byte {at} of {} is {:?}, not {:?}", captured.len(), captured[at], wanted[at]));
        }
        if socket.opened.fresh != *fresh {
            return Err(format!("{name}: fresh {}", socket.opened.fresh));
        }
        let known = |upid: &&Upid| expected.processes.iter().any(|(pid, ticks)| **upid == Upid::new(Asid(1), *pid, *ticks));
        if let Some(stranger) = socket.processes.iter().find(|upid| !known(upid)) {
            return Err(format!("{name}: process {stranger} is not of {:?}", expected.processes));
        }
    }
    let told: u64 = found.iter().map(|(_, socket)| socket.lengths[direction as usize]).sum();
    let untold = expected.untold.get(&stream).map_or(0, |untold| *untold) as u64;
    if told + untold != bytes.len() as u64 {
        return Err(format!("{name}: calls told of {told} bytes, not of {} without {untold}", bytes.len()));
    }
    Ok(())
}
