//! Records of the ring as events.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use conntrack::{Counters, Event, Transfer};
use ebpf_abi::{Closed, Data, Exec, Exit, Header, Kind, Opened, ProcessSeen, flag};
use ids::{Asid, Direction, Endpoints, MonoNs, Role, SocketId, Transport, Upid};

use crate::event::{Process, ProcessEvent, SourceEvent};

/// Structures of the ABI: integers alone, so that any bytes are one.
///
/// # Safety
/// No padding is read, and every bit pattern is valid.
#[allow(unsafe_code, reason = "the marker of types that can be read from bytes")]
pub(crate) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($name:ty),*) => { $(
        #[allow(unsafe_code, reason = "integers alone")]
        // SAFETY: repr(C), integers and arrays of them.
        unsafe impl Plain for $name {}
    )* };
}
plain!(Header, Opened, Data, Closed, ProcessSeen, Exec, Exit, ebpf_abi::Socket, ebpf_abi::Whoami);

/// The value that `bytes` begin with.
pub(crate) fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    #[allow(unsafe_code, reason = "a structure read from bytes of any alignment")]
    // SAFETY: there are enough bytes, and T takes any.
    (bytes.len() >= size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The event that a record tells; `None` if it is none that this version knows.
pub(crate) fn event(asid: Asid, record: &[u8]) -> Option<SourceEvent<'_>> {
    let header: Header = read(record)?;
    let tail = |fixed: usize| record.get(fixed..fixed.checked_add(header.tail_bytes as usize)?);
    Some(match Kind::from_number(header.kind)? {
        Kind::Opened => SourceEvent::Socket(Event::Opened(opened(asid, &read(record)?))),
        Kind::Data => SourceEvent::Socket(Event::Transfer(transfer(asid, &read(record)?, tail(size_of::<Data>())?))),
        Kind::Closed => SourceEvent::Socket(closed(asid, &read(record)?)),
        Kind::ProcessSeen => SourceEvent::Process(ProcessEvent::Seen(process(asid, record)?)),
        Kind::Exec => SourceEvent::Process(ProcessEvent::Exec { process: process(asid, record)?, command_line: tail(size_of::<Exec>())? }),
        Kind::Exit => SourceEvent::Process(exit(asid, record)?),
    })
}

fn socket(id: ebpf_abi::SocketId) -> SocketId {
    SocketId { address: id.sock_address, opened: MonoNs(id.opened_ns), netns: id.netns_inum }
}

fn opened(asid: Asid, record: &Opened) -> conntrack::Opened {
    let has = |bit: u16| record.header.flags & bit != 0;
    let address = |bytes: [u8; 16], port: u16| SocketAddr::new(ip(bytes, has(flag::IPV6)), port);
    conntrack::Opened {
        socket: socket(record.socket),
        endpoints: Some(Endpoints {
            local: address(record.local_address, record.local_port),
            remote: address(record.remote_address, record.remote_port),
        }),
        transport: if has(flag::DATAGRAMS) { Transport::Udp } else { Transport::Tcp },
        role: match (has(flag::CLIENT), has(flag::SERVER)) {
            (true, _) => Role::Client,
            (false, true) => Role::Server,
            (false, false) => Role::Unknown,
        },
        fresh: has(flag::FRESH),
        send_position: record.send_position,
        receive_position: record.receive_position,
        process: has(flag::PROCESS).then(|| Upid::from_boot_ns(asid, record.tgid, record.start_boottime_ns)),
    }
}

/// An IPv4 connection of an IPv6 socket is an IPv4 connection.
fn ip(bytes: [u8; 16], is_v6: bool) -> IpAddr {
    let [a, b, c, d, ..] = bytes;
    if is_v6 { Ipv6Addr::from(bytes).to_canonical() } else { IpAddr::V4(Ipv4Addr::new(a, b, c, d)) }
}

fn transfer<'a>(asid: Asid, record: &Data, bytes: &'a [u8]) -> Transfer<'a> {
    let has = |bit: u16| record.header.flags & bit != 0;
    Transfer {
        socket: socket(record.socket),
        process: Upid::from_boot_ns(asid, record.tgid, record.start_boottime_ns),
        direction: if has(flag::SENT) { Direction::Sent } else { Direction::Received },
        at: MonoNs(record.time_ns),
        call_position: record.call_position,
        call_bytes: record.call_bytes,
        offset: record.chunk_offset,
        bytes,
        last: has(flag::LAST),
    }
}

fn closed(asid: Asid, record: &Closed) -> Event<'static> {
    let known = record.header.flags & flag::PROCESS != 0;
    Event::Closed {
        socket: socket(record.socket),
        at: MonoNs(record.time_ns),
        counters: Counters { bytes_sent: record.bytes_sent, bytes_received: record.bytes_received },
        process: known.then(|| Upid::from_boot_ns(asid, record.tgid, record.start_boottime_ns)),
    }
}

fn process(asid: Asid, bytes: &[u8]) -> Option<Process<'_>> {
    let record: ProcessSeen = read(bytes)?;
    Some(Process {
        upid: Upid::from_boot_ns(asid, record.tgid, record.start_boottime_ns),
        at: MonoNs(record.time_ns),
        comm: comm(bytes.get(std::mem::offset_of!(ProcessSeen, comm)..)?),
        cgroup_id: record.cgroup_id,
        pid_namespace: record.pidns_inum,
        network_namespace: record.netns_inum,
    })
}

fn exit(asid: Asid, bytes: &[u8]) -> Option<ProcessEvent<'_>> {
    let record: Exit = read(bytes)?;
    let signal = (record.wait_status & 0x7f) as u8;
    Some(ProcessEvent::Exit {
        process: Upid::from_boot_ns(asid, record.tgid, record.start_boottime_ns),
        at: MonoNs(record.time_ns),
        comm: comm(bytes.get(std::mem::offset_of!(Exit, comm)..)?),
        code: (signal == 0).then_some((record.wait_status >> 8) as u8),
        signal: (signal != 0).then_some(signal),
    })
}

/// Up to the closing zero.
fn comm(bytes: &[u8]) -> &[u8] {
    bytes.iter().take(ebpf_abi::limit::COMM_BYTES).position(|byte| *byte == 0).map_or(&[], |end| &bytes[..end])
}
