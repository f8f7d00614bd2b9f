// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Way A, from 6.3: the socket layer's own tracepoints, which fire once for each message however it is moved.

use aya_ebpf::{bindings::task_struct, helpers::generated::bpf_task_pt_regs, macros::btf_tracepoint, programs::BtfTracePointContext};
use ebpf_abi::{Counter, Offsets, limit};
use probes::{
    arch::{self, Registers, call},
    copy::{self, Memory, Shape},
    file,
    kernel::{Direct, Kernel},
    message, offset, process, ring, socket,
    transfer::{MSG_OOB, MSG_TRUNC, Moved, NOT_CONSUMING, Slot, count_ignored, transfer},
};

/// `PF_IO_WORKER` and `PF_KTHREAD`: their registers belong to no call.
const PF_IO_WORKER: u32 = 0x10;
const PF_KTHREAD: u32 = 0x0020_0000;

/// A message was sent.
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's arguments.
    unsafe { on_message(ctx.arg(0), ctx.arg(1), true, 0) };
    0
}

/// A message was received.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_receive(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's arguments.
    unsafe { on_message(ctx.arg(0), ctx.arg(1), false, ctx.arg::<i32>(2) as u64) };
    0
}

#[inline(always)]
unsafe fn on_message(sk: *const u8, result: i32, sent: bool, flags: u64) {
    if process::is_self() || flags & NOT_CONSUMING != 0 {
        return;
    }
    // SAFETY: the tracepoint's socket; the current task and its registers.
    unsafe {
        if result <= 0 {
            return on_nothing(sk, result);
        }
        let (moved, known) = (Moved { sent, bytes: result as u32 }, socket::at(sk));
        if count_ignored::<Direct>(sk, known, moved) {
            return;
        }
        // A socket without a file is the kernel's own: the call under way, if any, is about something else.
        let socket: *const u8 = Direct::read(sk, offset!(sock_socket));
        if socket.is_null() || Direct::read::<*const u8>(socket, offset!(socket_file)).is_null() {
            return;
        }
        let task = Direct::task();
        let slot = if sent { Slot::Send } else { Slot::Receive };
        transfer::<Direct, false>(task, sk, known, slot, moved, || place(task, sk, moved, flags));
    }
}

#[inline(always)]
unsafe fn registers(task: *const u8) -> Registers {
    // SAFETY: the current task.
    Registers(unsafe { bpf_task_pt_regs(task as *mut task_struct) as *const u8 })
}

/// A message that did not get through ends its `sendmmsg` or `recvmmsg`; one of no bytes is passed over.
#[inline(always)]
unsafe fn on_nothing(sk: *const u8, result: i32) {
    // SAFETY: the current task's registers.
    unsafe {
        let registers = registers(Direct::task());
        let number = registers.number::<Direct>();
        if number != call::SENDMMSG && number != call::RECVMMSG {
            return;
        }
        if result == 0 && number == call::SENDMMSG {
            let _ = message::next(messages(registers, number, sk), 0);
        } else {
            message::end();
        }
    }
}

#[inline(always)]
fn messages(registers: Registers, number: u64, sk: *const u8) -> message::Call {
    let messages = registers.argument::<Direct, 2>() as u32;
    message::Call {
        number: number as u32,
        vector: registers.argument::<Direct, 1>(),
        // The kernel does no more of those that are sent; of those that are received it does all.
        messages: if number == call::SENDMMSG && messages > limit::MESSAGES_MAX { limit::MESSAGES_MAX } else { messages },
        sock_address: sk as u64,
    }
}

/// Where the call under way keeps the bytes.
#[inline(always)]
unsafe fn place(task: *const u8, sk: *const u8, moved: Moved, flags: u64) -> Memory {
    // SAFETY: the current task and its registers.
    unsafe {
        let registers = registers(task);
        if !is_call_about(task, registers, sk) {
            return Memory::UNSEEN;
        }
        let number = registers.number::<Direct>();
        let (second, third) = (registers.argument::<Direct, 1>(), registers.argument::<Direct, 2>());
        let several = (moved.sent && number == call::SENDMMSG) || (!moved.sent && number == call::RECVMMSG);
        if several && flags & MSG_TRUNC == 0 {
            // With a timeout, nothing tells the last message of one call from the first of the next.
            if number == call::RECVMMSG && registers.argument::<Direct, 4>() != 0 {
                ring::count(Counter::MessagesUnplaced, 1);
                return Memory::UNSEEN;
            }
            let message = message::next(messages(registers, number, sk), moved.bytes);
            let memory = message.map_or(Memory::UNSEEN, copy::message);
            return Memory { in_messages: 1, ..memory };
        }
        let memory = match (moved.sent, number) {
            (true, call::WRITE | call::SENDTO) | (false, call::READ) => Memory::new(Shape::Buffer, second, 0),
            (false, call::RECVFROM) if flags & MSG_TRUNC == 0 => Memory::new(Shape::Buffer, second, 0),
            (true, call::WRITEV | call::PWRITEV2) | (false, call::READV | call::PREADV2) => Memory::new(Shape::Vector, second, third),
            (true, call::SENDMSG) => copy::message(second),
            (false, call::RECVMSG) if flags & MSG_TRUNC == 0 => copy::message(second),
            _ => Memory::UNSEEN,
        };
        let send_flags = match number {
            call::SENDTO => registers.argument::<Direct, 3>(),
            call::SENDMSG => third,
            _ => 0,
        };
        let urgent = moved.sent && send_flags & MSG_OOB != 0;
        Memory { bytes_missing: urgent as u32, ..memory }
    }
}

/// Whether the registers describe the call that moved the bytes: not for the kernel's threads, nor for what `io_uring` does by workers
/// or on a task's way back to user space, nor for 32-bit programs.
#[inline(always)]
unsafe fn is_call_about(task: *const u8, registers: Registers, sk: *const u8) -> bool {
    // SAFETY: the current task and its registers.
    unsafe {
        let task_flags: u32 = Direct::read(task, offset!(task_flags));
        if task_flags & PF_KTHREAD != 0 {
            return false;
        }
        if arch::is_compat::<Direct>(task, offset!(task_thread_status)) {
            ring::count(Counter::Compat, 1);
            return false;
        }
        if offset!(task_io_uring) == Offsets::ABSENT {
            return true;
        }
        let uses_ring = !Direct::read::<*const u8>(task, offset!(task_io_uring)).is_null();
        if task_flags & PF_IO_WORKER == 0 && !uses_ring {
            return true;
        }
        let own = task_flags & PF_IO_WORKER == 0
            && registers.number::<Direct>() != call::IO_URING_ENTER
            && registers.under_way::<Direct>()
            && file::sock_of(task, registers.argument::<Direct, 0>() as u32) == sk;
        if !own {
            ring::count(Counter::IoUring, 1);
        }
        own
    }
}
