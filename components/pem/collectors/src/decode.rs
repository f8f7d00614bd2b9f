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
plain!(
    Header,
    Opened,
    Data,
    Closed,
    ProcessSeen,
    Exec,
    Exit,
    ebpf_abi::Socket,
    ebpf_abi::Whoami,
    ebpf_abi::ProbeCounts,
    ebpf_abi::ProbeHit
);

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ASID: Asid = Asid(1);
    /// Kinds and the bytes of their fixed parts.
    const FIXED: [(Kind, usize); 6] = [
        (Kind::Opened, size_of::<Opened>()),
        (Kind::Data, size_of::<Data>()),
        (Kind::Closed, size_of::<Closed>()),
        (Kind::ProcessSeen, size_of::<ProcessSeen>()),
        (Kind::Exec, size_of::<Exec>()),
        (Kind::Exit, size_of::<Exit>()),
    ];

    /// A record of so many bytes, which count from 8 on.
    fn record(kind: u16, flags: u16, tail_bytes: u32, length: usize) -> Vec<u8> {
        let header = kind.to_le_bytes().into_iter().chain(flags.to_le_bytes()).chain(tail_bytes.to_le_bytes());
        header.chain((8..=u8::MAX).cycle()).take(length).collect()
    }

    #[test]
    fn a_record_of_each_kind_is_an_event_and_a_shorter_one_is_none() {
        for (kind, fixed) in FIXED {
            assert!(event(ASID, &record(kind as u16, 0, 0, fixed)).is_some(), "{kind:?}");
            for length in 0..fixed {
                assert_eq!(event(ASID, &record(kind as u16, 0, 0, length)), None, "{kind:?} of {length} bytes");
            }
        }
    }

    #[test]
    fn kinds_that_nobody_knows_are_none() {
        for kind in [0, 7, 0x0100, u16::MAX] {
            assert_eq!(event(ASID, &record(kind, 0, 0, 256)), None);
        }
    }

    #[test]
    fn a_length_beyond_the_record_is_none() {
        for (kind, fixed) in [(Kind::Data, size_of::<Data>()), (Kind::Exec, size_of::<Exec>())] {
            assert!(event(ASID, &record(kind as u16, 0, 5, fixed + 5)).is_some());
            for tail_bytes in [6, 4096, u32::MAX] {
                assert_eq!(event(ASID, &record(kind as u16, 0, tail_bytes, fixed + 5)), None, "{kind:?}");
            }
        }
    }

    #[test]
    fn what_lies_behind_the_payload_is_not_of_it() {
        let bytes = record(Kind::Data as u16, flag::SENT | flag::LAST, 3, size_of::<Data>() + 8);
        let Some(SourceEvent::Socket(Event::Transfer(transfer))) = event(ASID, &bytes) else { panic!("no transfer") };
        assert_eq!((transfer.bytes, transfer.direction, transfer.last), (&[64, 65, 66][..], Direction::Sent, true));
        let numbers = format!("{:x} {:x} {:x} {:x}", transfer.socket.address, transfer.call_position, transfer.call_bytes, transfer.offset);
        insta::assert_snapshot!(numbers, @"f0e0d0c0b0a0908 37363534 3b3a3938 3f3e3d3c");
    }

    #[test]
    fn addresses_and_roles_are_what_the_flags_say() {
        let opened = |flags: u16| {
            let bytes = record(Kind::Opened as u16, flags, 0, size_of::<Opened>());
            let Some(SourceEvent::Socket(Event::Opened(opened))) = event(ASID, &bytes) else { panic!("not opened") };
            let ends = opened.endpoints.unwrap();
            format!(
                "{} {} {:?} {:?} {} {:?}",
                ends.local,
                ends.remote,
                opened.transport,
                opened.role,
                opened.fresh,
                opened.process.is_some()
            )
        };
        let all = [
            0,
            flag::CLIENT,
            flag::SERVER,
            flag::CLIENT | flag::SERVER,
            flag::IPV6 | flag::FRESH,
            flag::DATAGRAMS | flag::PROCESS,
            u16::MAX,
        ];
        insta::assert_snapshot!(all.map(opened).join("\n"), @r"
        56.57.58.59:13620 72.73.74.75:14134 Tcp Unknown false false
        56.57.58.59:13620 72.73.74.75:14134 Tcp Client false false
        56.57.58.59:13620 72.73.74.75:14134 Tcp Server false false
        56.57.58.59:13620 72.73.74.75:14134 Tcp Client false false
        [3839:3a3b:3c3d:3e3f:4041:4243:4445:4647]:13620 [4849:4a4b:4c4d:4e4f:5051:5253:5455:5657]:14134 Tcp Unknown true false
        56.57.58.59:13620 72.73.74.75:14134 Udp Unknown false true
        [3839:3a3b:3c3d:3e3f:4041:4243:4445:4647]:13620 [4849:4a4b:4c4d:4e4f:5051:5253:5455:5657]:14134 Udp Client true true
        ");
    }

    #[test]
    fn a_name_without_an_end_is_none() {
        let mut bytes = record(Kind::ProcessSeen as u16, 0, 0, size_of::<ProcessSeen>());
        let name = |bytes: &[u8]| match event(ASID, bytes) {
            Some(SourceEvent::Process(ProcessEvent::Seen(process))) => process.comm.to_vec(),
            other => panic!("{other:?}"),
        };
        let at = std::mem::offset_of!(ProcessSeen, comm);
        assert_eq!(name(&bytes), b"");
        bytes[at..at + 3].copy_from_slice(b"sh\0");
        assert_eq!(name(&bytes), b"sh");
    }

    #[test]
    fn exits_tell_a_code_or_a_signal() {
        let told = |status: u32| {
            let mut bytes = record(Kind::Exit as u16, 0, 0, size_of::<Exit>());
            let at = std::mem::offset_of!(Exit, wait_status);
            bytes[at..at + 4].copy_from_slice(&status.to_le_bytes());
            match event(ASID, &bytes) {
                Some(SourceEvent::Process(ProcessEvent::Exit { code, signal, .. })) => (code, signal),
                other => panic!("{other:?}"),
            }
        };
        let told = [0, 0x0100, 9, 0x8b, u32::MAX].map(told);
        assert_eq!(told, [(Some(0), None), (Some(1), None), (None, Some(9)), (None, Some(11)), (None, Some(127))]);
    }

    proptest! {
        #[test]
        fn any_record_is_survived(kind in 0u16..9, flags: u16, tail_bytes: u32, rest in prop::collection::vec(any::<u8>(), 0..256)) {
            for tail_bytes in [tail_bytes, tail_bytes % 256] {
                let mut bytes = record(kind, flags, tail_bytes, 8);
                bytes.extend(&rest);
                let _ = event(ASID, &bytes);
                let _ = event(ASID, &rest);
            }
        }
    }
}
