//! Probes on functions: deployed, read, removed.

use std::{num::NonZeroU32, time::Duration};

use aya::{
    Ebpf,
    maps::{Array, MapData, RingBuf},
    programs::{
        ProgramError, UProbe,
        uprobe::{UProbeAttachLocation, UProbeLinkId, UProbeScope},
    },
};
use ebpf_abi::{ProbeHit, limit, probe_flag};
use ids::{Asid, MonoNs, Upid};

use crate::{
    decode,
    error::Error,
    load,
    source::map,
    symbol::{self, Places},
    target::{Binary, Target},
};

/// Events that one [`Probes::poll`] hands over at most.
pub const READ_CALLS_MAX: usize = 1 << 16;

/// Attachments of one probe: places of the function times processes.
const ATTACHMENTS_MAX: usize = 256;

/// What the kernel has for probes on functions of programs.
const UPROBES_PATH: &str = "/sys/bus/event_source/devices/uprobe/type";

/// The integer arguments of a function, in their order.
pub type Arguments = [u64; limit::PROBE_ARGUMENTS];

/// A probe. Numbers are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);

/// What to probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSpec {
    /// The file.
    pub binary: Binary,
    /// Whose calls are told.
    pub probed: Probed,
    /// The function's name, as the symbol table has it.
    pub symbol: String,
    /// Calls are told when they return, with the time that they took. Else when they begin.
    pub returns: bool,
}

/// Whose calls are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// Of all processes that use the file, or will, and that the agent's PID namespace sees.
    AllProcesses,
    /// Of these, by their ids in the agent's PID namespace. Processes that they start are others.
    Processes(Vec<u32>),
}

/// A call of a probed function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeEvent {
    /// Which probe.
    pub probe: ProbeId,
    /// When it was entered, or returned where that is told.
    pub at: MonoNs,
    /// By whom.
    pub process: Upid,
    /// By which thread, as the agent's PID namespace sees it.
    pub thread: u32,
    /// What was in the registers of the arguments at the entry, of which the function may have fewer. A narrower one is in the lower bits.
    pub arguments: Arguments,
    /// How it returned, where that is told.
    pub returned: Option<Returned>,
}

/// How a call returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returned {
    /// From the entry on.
    pub duration: Duration,
    /// What was in the register of an integer result.
    pub value: u64,
}

/// What became of a probe's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeCounts {
    /// Calls told.
    pub told: u64,
    /// Calls lost since the ring was full.
    pub lost: u64,
    /// Returns whose entry was not seen: it was before the probe, or too many calls were under way.
    pub unmatched: u64,
}

/// The probes on functions of an agent. Dropping it removes all.
pub struct Probes {
    programs: Ebpf,
    ring: RingBuf<MapData>,
    entries: Array<MapData, [u64; 2]>,
    counts: Array<MapData, [u8; size_of::<ebpf_abi::ProbeCounts>()]>,
    /// A place for each probe that can be.
    slots: Vec<Option<Deployed>>,
    next: u64,
    asid: Asid,
}

struct Deployed {
    id: ProbeId,
    attachments: Vec<(Moment, UProbeLinkId)>,
}

/// Which of a slot's programs.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Enter,
    Leave,
}

impl Probes {
    /// Loads what probes need; probes nothing yet.
    ///
    /// # Errors
    /// Privileges, BTF or the kernel's probes are missing.
    pub fn start(asid: Asid) -> Result<Probes, Error> {
        Self::with_ring(asid, limit::PROBE_RING_BYTES)
    }

    /// As [`Probes::start`], with a ring of so many bytes: a power of two, at least a page.
    ///
    /// # Errors
    /// As [`Probes::start`].
    pub fn with_ring(asid: Asid, ring_bytes: u32) -> Result<Probes, Error> {
        if !std::path::Path::new(UPROBES_PATH).exists() {
            return Err(Error::NoUprobes { path: UPROBES_PATH });
        }
        let mut programs = load::load_function_probes(ring_bytes)?;
        Ok(Probes {
            ring: map(&mut programs, "RING")?,
            entries: map(&mut programs, "PROBES")?,
            counts: map(&mut programs, "PROBE_COUNTS")?,
            programs,
            slots: (0..limit::PROBES_MAX).map(|_| None).collect(),
            next: 1,
            asid,
        })
    }

    /// Probes a function. Reads the file's symbols, which takes up to tenths of a second for the largest.
    ///
    /// # Errors
    /// File, process or function are not there, cannot be probed, or there are too many probes; then nothing is probed.
    pub fn deploy(&mut self, spec: &ProbeSpec) -> Result<ProbeId, Error> {
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.ok_or(Error::TooManyProbes { limit: limit::PROBES_MAX })? as u32;
        let target = Target::open(&spec.binary)?;
        let places = symbol::find(&target, &spec.symbol)?;
        if places.is_go && spec.returns {
            return Err(Error::ReturnsOfGo { path: target.path, symbol: spec.symbol.clone() });
        }
        let scopes = scopes(&spec.probed)?;
        if places.offsets.len().saturating_mul(scopes.len()) > ATTACHMENTS_MAX {
            let (symbol, places, processes) = (spec.symbol.clone(), places.offsets.len(), scopes.len());
            return Err(Error::TooManyPlaces { symbol, places, processes, limit: ATTACHMENTS_MAX });
        }
        let id = ProbeId(self.next);
        self.next += 1;
        self.set_entry(slot, id.0, &places, spec.returns)?;
        let mut attachments = Vec::new();
        let attached = self.attach(slot, spec, &target, &places, &scopes, &mut attachments);
        if let Err(error) = attached {
            self.detach(slot, attachments);
            return Err(error);
        }
        self.slots[slot as usize] = Some(Deployed { id, attachments });
        Ok(id)
    }

    /// Removes a probe; whether it was there. What it told before may still be read.
    pub fn remove(&mut self, probe: ProbeId) -> bool {
        let Some(slot) = self.slot(probe) else { return false };
        if let Some(deployed) = self.slots[slot as usize].take() {
            self.detach(slot, deployed.attachments);
        }
        true
    }

    /// Hands over the calls that the ring has, without waiting. How many.
    pub fn poll(&mut self, events: &mut Vec<ProbeEvent>) -> usize {
        let before = events.len();
        while events.len() - before < READ_CALLS_MAX {
            let Some(record) = self.ring.next() else { break };
            events.extend(decode::read::<ProbeHit>(&record).map(|hit| event(self.asid, &hit)));
        }
        events.len() - before
    }

    /// What became of a probe's calls; `None` if it was removed.
    pub fn counts(&self, probe: ProbeId) -> Option<ProbeCounts> {
        let bytes = self.counts.get(&self.slot(probe)?, 0).ok()?;
        let counts: ebpf_abi::ProbeCounts = decode::read(&bytes)?;
        Some(ProbeCounts { told: counts.told, lost: counts.lost, unmatched: counts.unmatched })
    }

    /// The probes that are deployed, in no order.
    pub fn deployed(&self) -> impl Iterator<Item = ProbeId> + '_ {
        self.slots.iter().flatten().map(|deployed| deployed.id)
    }

    fn slot(&self, probe: ProbeId) -> Option<u32> {
        let at = self.slots.iter().position(|slot| slot.as_ref().is_some_and(|deployed| deployed.id == probe))?;
        Some(at as u32)
    }

    /// Tells the programs of a slot what they are for.
    fn set_entry(&mut self, slot: u32, probe: u64, places: &Places, returns: bool) -> Result<(), Error> {
        let flags = if returns { probe_flag::RETURNS } else { 0 } | if places.is_go { probe_flag::GO } else { 0 };
        let counts = [0; size_of::<ebpf_abi::ProbeCounts>()];
        self.counts.set(slot, counts, 0).map_err(|source| Error::Map { map: "PROBE_COUNTS", source })?;
        // As `ProbeEntry` lies in memory: the number, then the flags in the lower half of a word.
        self.entries.set(slot, [probe, u64::from(flags)], 0).map_err(|source| Error::Map { map: "PROBES", source })
    }

    fn attach(
        &mut self,
        slot: u32,
        spec: &ProbeSpec,
        target: &Target,
        places: &Places,
        scopes: &[UProbeScope],
        attachments: &mut Vec<(Moment, UProbeLinkId)>,
    ) -> Result<(), Error> {
        // Returns first: one whose entry was not seen is counted, an entry whose return is not seen would be kept.
        let moments: &[Moment] = if spec.returns { &[Moment::Leave, Moment::Enter] } else { &[Moment::Enter] };
        for moment in moments {
            let program = self.program(slot, *moment)?;
            for (scope, offset) in scopes.iter().flat_map(|scope| places.offsets.iter().map(move |offset| (scope, *offset))) {
                let link = program.attach(UProbeAttachLocation::AbsoluteOffset(offset), target.link(), *scope);
                let link = link.map_err(|source| match (scope, &source) {
                    (UProbeScope::OneProcess(pid), ProgramError::SyscallError(call))
                        if call.io_error.raw_os_error() == Some(libc::ESRCH) =>
                    {
                        Error::NoProcess { pid: pid.get() }
                    }
                    _ => {
                        let (path, symbol, source) = (target.path.clone(), spec.symbol.clone(), Box::new(source));
                        Error::Attach { path, symbol, offset, source }
                    }
                })?;
                attachments.push((*moment, link));
            }
        }
        Ok(())
    }

    fn detach(&mut self, slot: u32, attachments: Vec<(Moment, UProbeLinkId)>) {
        for (moment, link) in attachments {
            let detached = self.program(slot, moment).map(|program| program.detach(link));
            if let Ok(Err(error)) = detached {
                tracing::error!(%error, slot, ?moment, "a probe cannot be detached");
            }
        }
    }

    /// A slot's program, loaded at its first use.
    fn program(&mut self, slot: u32, moment: Moment) -> Result<&mut UProbe, Error> {
        let (prefix, name) = match moment {
            Moment::Enter => ("enter", "enter_*"),
            Moment::Leave => ("leave", "leave_*"),
        };
        let refused = |source: ProgramError| Error::Program { program: name, source };
        let program = self.programs.program_mut(&format!("{prefix}_{slot}")).ok_or(Error::Missing { name })?;
        let program: &mut UProbe = program.try_into().map_err(refused)?;
        if program.fd().is_err() {
            program.load().map_err(refused)?;
        }
        Ok(program)
    }
}

fn scopes(probed: &Probed) -> Result<Vec<UProbeScope>, Error> {
    match probed {
        Probed::AllProcesses => Ok(vec![UProbeScope::AllProcesses]),
        Probed::Processes(pids) => {
            let scope = |pid: &u32| NonZeroU32::new(*pid).map(UProbeScope::OneProcess).ok_or(Error::NoProcess { pid: *pid });
            pids.iter().map(scope).collect()
        }
    }
}

fn event(asid: Asid, hit: &ProbeHit) -> ProbeEvent {
    let returned = Returned { duration: Duration::from_nanos(hit.duration_ns), value: hit.result };
    ProbeEvent {
        probe: ProbeId(hit.probe),
        at: MonoNs(hit.time_ns),
        process: Upid::from_boot_ns(asid, hit.tgid, hit.start_boottime_ns),
        thread: hit.tid,
        arguments: hit.arguments,
        returned: (hit.returned != 0).then_some(returned),
    }
}
