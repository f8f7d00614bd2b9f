// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! One call that moved bytes over a socket: the body that both ways share.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use ebpf_abi::{
    Counter, Data, Header, Kind, VERDICT_IGNORE, VERDICT_TRACE, flag, limit,
    socket_flag::{ANNOUNCED, DATAGRAMS, SERVER},
};

use crate::{
    copy::{self, Memory, cursor_flag},
    kernel::{Kernel, Probe},
    message, offset,
    process::{self, Identity},
    ring,
    socket::{self, Positions},
};

/// `MSG_OOB`
pub const MSG_OOB: u64 = 1;
/// `MSG_PEEK`
pub const MSG_PEEK: u64 = 2;
/// `MSG_TRUNC`
pub const MSG_TRUNC: u64 = 0x20;
/// `MSG_ERRQUEUE`
pub const MSG_ERRQUEUE: u64 = 0x2000;
/// Receiving with these takes nothing off the stream.
pub const NOT_CONSUMING: u64 = MSG_PEEK | MSG_OOB | MSG_ERRQUEUE;

/// Which scratch a program uses.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Slot {
    /// Programs that see what was sent.
    Send = 0,
    /// Programs that see what was received, or both.
    Receive = 1,
}

/// Bytes that a call moved.
#[derive(Clone, Copy)]
pub struct Moved {
    /// By the traced side.
    pub sent: bool,
    /// How many; not 0.
    pub bytes: u32,
}

/// Counts what an ignored socket moved; whether it is one. Asked first: of most sockets nothing but their counts is wanted.
///
/// Who makes the call is not looked at. A socket is ignored only after a visible process has used it; should a process outside get hold of it,
/// its bytes are in the counts that the close tells anyway, since those are TCP's own.
///
/// # Safety
/// `sk` is the socket of the call, `known` what [`socket::at`] gave.
#[inline(always)]
pub unsafe fn count_ignored<K: Kernel>(sk: *const u8, known: Option<*mut ebpf_abi::Socket>, moved: Moved) -> bool {
    // SAFETY: as promised.
    unsafe {
        match known {
            Some(entry) if socket::is_ignored::<K>(entry, sk) => {
                socket::add(entry, moved.sent, moved.bytes);
                true
            }
            _ => false,
        }
    }
}

/// Counts, announces, copies. With `MESSAGES` the memory may be an array of messages that one call moved. `place` is asked only if bytes are wanted.
///
/// # Safety
/// `task` is the current task, `sk` the socket of the call, `known` what [`socket::at`] gave; it was asked whether it is ignored.
#[inline(always)]
pub unsafe fn transfer<K: Kernel, const MESSAGES: bool>(
    task: *const u8,
    sk: *const u8,
    known: Option<*mut ebpf_abi::Socket>,
    slot: Slot,
    moved: Moved,
    place: impl FnOnce() -> Memory,
) {
    // SAFETY: as promised.
    unsafe {
        let family: u16 = K::read(sk, offset!(sock_family));
        if family != socket::INET && family != socket::INET6 {
            return;
        }
        let protocol: u16 = K::read(sk, offset!(sock_protocol));
        if protocol != socket::TCP && protocol != socket::UDP {
            return;
        }
        let Some(tgid) = process::visible_tgid::<K>(task) else { return };
        let identity = Identity { tgid, start_boottime_ns: process::start_boottime_ns::<K>(task) };
        let tcp = K::tcp(sk);
        if protocol == socket::TCP && tcp.is_null() {
            return;
        }
        let entry = match known {
            Some(entry) if socket::is_of::<K>(entry, sk, family) => entry,
            _ => match first_seen::<K>(sk, tcp, family, protocol, moved) {
                Some(entry) => entry,
                None => return,
            },
        };
        socket::add(entry, moved.sent, moved.bytes);
        let verdict = socket::verdict(sk, entry);
        if verdict == VERDICT_IGNORE {
            return;
        }
        if (*entry).start_boottime_ns != identity.start_boottime_ns || (*entry).tgid != tgid {
            (*entry).start_boottime_ns = identity.start_boottime_ns;
            (*entry).tgid = tgid;
            process::tell_once(task, identity);
        }
        if (*entry).flags & ANNOUNCED == 0 {
            socket::announce(sk, family, entry);
        }
        if protocol == socket::UDP {
            return;
        }
        capture::<K, MESSAGES>(sk, tcp, entry, verdict, identity, slot, moved, place);
    }
}

/// Copies what the budget allows and tells of the rest.
///
/// # Safety
/// As [`transfer`]; `tcp` is the socket, `entry` what is remembered of it.
#[inline(always)]
unsafe fn capture<K: Kernel, const MESSAGES: bool>(
    sk: *const u8,
    tcp: *const u8,
    entry: *mut ebpf_abi::Socket,
    verdict: u32,
    identity: Identity,
    slot: Slot,
    moved: Moved,
    place: impl FnOnce() -> Memory,
) {
    // SAFETY: as promised.
    unsafe {
        if !K::read::<*const u8>(tcp, offset!(tcp_upper_protocol)).is_null() {
            ring::count(Counter::UpperProtocol, 1);
            return;
        }
        let Some(scratch) = copy::scratch(slot as u32) else { return };
        // Asked before the budget: it follows the messages of a call. Read again from there, so that the verifier forgets how it came about.
        (&raw mut (*scratch).memory).write_volatile(place());
        let bytes_missing = (&raw const (*scratch).memory.bytes_missing).read_volatile();
        let in_messages = (&raw const (*scratch).memory.in_messages).read_volatile() != 0;
        let budget = if verdict == VERDICT_TRACE { limit::CALL_BYTES_MAX } else { unknown_budget(entry, moved) };
        let end = if moved.sent { socket::send_position::<K>(tcp) } else { socket::receive_position::<K>(tcp) };
        (*scratch).data = Data {
            header: Header { kind: Kind::Data as u16, flags: if moved.sent { flag::SENT } else { 0 }, tail_bytes: 0 },
            socket: socket::id(sk, entry),
            time_ns: bpf_ktime_get_ns(),
            start_boottime_ns: identity.start_boottime_ns,
            tgid: identity.tgid,
            call_position: end.wrapping_sub(moved.bytes),
            call_bytes: moved.bytes,
            chunk_offset: 0,
        };
        let mut wanted = moved.bytes.wrapping_sub(bytes_missing);
        if wanted > budget {
            ring::count(Counter::BudgetCutBytes, (wanted - budget) as u64);
            wanted = budget;
        }
        let flags = if in_messages { cursor_flag::IN_MESSAGES } else { 0 }
            | if wanted < moved.bytes { cursor_flag::CUT } else { 0 }
            | if moved.sent { cursor_flag::SENT } else { 0 };
        let Some(counters) = ring::counters() else { return };
        copy::copy::<MESSAGES>(scratch, counters, wanted, flags);
        if MESSAGES {
            return;
        }
        let cursor = &raw const (*scratch).cursor;
        let flags = (&raw const (*cursor).flags).read_volatile();
        if flags & cursor_flag::IN_MESSAGES != 0 {
            if flags & cursor_flag::CUT != 0 {
                message::lose_track();
            } else if flags & cursor_flag::SENT != 0 && ((*cursor).segment_left > 0 || (*cursor).segments > 0) {
                message::end();
            }
        }
    }
}

/// How much of a call is copied while nobody has said what to do with its connection: a prefix of the stream. The reader is woken to say so.
///
/// # Safety
/// `entry` is what is remembered of the socket.
#[inline(always)]
unsafe fn unknown_budget(entry: *mut ebpf_abi::Socket, moved: Moved) -> u32 {
    // SAFETY: as promised.
    unsafe {
        let copied = if moved.sent { &raw mut (*entry).copied.sent } else { &raw mut (*entry).copied.received };
        let before = *copied;
        if before >= limit::UNKNOWN_BYTES_MAX {
            // Its length is told all the same: a hole of known place.
            return 0;
        }
        let after = before + if moved.bytes < limit::CALL_BYTES_MAX { moved.bytes } else { limit::CALL_BYTES_MAX };
        *copied = after;
        if before / limit::UNKNOWN_WAKE_BYTES != after / limit::UNKNOWN_WAKE_BYTES {
            ring::wake();
        }
        limit::CALL_BYTES_MAX
    }
}

/// A socket that is older than the agent, or was forgotten: it begins with this call.
#[inline(always)]
unsafe fn first_seen<K: Kernel>(sk: *const u8, tcp: *const u8, family: u16, protocol: u16, moved: Moved) -> Option<*mut ebpf_abi::Socket> {
    // SAFETY: as promised by the caller.
    unsafe {
        let (flags, start) = match protocol {
            socket::TCP => {
                let (sent, received) = if moved.sent { (moved.bytes, 0) } else { (0, moved.bytes) };
                let start = Positions {
                    send: socket::send_position::<K>(tcp).wrapping_sub(sent),
                    receive: socket::receive_position::<K>(tcp).wrapping_sub(received),
                };
                // A socket that was accepted has inherited its listener's backlog; one that connected has none. Why not sock_diag: docs/capture.md.
                let accepted = Probe::read::<u32>(sk, offset!(sock_backlog_max)) > 0;
                (if accepted { SERVER } else { 0 }, start)
            }
            _ => (DATAGRAMS, Positions { send: 0, receive: 0 }),
        };
        // The caller sets the process and tells of it.
        socket::insert::<K>(sk, family, flags, start, None)
    }
}
