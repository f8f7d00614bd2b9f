// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Run once by the agent itself: who it is in the root namespace, and which PID namespace it is in.
#![no_std]
#![no_main]

use aya_ebpf::{
    macros::{map, raw_tracepoint},
    maps::Array,
    programs::RawTracePointContext,
};
use ebpf_abi::Whoami;
use probes::{
    kernel::{Kernel, Probe},
    offset, process,
};

#[map]
static WHOAMI: Array<Whoami> = Array::with_max_entries(1, 0);

/// Writes the answer. Never attached: user space runs it by `BPF_PROG_TEST_RUN`.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn whoami(_ctx: RawTracePointContext) -> i32 {
    let Some(answer) = WHOAMI.get_ptr_mut(0) else { return 1 };
    // SAFETY: fields of the current task.
    unsafe {
        let leader: *const u8 = Probe::read(Probe::task(), offset!(task_group_leader));
        let pid: *const u8 = Probe::read(leader, offset!(task_thread_pid));
        let level: u32 = Probe::read(pid, offset!(pid_level));
        let upid = pid.wrapping_add(offset!(pid_numbers) as usize + (level * offset!(upid_bytes)) as usize);
        let namespace: *const u8 = Probe::read(upid, offset!(upid_namespace));
        *answer = Whoami {
            tgid: process::root_tgid(),
            pid_level: level,
            pid_namespace_inum: Probe::read(namespace, offset!(pid_namespace_inum)),
            written: 1,
        };
    }
    0
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"GPL\0";
