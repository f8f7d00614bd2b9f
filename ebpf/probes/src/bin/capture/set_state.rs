// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Opening and closing of TCP sockets, and their role.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use ebpf_abi::socket_flag::{CLIENT, FRESH, SERVER};
use probes::{
    kernel::{Kernel, Probe},
    offset,
    process::{self, Identity},
    setting,
    socket::{self, Positions},
};

const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
const SYN_RECV: i32 = 3;
const CLOSE: i32 = 7;
const CLOSE_WAIT: i32 = 8;

/// A TCP socket changed its state.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn set_state(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the tracepoint's arguments.
    unsafe { on_change(ctx.arg(0), ctx.arg(1), ctx.arg(2)) };
    0
}

#[inline(always)]
unsafe fn on_change(sk: *const u8, old: i32, new: i32) {
    // SAFETY: the tracepoint's socket.
    unsafe {
        let family: u16 = Probe::read(sk, offset!(sock_family));
        let protocol: u16 = Probe::read(sk, offset!(sock_protocol));
        if protocol != socket::TCP || (family != socket::INET && family != socket::INET6) {
            return;
        }
        match (old, new) {
            (CLOSE, SYN_SENT) => connecting(sk, family),
            (SYN_SENT, ESTABLISHED) => established(sk, family, CLIENT),
            (SYN_RECV, ESTABLISHED) => established(sk, family, SERVER),
            (_, CLOSE) => socket::close(sk, end(sk, old)),
            _ => {}
        }
    }
}

/// In the process that called `connect`: the only moment at which a client that fails or says nothing is known.
#[inline(always)]
unsafe fn connecting(sk: *const u8, family: u16) {
    if process::is_self() {
        return;
    }
    // SAFETY: the tracepoint's socket, the current task.
    unsafe {
        let task = Probe::task();
        let Some(tgid) = process::visible_tgid::<Probe>(task) else { return };
        let identity = Identity { tgid, start_boottime_ns: process::start_boottime_ns::<Probe>(task) };
        socket::insert::<Probe>(sk, family, FRESH | CLIENT, Positions { send: 0, receive: 0 }, Some(identity));
        process::tell_once(task, identity);
    }
}

/// In whatever task the last packet of the handshake found.
#[inline(always)]
unsafe fn established(sk: *const u8, family: u16, role: u8) {
    // SAFETY: the tracepoint's socket.
    unsafe {
        let start = Positions { send: socket::send_position::<Probe>(sk), receive: socket::receive_position::<Probe>(sk) };
        let known = if role == CLIENT { socket::connecting::<Probe>(sk, family) } else { None };
        let entry = match known {
            Some(entry) => {
                (*entry).send_start = start.send;
                (*entry).receive_start = start.receive;
                entry
            }
            // Whoever connected lies outside, or did before the agent was there.
            None if role == CLIENT && setting!(pid_level) != 0 => return,
            None => match socket::insert::<Probe>(sk, family, FRESH | role, start, None) {
                Some(entry) => entry,
                None => return,
            },
        };
        // Seen from a namespace below the root, a server's connection is told of when a visible process uses it.
        if setting!(pid_level) == 0 || role == CLIENT {
            socket::announce(sk, family, entry);
        }
    }
}

/// Behind the last bytes that were sent and read.
#[inline(always)]
unsafe fn end(sk: *const u8, old: i32) -> Positions {
    // A FIN of ours has a number, and so has the peer's.
    let fin_sent = !matches!(old, ESTABLISHED | SYN_SENT | SYN_RECV | CLOSE_WAIT | CLOSE);
    // SAFETY: the tracepoint's socket.
    unsafe {
        Positions { send: socket::send_position::<Probe>(sk).wrapping_sub(fin_sent as u32), receive: socket::receive_position::<Probe>(sk) }
    }
}
