//! Kinds of traffic. Each runs in a child, with both ends of its connections, and says what it does.

mod decided;
mod moved;
mod processes;
mod several;
mod unseen;

use std::{
    io::Read as _,
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    thread,
};

use ebpf_abi::limit;

use crate::{
    expect::Expected,
    sys::{
        Pair, connect, done, message, ok, pattern, preadv2, pwritev2, read, readv, ready, recvfrom, recvmsg, say_moved, say_of,
        say_received, say_received_untold, say_sent, segments, sendmsg, sendto, write, writev,
    },
};

/// Exits as they were seen: process, status, signal.
pub type Exits = Vec<(u32, Option<u8>, Option<u8>)>;

/// A kind of traffic.
pub struct Case {
    pub name: &'static str,
    /// What the child does.
    pub run: fn(),
    /// Connections with the same two ports, one after the other: whether the opening of each is seen.
    pub openings: &'static [bool],
    /// Sockets that the programs remember, if not as many as they do by default.
    pub sockets_max: Option<u32>,
    /// What else must hold.
    pub judge: fn(&Exits, &Expected) -> Result<(), String>,
}

const fn case(name: &'static str, run: fn()) -> Case {
    Case { name, run, openings: &[true], sockets_max: None, judge: |_, _| Ok(()) }
}

const IPV4: &str = "127.0.0.1:0";

/// All of them.
pub const ALL: &[Case] = &[
    case("write_read", write_read),
    case("sendto_recvfrom", || exchange(IPV4, |socket, bytes| sendto(socket, bytes, 0), |socket, bytes| recvfrom(socket, bytes, 0))),
    case("ipv6", || exchange("[::1]:0", write, read)),
    case("ipv4_mapped", || exchange("[::]:0", write, read)),
    case("vectors_of_64", vectors),
    case("messages_of_64", messages_of_64),
    case("several_messages", several::several_messages),
    case("messages_one_after_the_other", several::one_after_the_other),
    case("messages_fail_part_way", several::fail_part_way),
    case("messages_without_end", several::without_end),
    case("positional_vectors", positional_vectors),
    case("peek", peek),
    case("urgent", urgent),
    case("partial_write", partial_write),
    case("more_than_a_call_copies", more_than_a_call_copies),
    case("more_than_inference_needs", more_than_inference_needs),
    case("sendfile", moved::sendfile),
    case("splice", moved::splice),
    case("truncated", unseen::truncated),
    case("io_uring", unseen::io_uring),
    case("kernel_tls", unseen::kernel_tls),
    case("compat", unseen::compat),
    case("last_read_meets_fin", last_read_meets_fin),
    case("duplicated", processes::duplicated),
    case("inherited", processes::inherited),
    case("passed", processes::passed),
    Case { judge: processes::killed_is_told, ..case("killed", processes::killed) },
    case("page_gone", moved::page_gone),
    Case { openings: &[true, true], ..case("same_ports_again", same_ports_again) },
    Case { openings: &[false], ..case("older_than_the_agent", decided::older) },
    Case { openings: &[false], ..case("older_and_accepted_without_a_backlog", decided::older_without_backlog) },
    Case { openings: &[true, false], sockets_max: Some(decided::SOCKETS_MAX), ..case("forgotten", decided::forgotten) },
    case("ignored", decided::ignored),
    case("ignored_and_used_again", decided::ignored_and_used_again),
    case("traced", decided::traced),
    case("files_and_pipes", moved::files_and_pipes),
    case("datagrams", datagrams),
    case("nested_pid_namespace", processes::nested),
];

fn exchange(address: &str, send: fn(&TcpStream, &[u8]) -> usize, receive: fn(&TcpStream, &mut [u8]) -> usize) {
    ready();
    let pair = connect(address);
    say_of("role", &pair.client, "Client");
    say_of("role", &pair.server, "Server");
    ping_pong(&pair, send, receive);
    done();
}

fn ping_pong(pair: &Pair, send: fn(&TcpStream, &[u8]) -> usize, receive: fn(&TcpStream, &mut [u8]) -> usize) {
    for (seed, size) in [1usize, 78, 255, 4095, 4096, 4097, 20_000].into_iter().enumerate() {
        let (from, to) = if seed % 2 == 0 { (&pair.client, &pair.server) } else { (&pair.server, &pair.client) };
        let bytes = pattern(size, seed as u32);
        assert_eq!(send(from, &bytes), size);
        let mut got = vec![0; size];
        let mut filled = 0;
        while filled < size {
            filled += receive(to, &mut got[filled..]);
        }
        assert_eq!(got, bytes);
        say_moved(from, to, &bytes);
    }
}

fn write_read() {
    exchange(IPV4, write, read);
}

/// Sixty-three short segments, an empty one among them, and the rest.
fn sizes() -> Vec<usize> {
    (0..63).map(|index| if index == 7 { 0 } else { index + 1 }).collect()
}

fn vectors() {
    ready();
    let pair = connect(IPV4);
    let bytes = pattern(9000, 1);
    assert_eq!(writev(&pair.client, &segments(&bytes, &sizes())), bytes.len());
    let got = vec![0; bytes.len()];
    assert_eq!(readv(&pair.server, &segments(&got, &sizes())), bytes.len());
    say_moved(&pair.client, &pair.server, &bytes);
    done();
}

/// With an offset of -1, as programs do that choose flags: `preadv2` and `pwritev2` on a socket.
fn positional_vectors() {
    ready();
    let pair = connect(IPV4);
    let bytes = pattern(700, 35);
    assert_eq!(pwritev2(&pair.client, &segments(&bytes, &[1, 0, 400])), bytes.len());
    let got = vec![0; bytes.len()];
    assert_eq!(preadv2(&pair.server, &segments(&got, &[300, 7])), bytes.len());
    say_moved(&pair.client, &pair.server, &bytes);
    done();
}

fn messages_of_64() {
    ready();
    let pair = connect(IPV4);
    let bytes = pattern(9000, 2);
    assert_eq!(sendmsg(&pair.client, &message(&segments(&bytes, &sizes())), 0), bytes.len());
    let got = vec![0; bytes.len()];
    let vector = segments(&got, &sizes());
    assert_eq!(recvmsg(&pair.server, &mut message(&vector), 0), bytes.len());
    say_moved(&pair.client, &pair.server, &bytes);
    done();
}

fn peek() {
    ready();
    let pair = connect(IPV4);
    let bytes = pattern(500, 3);
    write(&pair.client, &bytes);
    let mut got = vec![0; 500];
    assert_eq!(recvfrom(&pair.server, &mut got[..100], libc::MSG_PEEK), 100);
    let vector = segments(&got, &[50]);
    assert_eq!(recvmsg(&pair.server, &mut message(&vector), libc::MSG_PEEK), 500);
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), 500);
    say_moved(&pair.client, &pair.server, &bytes);
    done();
}

/// A byte of urgent data has a place in the stream, and is not in it.
fn urgent() {
    ready();
    let pair = connect(IPV4);
    let (before, behind) = (pattern(50, 4), pattern(60, 5));
    write(&pair.client, &before);
    sendto(&pair.client, b"!", libc::MSG_OOB);
    write(&pair.client, &behind);
    let mut got = vec![0; 60];
    assert_eq!(recvfrom(&pair.server, &mut got[..50], libc::MSG_WAITALL), 50);
    assert_eq!(recvfrom(&pair.server, &mut got[..1], libc::MSG_OOB), 1);
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), 60);
    say_sent(&pair.client, Ok(&before));
    say_sent(&pair.client, Err(1));
    say_sent(&pair.client, Ok(&behind));
    say_received(&pair.server, Ok(&before));
    say_received_untold(&pair.server, 1);
    say_received(&pair.server, Ok(&behind));
    done();
}

fn set_buffer(socket: &TcpStream, option: i32, bytes: i32) {
    // SAFETY: the value is an int.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const bytes).cast(), 4) };
    ok(result as isize);
}

fn partial_write() {
    ready();
    let pair = connect(IPV4);
    set_buffer(&pair.client, libc::SO_SNDBUF, 4096);
    pair.client.set_nonblocking(true).expect("nonblocking");
    let bytes = pattern(16 << 20, 6);
    let sent = writev(&pair.client, &segments(&bytes, &[1000, 2000]));
    assert!(sent < bytes.len());
    say_sent(&pair.client, Ok(&bytes[..sent.min(30 * 1024)]));
    if sent > 30 * 1024 {
        say_sent(&pair.client, Err(sent - 30 * 1024));
    }
    done();
}

fn more_than_a_call_copies() {
    ready();
    let pair = connect(IPV4);
    let bytes = pattern(40_000, 7);
    let (client, server) = (pair.client.try_clone().expect("dup"), &pair.server);
    let sent = bytes.clone();
    let sender = thread::spawn(move || write(&client, &sent));
    let mut got = vec![0; bytes.len()];
    let received = recvfrom(server, &mut got, libc::MSG_WAITALL);
    assert_eq!((sender.join().expect("sender"), received), (bytes.len(), bytes.len()));
    let seen = 30 * 1024;
    say_sent(&pair.client, Ok(&bytes[..seen]));
    say_sent(&pair.client, Err(bytes.len() - seen));
    say_received(&pair.server, Ok(&bytes[..seen]));
    say_received(&pair.server, Err(bytes.len() - seen));
    done();
}

/// Nobody gives a verdict: a prefix is copied, full calls, and no more.
fn more_than_inference_needs() {
    ready();
    let pair = connect(IPV4);
    let copied = limit::UNKNOWN_BYTES_MAX / 8192;
    for round in 0..copied + 4 {
        let bytes = pattern(8192, 100 + round);
        let mut got = vec![0; bytes.len()];
        assert_eq!(write(&pair.client, &bytes), bytes.len());
        assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), bytes.len());
        let seen = if round < copied { Ok(bytes.as_slice()) } else { Err(bytes.len()) };
        say_sent(&pair.client, seen);
        say_received(&pair.server, seen);
    }
    done();
}

/// Closes both ends, and says that it did.
fn close(pair: Pair) {
    for socket in [&pair.client, &pair.server] {
        println!("closed {} {}", socket.local_addr().expect("address").port(), socket.peer_addr().expect("address").port());
    }
    drop(pair.client);
    let mut rest = [0; 1];
    assert_eq!(read(&pair.server, &mut rest), 0);
}

fn last_read_meets_fin() {
    ready();
    let pair = connect(IPV4);
    let bytes = pattern(300, 14);
    write(&pair.client, &bytes);
    let (local, remote) = (pair.client.local_addr().expect("address").port(), pair.client.peer_addr().expect("address").port());
    say_moved(&pair.client, &pair.server, &bytes);
    println!("closed {local} {remote}\nclosed {remote} {local}");
    drop(pair.client);
    let mut got = vec![0; 1000];
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), 300);
    drop(pair.server);
    done();
}

/// A socket bound to this port, which another one may have used just before.
fn bound(port: u16) -> OwnedFd {
    // SAFETY: a new descriptor, options of int and linger, an address of its length.
    unsafe {
        let socket = OwnedFd::from_raw_fd(ok(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) as isize) as i32);
        let (one, linger) = (1i32, libc::linger { l_onoff: 1, l_linger: 0 });
        ok(libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, (&raw const one).cast(), 4) as isize);
        ok(libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), 8) as isize);
        let address = socket_address(port);
        ok(libc::bind(socket.as_raw_fd(), (&raw const address).cast(), 16) as isize);
        socket
    }
}

fn socket_address(port: u16) -> libc::sockaddr_in {
    let address = libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) };
    libc::sockaddr_in { sin_family: libc::AF_INET as u16, sin_port: port.to_be(), sin_addr: address, sin_zero: [0; 8] }
}

fn same_ports_again() {
    ready();
    let listener = TcpListener::bind(IPV4).expect("bind");
    let target = listener.local_addr().expect("address").port();
    let mut port = 0;
    for generation in 0..2 {
        let client = bound(port);
        let address = socket_address(target);
        // SAFETY: an address of its length.
        ok(unsafe { libc::connect(client.as_raw_fd(), (&raw const address).cast(), 16) } as isize);
        let client = TcpStream::from(client);
        port = client.local_addr().expect("address").port();
        let (server, _) = listener.accept().expect("accept");
        let bytes = pattern(150, 40 + generation);
        write(&client, &bytes);
        let mut got = vec![0; 150];
        assert_eq!(recvfrom(&server, &mut got, libc::MSG_WAITALL), 150);
        say_moved(&client, &server, &bytes);
        drop(client);
        // Reset by the peer: nothing lingers.
        let _ = (&server).read(&mut got);
    }
    done();
}

/// Datagrams are counted, not copied.
fn datagrams() {
    ready();
    let (one, two) = (UdpSocket::bind(IPV4).expect("bind"), UdpSocket::bind(IPV4).expect("bind"));
    one.connect(two.local_addr().expect("address")).expect("connect");
    two.connect(one.local_addr().expect("address")).expect("connect");
    let (from, to) = (one.local_addr().expect("address").port(), two.local_addr().expect("address").port());
    let mut got = [0; 1500];
    for size in [1usize, 100, 1400] {
        assert_eq!(one.send(&pattern(size, 70)).expect("send"), size);
        assert_eq!(two.recv(&mut got).expect("recv"), size);
        println!("stream {from} {to} sent - {size}\nstream {to} {from} received - {size}");
    }
    done();
}
