// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Programs started, processes ended.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::generated::{bpf_get_current_comm, bpf_ktime_get_ns, bpf_probe_read_user},
    macros::{map, raw_tracepoint},
    maps::{LruHashMap, PerCpuArray},
    programs::RawTracePointContext,
};
use ebpf_abi::{Exec, Exit, Header, Kind, limit};
use probes::{
    kernel::{Kernel, Probe},
    offset,
    process::{self, Identity},
    ring,
};

/// A process whose exit was told.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct ExitKey {
    /// `start_boottime` of its group leader.
    pub start_boottime_ns: u64,
    /// Thread group id in the root namespace.
    pub tgid: u32,
    /// Zero.
    pub reserved: u32,
}

/// A record and its command line.
#[repr(C)]
struct ExecScratch {
    /// The fixed part.
    pub exec: Exec,
    /// The command line.
    pub cmdline: [u8; limit::CMDLINE_BYTES],
}

/// Where a command line is put together.
#[map]
static EXEC_SCRATCH: PerCpuArray<ExecScratch> = PerCpuArray::with_max_entries(1, 0);

/// Exits that were told lately: of several threads that end at once each may find itself the last.
#[map]
static EXITS: LruHashMap<ExitKey, u32> = LruHashMap::with_max_entries(limit::EXITS_MAX, 0);

/// A process started a program.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(_ctx: RawTracePointContext) -> i32 {
    // SAFETY: the current task has just got its new memory.
    unsafe { on_exec() };
    0
}

/// A task ended.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(_ctx: RawTracePointContext) -> i32 {
    // SAFETY: the current task is the one that ends.
    unsafe { on_exit() };
    0
}

#[inline(always)]
unsafe fn on_exec() {
    // SAFETY: fields of the current task.
    unsafe {
        let task = Probe::task();
        let Some(tgid) = process::visible_tgid::<Probe>(task) else { return };
        let identity = Identity { tgid, start_boottime_ns: process::start_boottime_ns::<Probe>(task) };
        let Some(scratch) = EXEC_SCRATCH.get_ptr_mut(0) else { return };
        (*scratch).exec = Exec { process: process::describe(task, identity, Kind::Exec) };
        let mm: *const u8 = Probe::read(task, offset!(task_mm));
        let start: u64 = Probe::read(mm, offset!(mm_arguments_start));
        let end: u64 = Probe::read(mm, offset!(mm_arguments_end));
        let mut bytes = end.wrapping_sub(start);
        if bytes > limit::CMDLINE_BYTES as u64 {
            bytes = limit::CMDLINE_BYTES as u64;
        }
        let mut bytes = probes::copy::clamp::<{ limit::CMDLINE_BYTES as u32 }>(bytes as u32);
        if bpf_probe_read_user((&raw mut (*scratch).cmdline).cast(), bytes, start as *const _) != 0 {
            bytes = 0;
        }
        (*scratch).exec.process.header.tail_bytes = bytes;
        ring::output(scratch.cast(), size_of::<Exec>() as u32 + probes::copy::clamp::<{ limit::CMDLINE_BYTES as u32 }>(bytes));
    }
}

#[inline(always)]
unsafe fn on_exit() {
    // SAFETY: fields of the current task.
    unsafe {
        let task = Probe::task();
        let signal: *const u8 = Probe::read(task, offset!(task_signal));
        if Probe::read::<u32>(signal, offset!(signal_live)) != 0 {
            return;
        }
        let Some(tgid) = process::visible_tgid::<Probe>(task) else { return };
        let start_boottime_ns = process::start_boottime_ns::<Probe>(task);
        let key = ExitKey { start_boottime_ns, tgid: process::root_tgid(), reserved: 0 };
        if EXITS.insert(&key, &0, BPF_NOEXIST as u64).is_err() {
            return;
        }
        let group: u32 = Probe::read(signal, offset!(signal_group_exit_code));
        let mut exit = Exit {
            header: Header { kind: Kind::Exit as u16, flags: 0, tail_bytes: 0 },
            time_ns: bpf_ktime_get_ns(),
            start_boottime_ns,
            tgid,
            wait_status: if group != 0 { group } else { Probe::read(task, offset!(task_exit_code)) },
            comm: [0; limit::COMM_BYTES],
        };
        bpf_get_current_comm(exit.comm.as_mut_ptr().cast(), limit::COMM_BYTES as u32);
        ring::output_value(&exit);
    }
}
