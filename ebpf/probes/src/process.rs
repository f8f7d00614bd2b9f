// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Who makes the call, as the agent's PID namespace sees it.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::map,
    maps::LruHashMap,
};
use ebpf_abi::{Header, Kind, ProcessSeen, limit};

use crate::{
    kernel::{Kernel, Probe},
    offset, ring, setting,
};

/// When processes that were told of started, by thread group id in the root namespace.
#[map]
static PROCESSES: LruHashMap<u32, u64> = LruHashMap::with_max_entries(limit::PROCESSES_MAX, 0);

/// A process.
#[derive(Clone, Copy)]
pub struct Identity {
    /// As the agent's PID namespace sees it.
    pub tgid: u32,
    /// `start_boottime` of its group leader.
    pub start_boottime_ns: u64,
}

/// Whether the agent itself runs now.
#[inline(always)]
pub fn is_self() -> bool {
    root_tgid() == setting!(own_tgid)
}

/// Thread group id of the current task in the root namespace.
#[inline(always)]
pub fn root_tgid() -> u32 {
    // SAFETY: a helper without arguments.
    unsafe { (bpf_get_current_pid_tgid() >> 32) as u32 }
}

/// The current process' id in the agent's PID namespace, or `None` if it lies outside.
///
/// # Safety
/// `task` is the current task.
#[inline(always)]
pub unsafe fn visible_tgid<K: Kernel>(task: *const u8) -> Option<u32> {
    let level = setting!(pid_level);
    if level == 0 {
        return Some(root_tgid());
    }
    // SAFETY: fields of the current task.
    unsafe {
        let leader: *const u8 = K::read(task, offset!(task_group_leader));
        number_at(Probe::read(leader, offset!(task_thread_pid)), level)
    }
}

/// The current thread's id in the agent's PID namespace, or `None` if it lies outside.
///
/// # Safety
/// `task` is the current task.
#[inline(always)]
pub unsafe fn visible_tid(task: *const u8) -> Option<u32> {
    let level = setting!(pid_level);
    if level == 0 {
        // SAFETY: a helper without arguments.
        return Some(unsafe { bpf_get_current_pid_tgid() as u32 });
    }
    // SAFETY: fields of the current task.
    unsafe { number_at(Probe::read(task, offset!(task_thread_pid)), level) }
}

/// The number that the agent's namespace, at `level`, has for a `struct pid`.
///
/// # Safety
/// `pid` is one.
#[inline(always)]
unsafe fn number_at(pid: *const u8, level: u32) -> Option<u32> {
    // SAFETY: read by helper: they lie behind a flexible array.
    unsafe {
        if Probe::read::<u32>(pid, offset!(pid_level)) < level {
            return None;
        }
        let upid = pid.wrapping_add((offset!(pid_numbers) + level * offset!(upid_bytes)) as usize);
        let namespace: *const u8 = Probe::read(upid, offset!(upid_namespace));
        if Probe::read::<u32>(namespace, offset!(pid_namespace_inum)) != setting!(pid_namespace_inum) {
            return None;
        }
        Some(Probe::read::<u32>(upid, offset!(upid_number)))
    }
}

/// When the current process' group leader started.
///
/// # Safety
/// `task` is the current task.
#[inline(always)]
pub unsafe fn start_boottime_ns<K: Kernel>(task: *const u8) -> u64 {
    // SAFETY: fields of the current task.
    unsafe {
        let leader: *const u8 = K::read(task, offset!(task_group_leader));
        K::read(leader, offset!(task_start_boottime))
    }
}

/// Tells of the current process, unless it was told of before.
///
/// # Safety
/// `task` is the current task.
#[inline(always)]
pub unsafe fn tell_once(task: *const u8, identity: Identity) {
    let key = root_tgid();
    // SAFETY: the value is only compared.
    if let Some(known) = unsafe { PROCESSES.get(&key) } {
        if *known == identity.start_boottime_ns {
            return;
        }
    }
    let _ = PROCESSES.insert(&key, &identity.start_boottime_ns, 0);
    // SAFETY: as promised.
    ring::output_value(&unsafe { describe(task, identity, Kind::ProcessSeen) });
}

/// What is told of the current process.
///
/// # Safety
/// `task` is the current task.
#[inline(always)]
pub unsafe fn describe(task: *const u8, identity: Identity, kind: Kind) -> ProcessSeen {
    let mut seen = ProcessSeen {
        header: Header { kind: kind as u16, flags: 0, tail_bytes: 0 },
        // SAFETY: a helper without arguments.
        time_ns: unsafe { bpf_ktime_get_ns() },
        start_boottime_ns: identity.start_boottime_ns,
        // SAFETY: a helper without arguments.
        cgroup_id: unsafe { bpf_get_current_cgroup_id() },
        tgid: identity.tgid,
        pidns_inum: 0,
        netns_inum: 0,
        reserved: 0,
        comm: [0; limit::COMM_BYTES],
    };
    // SAFETY: fields of the current task, by helper: this is rare.
    unsafe {
        let leader: *const u8 = Probe::read(task, offset!(task_group_leader));
        let pid: *const u8 = Probe::read(leader, offset!(task_thread_pid));
        let level: u32 = Probe::read(pid, offset!(pid_level));
        let upid = pid.wrapping_add(offset!(pid_numbers) as usize + (level * offset!(upid_bytes)) as usize);
        let namespace: *const u8 = Probe::read(upid, offset!(upid_namespace));
        seen.pidns_inum = Probe::read(namespace, offset!(pid_namespace_inum));
        let proxy: *const u8 = Probe::read(task, offset!(task_nsproxy));
        let net: *const u8 = Probe::read(proxy, offset!(nsproxy_net));
        seen.netns_inum = Probe::read(net, offset!(net_inum));
        bpf_get_current_comm(seen.comm.as_mut_ptr().cast(), limit::COMM_BYTES as u32);
    }
    seen
}
