// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The sockets: found, opened, closed, counted.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::generated::bpf_ktime_get_ns,
    macros::map,
    maps::{Array, LruHashMap},
};
use ebpf_abi::{
    Closed, Copied, Counter, Header, Kind, Opened, Socket, SocketId, VERDICT_BITS, VERDICT_IGNORE, VerdictEntry, flag, limit,
    socket_flag::{ANNOUNCED, CLIENT, DATAGRAMS, FRESH, IGNORED, IPV6, SERVER},
};

use crate::{
    kernel::{Kernel, Probe},
    offset,
    process::Identity,
    ring,
};

/// Sockets, by the address of their `struct sock`.
#[map]
static SOCKETS: LruHashMap<u64, Socket> = LruHashMap::with_max_entries(limit::SOCKETS_MAX, 0);

/// What user space decided, by the same address.
#[map]
static VERDICTS: LruHashMap<u64, VerdictEntry> = LruHashMap::with_max_entries(limit::VERDICTS_MAX, 0);

/// Counts the decisions of user space, from 1: as long as it stays, what was looked up in [`VERDICTS`] is so still.
#[map]
static VERDICT_EPOCH: Array<u32> = Array::with_max_entries(1, 0);

/// `AF_INET`
pub const INET: u16 = 2;
/// `AF_INET6`
pub const INET6: u16 = 10;
/// `IPPROTO_TCP`
pub const TCP: u16 = 6;
/// `IPPROTO_UDP`
pub const UDP: u16 = 17;

/// `SOCK_DONE` of `sock.sk_flags`: the peer's FIN has arrived.
const SOCK_DONE: u64 = 1 << 1;

/// TCP positions.
#[derive(Clone, Copy)]
pub struct Positions {
    /// Of the next byte to be sent.
    pub send: u32,
    /// Of the next byte to be read.
    pub receive: u32,
}

/// Where the next byte to be sent will stand.
///
/// # Safety
/// `tcp` is what [`Kernel::tcp`] gave.
#[inline(always)]
pub unsafe fn send_position<K: Kernel>(tcp: *const u8) -> u32 {
    // SAFETY: as promised.
    unsafe { K::read(tcp, offset!(tcp_write_seq)) }
}

/// Where the next byte to be read stands. A FIN takes a number too: a read that has met it is one further than the bytes.
///
/// # Safety
/// `tcp` is what [`Kernel::tcp`] gave.
#[inline(always)]
pub unsafe fn receive_position<K: Kernel>(tcp: *const u8) -> u32 {
    // SAFETY: as promised; a `tcp_sock` begins with its `sock`.
    unsafe {
        let copied: u32 = K::read(tcp, offset!(tcp_copied_seq));
        let flags: u64 = K::read(tcp, offset!(sock_flags));
        if flags & SOCK_DONE == 0 {
            return copied;
        }
        match K::read::<u32>(tcp, offset!(tcp_receive_next)) == copied {
            true => copied.wrapping_sub(1),
            false => copied,
        }
    }
}

/// What tells one use of a socket from the next: ports and four bytes of the remote address.
#[inline(always)]
unsafe fn tuple<K: Kernel>(sk: *const u8, family: u16) -> u64 {
    // SAFETY: fields of a socket of this family.
    unsafe {
        let ports: u32 = K::read(sk, offset!(sock_ports));
        let address: u32 = match family {
            INET6 => K::read(sk, offset!(sock_remote_v6) + 12),
            _ => K::read(sk, offset!(sock_remote_v4)),
        };
        (address as u64) << 32 | ports as u64
    }
}

/// The entry at the socket's address: for this use of it, or for an earlier one.
#[inline(always)]
pub fn at(sk: *const u8) -> Option<*mut Socket> {
    SOCKETS.get_ptr_mut(&(sk as u64))
}

/// Whether an entry is for this use of the socket.
///
/// # Safety
/// `sk` is a socket of `family`, `entry` a map's value.
#[inline(always)]
pub unsafe fn is_of<K: Kernel>(entry: *mut Socket, sk: *const u8, family: u16) -> bool {
    // SAFETY: as promised.
    unsafe { (*entry).tuple == tuple::<K>(sk, family) }
}

/// Whether an entry is for this use of the socket, and nothing is wanted of it. Two reads at most, and none of an entry that is wanted:
/// the family is the entry's. A socket of another kind at the same address has its ports and addresses in the same place.
///
/// # Safety
/// `sk` is a socket, `entry` a map's value.
#[inline(always)]
pub unsafe fn is_ignored<K: Kernel>(entry: *mut Socket, sk: *const u8) -> bool {
    // SAFETY: as promised.
    unsafe {
        let flags = (*entry).flags;
        flags & IGNORED != 0 && is_of::<K>(entry, sk, if flags & IPV6 != 0 { INET6 } else { INET })
    }
}

/// The entry that was made when the socket began to connect. Its local port was not known then: it is now.
///
/// # Safety
/// `sk` is a socket of `family`.
#[inline(always)]
pub unsafe fn connecting<K: Kernel>(sk: *const u8, family: u16) -> Option<*mut Socket> {
    let entry = SOCKETS.get_ptr_mut(&(sk as u64))?;
    // SAFETY: as promised; a map's value.
    unsafe {
        if (*entry).flags & !IPV6 != FRESH | CLIENT {
            return None;
        }
        (*entry).tuple = tuple::<K>(sk, family);
    }
    Some(entry)
}

/// Makes an entry for a socket. Of two that do so at once one wins, and both get its entry.
///
/// # Safety
/// `sk` is a socket of `family`.
#[inline(always)]
pub unsafe fn insert<K: Kernel>(
    sk: *const u8,
    family: u16,
    flags: u8,
    start: Positions,
    identity: Option<Identity>,
) -> Option<*mut Socket> {
    let key = sk as u64;
    // SAFETY: fields of a socket.
    let (tuple, net) = unsafe { (tuple::<K>(sk, family), Probe::read::<*const u8>(sk, offset!(sock_net))) };
    let known = SOCKETS.get_ptr_mut(&key);
    let policy = match known {
        // SAFETY: a map's value.
        Some(entry) if unsafe { (*entry).tuple } == tuple && flags & FRESH == 0 => return Some(entry),
        Some(_) => 0, // another connection's: replaced
        None => BPF_NOEXIST as u64,
    };
    let value = Socket {
        // SAFETY: a helper without arguments.
        opened_ns: unsafe { bpf_ktime_get_ns() },
        bytes_sent: 0,
        bytes_received: 0,
        start_boottime_ns: identity.map_or(0, |process| process.start_boottime_ns),
        tuple,
        tgid: identity.map_or(0, |process| process.tgid),
        // SAFETY: the socket's namespace.
        netns_inum: unsafe { Probe::read(net, offset!(net_inum)) },
        send_start: start.send,
        receive_start: start.receive,
        copied: Copied { sent: 0, received: 0 },
        flags: flags | if family == INET6 { IPV6 } else { 0 },
        reserved: [0; 3],
        decided: 0,
    };
    let _ = SOCKETS.insert(&key, &value, policy);
    let entry = SOCKETS.get_ptr_mut(&key);
    if entry.is_none() {
        ring::count(Counter::MapFull, 1);
    }
    entry
}

/// Tells that the socket was opened or first seen.
///
/// # Safety
/// `sk` is a socket of `family`, `entry` its entry.
#[inline(always)]
pub unsafe fn announce(sk: *const u8, family: u16, entry: *mut Socket) {
    // SAFETY: as promised; by helper, since it happens once.
    unsafe {
        (*entry).flags |= ANNOUNCED;
        let known = *entry;
        let mut opened = Opened {
            header: Header { kind: Kind::Opened as u16, flags: 0, tail_bytes: 0 },
            socket: id(sk, entry),
            start_boottime_ns: known.start_boottime_ns,
            tgid: known.tgid,
            send_position: known.send_start,
            receive_position: known.receive_start,
            local_port: Probe::read(sk, offset!(sock_local_port)),
            remote_port: u16::from_be(Probe::read(sk, offset!(sock_remote_port))),
            local_address: [0; 16],
            remote_address: [0; 16],
        };
        let mut flags = if known.flags & FRESH != 0 { flag::FRESH } else { 0 };
        if known.flags & CLIENT != 0 {
            flags |= flag::CLIENT;
        }
        if known.flags & SERVER != 0 {
            flags |= flag::SERVER;
        }
        if known.flags & DATAGRAMS != 0 {
            flags |= flag::DATAGRAMS;
        }
        if known.start_boottime_ns != 0 {
            flags |= flag::PROCESS;
        }
        if family == INET6 {
            flags |= flag::IPV6;
            opened.local_address = Probe::read(sk, offset!(sock_local_v6));
            opened.remote_address = Probe::read(sk, offset!(sock_remote_v6));
        } else {
            let (local, remote): ([u8; 4], [u8; 4]) = (Probe::read(sk, offset!(sock_local_v4)), Probe::read(sk, offset!(sock_remote_v4)));
            opened.local_address[..4].copy_from_slice(&local);
            opened.remote_address[..4].copy_from_slice(&remote);
        }
        opened.header.flags = flags;
        ring::output_value(&opened);
    }
}

/// The connection's name.
///
/// # Safety
/// `entry` is a map's value.
#[inline(always)]
pub unsafe fn id(sk: *const u8, entry: *const Socket) -> SocketId {
    // SAFETY: as promised.
    unsafe { SocketId { sock_address: sk as u64, opened_ns: (*entry).opened_ns, netns_inum: (*entry).netns_inum, reserved: 0 } }
}

/// Adds a call's result.
///
/// # Safety
/// `entry` is a map's value.
#[inline(always)]
pub unsafe fn add(entry: *mut Socket, sent: bool, bytes: u32) {
    // SAFETY: as promised; both fields are aligned.
    unsafe {
        let total = if sent { &raw mut (*entry).bytes_sent } else { &raw mut (*entry).bytes_received };
        ring::add_shared(total, bytes as u64);
    }
}

/// What was decided on this connection; 0 if nothing.
///
/// # Safety
/// `entry` is a map's value.
#[inline(always)]
pub unsafe fn verdict(sk: *const u8, entry: *mut Socket) -> u32 {
    // SAFETY: as promised; the verdict is copied out.
    unsafe {
        if (*entry).flags & IGNORED != 0 {
            return VERDICT_IGNORE;
        }
        // Read before the verdict: one that is decided meanwhile is looked up with the next call.
        let epoch = VERDICT_EPOCH.get_ptr(0).map_or(0, |epoch| epoch.read_volatile());
        let known = (&raw const (*entry).decided).read_volatile();
        if epoch != 0 && known >> VERDICT_BITS == epoch {
            return known & ((1 << VERDICT_BITS) - 1);
        }
        let decided = match VERDICTS.get(&(sk as u64)) {
            Some(decided) if decided.opened_ns == (*entry).opened_ns => decided.verdict,
            _ => 0,
        };
        if decided == VERDICT_IGNORE {
            (*entry).flags |= IGNORED;
        }
        (&raw mut (*entry).decided).write_volatile(epoch << VERDICT_BITS | decided);
        decided
    }
}

/// Tells the end of a connection and forgets it. `end` corrects the counts by TCP's own: what passed unseen (`splice`, `io_uring`)
/// is the difference, below 4 GiB at a time.
///
/// # Safety
/// `sk` is a socket.
#[inline(always)]
pub unsafe fn close(sk: *const u8, end: Positions) {
    let key = sk as u64;
    let Some(entry) = SOCKETS.get_ptr_mut(&key) else { return };
    // SAFETY: a map's value.
    let (known, socket) = unsafe { (*entry, id(sk, entry)) };
    let _ = SOCKETS.remove(&key);
    let _ = VERDICTS.remove(&key);
    if known.flags & ANNOUNCED == 0 {
        return;
    }
    ring::output_value(&Closed {
        header: Header { kind: Kind::Closed as u16, flags: if known.start_boottime_ns != 0 { flag::PROCESS } else { 0 }, tail_bytes: 0 },
        socket,
        // SAFETY: a helper without arguments.
        time_ns: unsafe { bpf_ktime_get_ns() },
        bytes_sent: corrected(known.bytes_sent, end.send.wrapping_sub(known.send_start)),
        bytes_received: corrected(known.bytes_received, end.receive.wrapping_sub(known.receive_start)),
        start_boottime_ns: known.start_boottime_ns,
        tgid: known.tgid,
        reserved: 0,
    });
}

/// The smallest total that is at least `counted` and has `low` as its lower half.
#[inline(always)]
fn corrected(counted: u64, low: u32) -> u64 {
    counted + low.wrapping_sub(counted as u32) as u64
}
