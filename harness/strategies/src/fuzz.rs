//! What the fuzz targets do with their input, so that tests can replay it; and how seeds are made from cases.

use conntrack::{ConnTracker, Counters, Event, Limits, Opened, Transfer};
use ids::{Asid, Direction, MonoNs, Role, SocketId, Transport, Upid};
use protocols::{Chunk, Protocol, Session, Sink, Start};

use crate::kernel::{self, OwnedEvent};
use crate::traffic::{self, Action};

/// More than a session may hold: see the law of the same name.
const SESSION_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Reads words from the front of an input.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (word, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*word)
    }

    /// A length of two bytes, and as many bytes of what follows as there are.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(u16::from_be_bytes(self.take()?)).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(bytes)
    }
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&bytes[..usize::from(len)]);
}

/// One byte of flags (1 client, 2 from the middle, 4 after a loss), then steps: what happens, milliseconds since the last, length, bytes.
///
/// # Panics
/// If something that must hold does not.
pub fn session(data: &[u8]) {
    let mut words = Words(data);
    let Some([flags]) = words.take() else { return };
    let role = if flags & 1 == 0 { Role::Server } else { Role::Client };
    let start = [Start::Fresh, Start::Midstream, Start::AfterLoss, Start::AfterLoss][usize::from(flags >> 1 & 3)];
    let (mut sink, mut now) = (Sink::default(), MonoNs(0));
    let Some(mut session) = Session::new(Protocol::Http, role, start) else { return };
    while let (Some([what, pause]), Some(bytes)) = (words.take(), words.bytes()) {
        now = MonoNs(now.0 + u64::from(pause) * 1_000_000);
        let direction = if what & 1 == 0 { Direction::Sent } else { Direction::Received };
        match what >> 1 & 3 {
            0 => session.on_bytes(direction, Chunk { bytes, at: now, process: Upid::NONE }, now, &mut sink),
            1 => session.on_gap(direction, bytes.len() as u64, None, now, &mut sink),
            2 => session.on_gap(direction, bytes.len() as u64, Some(now), now, &mut sink),
            _ if what & 1 == 0 => session.tick(now, &mut sink),
            _ => session.on_end(now, &mut sink),
        }
        assert!(session.memory_bytes() <= SESSION_BYTES_MAX, "{} bytes held", session.memory_bytes());
    }
    session.on_end(now, &mut sink);
    assert_eq!(sink.counters.records, sink.records.len() as u64);
}

/// A case of golden/protocols as an input of [`session`].
pub fn session_seed(script: &traffic::Script) -> Vec<u8> {
    let mut out = vec![u8::from(script.role == Role::Client) | u8::from(script.start == Start::Midstream) << 1];
    let mut now = MonoNs(0);
    for step in &script.steps {
        let pause = u8::try_from(step.at.since(now).as_millis()).unwrap_or(u8::MAX);
        now = step.at;
        let side = |direction: Direction| u8::from(direction == Direction::Received);
        let (what, bytes) = match &step.action {
            Action::Bytes { direction, bytes, .. } => (side(*direction), bytes.clone()),
            Action::Gap { direction, len, seen } => {
                (side(*direction) | if *seen { 4 } else { 2 }, vec![0; usize::try_from(*len).unwrap_or(0)])
            }
            Action::Tick => (6, Vec::new()),
            Action::End => (7, Vec::new()),
        };
        out.extend_from_slice(&[what, pause]);
        push_bytes(&mut out, &bytes);
    }
    out
}

/// Steps: what happens, to which socket (address and generation), flags, milliseconds since the last, three numbers, length, bytes.
///
/// # Panics
/// If something that must hold does not.
pub fn tracker(data: &[u8]) {
    let limits = Limits { connections_max: 8, buffered_bytes_max: 64 * 1024, aggregates_max: 1000 };
    let (mut tracker, mut now, mut words) = (ConnTracker::new(limits), MonoNs(1), Words(data));
    let mut known: Vec<(Upid, u64, u64)> = Vec::new();
    while let (Some([what, address, generation, flags, pause]), Some(a), Some(b), Some(c), Some(bytes)) =
        (words.take(), words.take(), words.take(), words.take(), words.bytes())
    {
        let (a, b, c) = (u32::from_be_bytes(a), u32::from_be_bytes(b), u32::from_be_bytes(c));
        now = MonoNs(now.0 + u64::from(pause) * 1_000_000);
        let socket = SocketId { address: u64::from(address), opened: MonoNs(u64::from(generation)), netns: 1 };
        let counters = Counters { bytes_sent: u64::from(a), bytes_received: u64::from(b) };
        match what % 6 {
            0 => {
                let transport = if flags & 1 == 0 { Transport::Tcp } else { Transport::Udp };
                let role = [Role::Client, Role::Server, Role::Unknown, Role::Unknown][usize::from(flags >> 2 & 3)];
                let (fresh, send_position, receive_position) = (flags & 2 == 0, a, b);
                let opened = Opened { socket, endpoints: None, transport, role, fresh, send_position, receive_position, process: None };
                tracker.handle(&Event::Opened(opened), now);
            }
            1 => tracker.handle(&Event::Closed { socket, at: now, counters, process: None }, now),
            2 => tracker.handle(&Event::Counted { socket, counters }, now),
            3 => tracker.tick(now),
            4 => {
                for row in tracker.conn_stats(now) {
                    assert_eq!(row.conn_active, row.conn_open - row.conn_close);
                    match known.iter_mut().find(|known| known.0 == row.upid) {
                        Some(known) => {
                            assert!(known.1 <= row.bytes_sent && known.2 <= row.bytes_received, "counters went back");
                            (known.1, known.2) = (row.bytes_sent, row.bytes_received);
                        }
                        None => known.push((row.upid, row.bytes_sent, row.bytes_received)),
                    }
                }
            }
            _ => {
                // A process for each socket: its counters are the only ones of its aggregate.
                let process = Upid::new(Asid(1), 1 + u32::from(address), 1);
                let direction = if flags & 1 == 0 { Direction::Sent } else { Direction::Received };
                let (call_position, call_bytes, offset, last) = (a, b, c, flags & 2 == 0);
                let transfer = Transfer { socket, process, direction, at: now, call_position, call_bytes, offset, bytes, last };
                tracker.handle(&Event::Transfer(transfer), now);
            }
        }
        while tracker.poll().is_some() {}
        assert!(tracker.buffered_bytes() <= limits.buffered_bytes_max, "{} bytes held", tracker.buffered_bytes());
        assert!(tracker.open_sockets().count() <= limits.connections_max);
    }
    tracker.tick(MonoNs(now.0 + 60_000_000_000));
}

/// A case of golden/conntrack as an input of [`tracker`].
pub fn tracker_seed(script: &kernel::Script) -> Vec<u8> {
    let (mut out, mut last) = (Vec::new(), MonoNs(0));
    let mut push = |now: MonoNs, what: u8, socket: Option<SocketId>, flags: u8, numbers: [u32; 3], bytes: &[u8]| {
        let pause = u8::try_from(now.since(last).as_millis()).unwrap_or(u8::MAX);
        last = now;
        let (address, generation) = socket.map_or((0, 0), |socket| (socket.address as u8, (socket.opened.0 / 1_000_000) as u8));
        out.extend_from_slice(&[what, address, generation, flags, pause]);
        out.extend(numbers.into_iter().flat_map(u32::to_be_bytes));
        push_bytes(&mut out, bytes);
    };
    for step in &script.steps {
        let (now, event) = match step {
            kernel::Step::Tick(now) => {
                push(*now, 3, None, 0, [0; 3], &[]);
                continue;
            }
            kernel::Step::Stats(now) => {
                push(*now, 4, None, 0, [0; 3], &[]);
                continue;
            }
            kernel::Step::Event(now, event) => (*now, event),
        };
        match event {
            OwnedEvent::Transfer { transfer, bytes } => {
                let flags = u8::from(transfer.direction == Direction::Received) | u8::from(!transfer.last) << 1;
                push(now, 5, Some(transfer.socket), flags, [transfer.call_position, transfer.call_bytes, transfer.offset], bytes);
            }
            OwnedEvent::Other(Event::Opened(opened)) => {
                let role = match opened.role {
                    Role::Client => 0,
                    Role::Server => 4,
                    Role::Unknown => 8,
                };
                let flags = u8::from(opened.transport == Transport::Udp) | u8::from(!opened.fresh) << 1 | role;
                push(now, 0, Some(opened.socket), flags, [opened.send_position, opened.receive_position, 0], &[]);
            }
            OwnedEvent::Other(Event::Closed { socket, counters, .. }) => {
                push(now, 1, Some(*socket), 0, [counters.bytes_sent as u32, counters.bytes_received as u32, 0], &[]);
            }
            OwnedEvent::Other(Event::Counted { socket, counters }) => {
                push(now, 2, Some(*socket), 0, [counters.bytes_sent as u32, counters.bytes_received as u32, 0], &[]);
            }
            OwnedEvent::Other(Event::Transfer(_)) => {}
        }
    }
    out
}

/// Replays every file of `fuzz/corpus/<target>`, after it has written the seeds that are not as they should be if `UPDATE_GOLDEN` is set.
///
/// # Errors
/// If the corpus is missing or a seed is not what its case makes.
pub fn replay(target: &str, seeds: &[(String, Vec<u8>)], run: impl Fn(&[u8])) -> anyhow::Result<()> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    for (name, seed) in seeds {
        let path = folder.join(name);
        if std::fs::read(&path).ok().as_ref() != Some(seed) {
            anyhow::ensure!(
                std::env::var_os("UPDATE_GOLDEN").is_some(),
                "{} is not what its case makes; UPDATE_GOLDEN=1 writes it",
                path.display()
            );
            std::fs::write(&path, seed)?;
        }
    }
    let mut names: Vec<_> = std::fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?.into_iter().map(|entry| entry.path()).collect();
    names.sort();
    anyhow::ensure!(!names.is_empty(), "{} is empty", folder.display());
    for path in names {
        run(&std::fs::read(path)?);
    }
    Ok(())
}
