// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Way B, from 5.10: the exit of system calls. The saved registers still hold the arguments, user memory what was moved.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use ebpf_abi::{Counter, limit};
use probes::{
    arch::{self, Registers, call},
    copy::{self, MESSAGE_BYTES, MESSAGE_LENGTH, Memory, Shape},
    file,
    kernel::{Kernel, Probe},
    offset, process, ring, socket,
    transfer::{MSG_OOB, MSG_TRUNC, Moved, NOT_CONSUMING, Slot, count_ignored, transfer},
};

/// A system call returns.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the tracepoint's arguments.
    unsafe { on_exit(Registers(ctx.arg(0)), ctx.arg::<u64>(1) as i64) };
    0
}

/// A call that may have moved bytes over a socket.
#[derive(Clone, Copy)]
struct Call {
    number: u64,
    /// What `splice` finds otherwise.
    sent: bool,
    /// Of a receiving or sending call that has them.
    flags: u64,
}

#[inline(always)]
unsafe fn on_exit(registers: Registers, result: i64) {
    if result <= 0 {
        return;
    }
    let number = registers.number::<Probe>();
    if number == call::IO_URING_ENTER {
        return ring::count(Counter::IoUring, 1);
    }
    let (sends, moves_bytes_if_compat) = (sends(number), call::moves_bytes_if_compat(number));
    if sends.is_none() && !moves_bytes_if_compat || process::is_self() {
        return;
    }
    // SAFETY: the current task.
    unsafe {
        let task = Probe::task();
        // Before anything is made of the number or the arguments, which mean something else there.
        if arch::is_compat::<Probe>(task, offset!(task_thread_status)) {
            if moves_bytes_if_compat {
                ring::count(Counter::Compat, 1);
            }
            return;
        }
        let Some(mut sent) = sends else { return };
        let call = Call { number, sent, flags: flags(registers, number) };
        if !sent && call.flags & NOT_CONSUMING != 0 {
            return;
        }
        let mut sk = file::sock_of(task, registers.argument::<Probe, 0>() as u32);
        if sk.is_null() && number == call::SPLICE {
            // From a pipe to a socket; the other way was looked at first.
            sk = file::sock_of(task, registers.argument::<Probe, 2>() as u32);
            sent = true;
        }
        if sk.is_null() {
            return;
        }
        let several = number == call::SENDMMSG || number == call::RECVMMSG;
        let bytes = if several { moved_by_messages(registers.argument::<Probe, 1>(), result as u32) } else { result as u32 };
        if bytes == 0 {
            return;
        }
        let (moved, known) = (Moved { sent, bytes }, socket::at(sk));
        if count_ignored::<Probe>(sk, known, moved) {
            return;
        }
        transfer::<Probe, true>(task, sk, known, Slot::Receive, moved, || place(registers, call, result as u32));
    }
}

/// Whether a call sends, or receives; `None` if it is none of those that move bytes. `splice` is looked at both ways.
#[inline(always)]
fn sends(number: u64) -> Option<bool> {
    match number {
        call::READ | call::READV | call::PREADV2 | call::SPLICE | call::RECVFROM | call::RECVMMSG | call::RECVMSG => Some(false),
        call::WRITE | call::WRITEV | call::PWRITEV2 | call::SENDFILE | call::SENDTO | call::SENDMMSG | call::SENDMSG => Some(true),
        _ => None,
    }
}

/// The call's flags, if it has them.
#[inline(always)]
fn flags(registers: Registers, number: u64) -> u64 {
    match number {
        call::RECVFROM | call::RECVMMSG | call::SENDTO | call::SENDMMSG => registers.argument::<Probe, 3>(),
        call::RECVMSG | call::SENDMSG => registers.argument::<Probe, 2>(),
        _ => 0,
    }
}

/// The call's result counts messages: their lengths are beside them. 0 if there are too many, or one cannot be
/// read: the place of the others is not known then.
#[inline(always)]
fn moved_by_messages(vector: u64, messages: u32) -> u32 {
    let mut bytes = 0u32;
    for index in 0..limit::MESSAGES_MAX {
        if index >= messages {
            return bytes;
        }
        let Some(length) = copy::read_user::<u32>(vector + index as u64 * MESSAGE_BYTES + MESSAGE_LENGTH) else { break };
        bytes = bytes.wrapping_add(length);
    }
    if messages == limit::MESSAGES_MAX {
        return bytes;
    }
    ring::count(Counter::MessagesUnplaced, messages as u64);
    0
}

/// Where the call has its bytes.
#[inline(always)]
fn place(registers: Registers, call: Call, result: u32) -> Memory {
    let (second, third) = (registers.argument::<Probe, 1>(), registers.argument::<Probe, 2>());
    let truncated = !call.sent && call.flags & MSG_TRUNC != 0;
    let memory = match call.number {
        _ if truncated => Memory::UNSEEN,
        call::READ | call::WRITE | call::SENDTO | call::RECVFROM => Memory::new(Shape::Buffer, second, 0),
        call::READV | call::WRITEV | call::PREADV2 | call::PWRITEV2 => Memory::new(Shape::Vector, second, third),
        call::SENDMSG | call::RECVMSG => copy::message(second),
        call::SENDMMSG | call::RECVMMSG => Memory::new(Shape::Messages, second, result as u64),
        _ => Memory::UNSEEN,
    };
    let urgent = call.sent && call.flags & MSG_OOB != 0;
    Memory { bytes_missing: urgent as u32, ..memory }
}
