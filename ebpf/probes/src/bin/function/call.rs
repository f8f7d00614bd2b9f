// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! A call of a probed function.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::map,
    maps::{Array, LruHashMap},
};
use ebpf_abi::{
    ProbeCounts, ProbeEntry, ProbeHit, limit,
    probe_flag::{GO, RETURNS},
};
use probes::{
    arch::Probed,
    kernel::{Kernel, Probe},
    process, ring,
};

/// What each slot is for; user space fills it in.
#[map]
static PROBES: Array<ProbeEntry> = Array::with_max_entries(limit::PROBES_MAX, 0);

/// What became of the calls of each slot.
#[map]
static PROBE_COUNTS: Array<ProbeCounts> = Array::with_max_entries(limit::PROBES_MAX, 0);

/// Calls that have not returned.
#[map]
static CALLS: LruHashMap<CallKey, Call> = LruHashMap::with_max_entries(limit::PROBE_CALLS_MAX, 0);

/// A call: of two by one thread, of which one is within the other, the stack differs.
#[derive(Clone, Copy)]
#[repr(C)]
struct CallKey {
    /// As `bpf_get_current_pid_tgid` names it.
    thread: u64,
    /// The stack pointer after the return.
    stack: u64,
    /// Number of the probe.
    probe: u64,
}

/// How a call began.
#[derive(Clone, Copy)]
#[repr(C)]
struct Call {
    entered_ns: u64,
    arguments: [u64; limit::PROBE_ARGUMENTS],
}

/// A probed function is entered: told at once, or kept until it returns.
///
/// # Safety
/// `context` is the program's.
#[inline(never)]
pub unsafe fn enter(context: *const u8, slot: u32) {
    // The agent uses the libraries that it may probe, also when it reads what they tell.
    if process::is_self() {
        return;
    }
    let Some(entry) = PROBES.get(slot) else { return };
    let (probe, flags) = (entry.probe, entry.flags);
    let context = Probed(context);
    let arguments = context.arguments(flags & GO != 0);
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if flags & RETURNS == 0 {
        // SAFETY: as promised.
        return unsafe { tell(slot, &ProbeHit { probe, time_ns: now, arguments, ..NOTHING }) };
    }
    // SAFETY: a helper without arguments.
    let key = CallKey { thread: unsafe { bpf_get_current_pid_tgid() }, stack: context.stack_at_entry(), probe };
    let _ = CALLS.insert(&key, &Call { entered_ns: now, arguments }, 0);
}

/// A probed function has returned.
///
/// # Safety
/// `context` is the program's.
#[inline(never)]
pub unsafe fn leave(context: *const u8, slot: u32) {
    if process::is_self() {
        return;
    }
    let Some(entry) = PROBES.get(slot) else { return };
    let context = Probed(context);
    // SAFETY: a helper without arguments.
    let key = CallKey { thread: unsafe { bpf_get_current_pid_tgid() }, stack: context.stack_at_return(), probe: entry.probe };
    // SAFETY: the value is copied out.
    let Some(call) = (unsafe { CALLS.get(&key) }).copied() else {
        if let Some(counts) = PROBE_COUNTS.get_ptr_mut(slot) {
            // SAFETY: a map's value.
            unsafe { ring::add_shared(&raw mut (*counts).unmatched, 1) };
        }
        return;
    };
    let _ = CALLS.remove(&key);
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let hit = ProbeHit {
        probe: entry.probe,
        time_ns: now,
        duration_ns: now.wrapping_sub(call.entered_ns),
        result: context.result(),
        arguments: call.arguments,
        returned: 1,
        ..NOTHING
    };
    // SAFETY: as promised.
    unsafe { tell(slot, &hit) };
}

const NOTHING: ProbeHit = ProbeHit {
    probe: 0,
    time_ns: 0,
    start_boottime_ns: 0,
    duration_ns: 0,
    result: 0,
    arguments: [0; limit::PROBE_ARGUMENTS],
    tgid: 0,
    tid: 0,
    returned: 0,
    reserved: 0,
};

/// Puts a call into the ring, with who made it, if the agent's PID namespace sees that.
#[inline(always)]
unsafe fn tell(slot: u32, hit: &ProbeHit) {
    // SAFETY: the current task; a map's value.
    unsafe {
        let task = Probe::task();
        let Some(tgid) = process::visible_tgid::<Probe>(task) else { return };
        let Some(tid) = process::visible_tid(task) else { return };
        let hit = ProbeHit { start_boottime_ns: process::start_boottime_ns::<Probe>(task), tgid, tid, ..*hit };
        let told = ring::put(&hit);
        let Some(counts) = PROBE_COUNTS.get_ptr_mut(slot) else { return };
        ring::add_shared(if told { &raw mut (*counts).told } else { &raw mut (*counts).lost }, 1);
    }
}
