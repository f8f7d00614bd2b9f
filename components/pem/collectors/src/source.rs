//! The reading end of the ring, and the maps that both sides touch.

use std::{os::fd::OwnedFd, time::Duration};

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf},
};
use conntrack::{Counters, Verdict};
use ebpf_abi::{Counter, VERDICT_EPOCH_MAX, VERDICT_IGNORE, VERDICT_TRACE};
use ids::{Asid, SocketId};
use rustix::event::epoll;

use crate::{Settings, decode, error::Error, event::SourceEvent};

/// Records that one [`Source::read`] hands over at most, so that its caller gets to its other work under any load.
pub const READ_RECORDS_MAX: usize = 1 << 16;

type Counts = [u64; Counter::COUNT as usize];
/// As the programs keep them.
type Words = [u64; Counter::WORDS as usize];

/// Where events come out. Dropping it detaches the programs.
pub struct Source {
    ring: RingBuf<MapData>,
    sockets: HashMap<MapData, u64, [u8; size_of::<ebpf_abi::Socket>()]>,
    verdicts: HashMap<MapData, u64, [u64; 2]>,
    /// Tells the programs that something was decided.
    verdict_epoch: Array<MapData, u32>,
    epoch: u32,
    counters: PerCpuArray<MapData, Words>,
    epoll: OwnedFd,
    asid: Asid,
    undecoded: u64,
    /// Keeps the programs attached.
    _programs: Ebpf,
}

impl Source {
    pub(crate) fn new(mut programs: Ebpf, settings: &Settings) -> Result<Source, Error> {
        let ring: RingBuf<MapData> = map(&mut programs, "RING")?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| Error::Wait(error.into()))?;
        // Edge-triggered: only a wake-up ends a wait, not the first byte.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &ring, epoll::EventData::new_u64(0), flags).map_err(|error| Error::Wait(error.into()))?;
        Ok(Source {
            ring,
            sockets: map(&mut programs, "SOCKETS")?,
            verdicts: map(&mut programs, "VERDICTS")?,
            verdict_epoch: map(&mut programs, "VERDICT_EPOCH")?,
            epoch: 0,
            counters: map(&mut programs, "COUNTERS")?,
            epoll,
            asid: settings.asid,
            undecoded: 0,
            _programs: programs,
        })
    }

    /// Waits for `timeout`, or less if much has come in, then hands over what there is. How many events that were.
    ///
    /// # Errors
    /// The wait failed.
    pub fn read(&mut self, timeout: Duration, handle: &mut dyn FnMut(SourceEvent<'_>)) -> Result<usize, Error> {
        let wait = rustix::event::Timespec::try_from(timeout).ok();
        let mut ready = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }];
        match epoll::wait(&self.epoll, &mut ready, wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::Wait(error.into())),
        }
        Ok(self.drain(handle))
    }

    /// Hands over what there is, without waiting. How many events that were.
    pub fn drain(&mut self, handle: &mut dyn FnMut(SourceEvent<'_>)) -> usize {
        let mut events = 0;
        for _ in 0..READ_RECORDS_MAX {
            let Some(record) = self.ring.next() else { break };
            match decode::event(self.asid, &record) {
                Some(event) => {
                    events += 1;
                    handle(event);
                }
                None => self.undecoded += 1,
            }
        }
        events
    }

    /// Tells the kernel what to do with a connection's bytes. `Ignore` is final; `Unknown` is how every connection begins.
    /// A connection that is gone already takes no harm.
    ///
    /// # Errors
    /// The map refused.
    pub fn set_verdict(&mut self, socket: SocketId, verdict: Verdict) -> Result<(), Error> {
        let refused = |source| Error::Map { map: "VERDICTS", source };
        let number = match verdict {
            Verdict::Unknown => None,
            Verdict::Trace => Some(VERDICT_TRACE),
            Verdict::Ignore => Some(VERDICT_IGNORE),
        };
        let told = match number {
            // As `VerdictEntry` lies in memory: the time, then the verdict in the lower half of a word.
            Some(number) => self.verdicts.insert(socket.address, [socket.opened.0, u64::from(number)], 0),
            None => match self.verdicts.remove(&socket.address) {
                Err(MapError::KeyNotFound) => Ok(()),
                outcome => outcome,
            },
        };
        told.map_err(refused)?;
        // Never 0, which means that nothing was looked up.
        self.epoch = self.epoch % VERDICT_EPOCH_MAX + 1;
        self.verdict_epoch.set(0, self.epoch, 0).map_err(|source| Error::Map { map: "VERDICT_EPOCH", source })
    }

    /// What has passed each of `sockets` so far; leaves out those that are closed or forgotten.
    pub fn poll_counters(&self, sockets: &[SocketId]) -> Vec<(SocketId, Counters)> {
        let known = |socket: &SocketId| {
            let bytes = self.sockets.get(&socket.address, 0).ok()?;
            let entry: ebpf_abi::Socket = decode::read(&bytes)?;
            let counters = Counters { bytes_sent: entry.bytes_sent, bytes_received: entry.bytes_received };
            (entry.opened_ns == socket.opened.0).then_some((*socket, counters))
        };
        sockets.iter().filter_map(known).collect()
    }

    /// What was lost, cut or left out since the start.
    pub fn losses(&self) -> Losses {
        let mut counts = Counts::default();
        if let Ok(cpus) = self.counters.get(&0, 0) {
            for cpu in cpus.iter() {
                counts.iter_mut().zip(cpu).for_each(|(sum, count)| *sum += count);
            }
        }
        Losses { counts, undecoded: self.undecoded }
    }
}

pub(crate) fn map<T: TryFrom<Map, Error = MapError>>(programs: &mut Ebpf, name: &'static str) -> Result<T, Error> {
    let map = programs.take_map(name).ok_or(Error::Missing { name })?;
    map.try_into().map_err(|source| Error::Map { map: name, source })
}

/// What was lost, cut or left out since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    counts: Counts,
    /// Records that this version does not know; always 0, since programs and agent are one binary.
    pub undecoded: u64,
}

impl Losses {
    /// One of the programs' counters.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counts[counter as usize]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL.into_iter().map(|counter| (counter, self.get(counter)))
    }
}
