//! Kinds of traffic. Each runs in a child, with both ends of its connections, and says what it does.

mod decided;
mod several;
mod unseen;

use std::{
    io::{Read as _, Seek as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    os::unix::net::UnixDatagram,
    ptr, thread,
};

use collectors::Way;

use ebpf_abi::limit;

use crate::{
    expect::{Expected, hex},
    sys::{
        Pair, connect, done, message, ok, pattern, preadv2, pwritev2, read, readv, ready, receive_descriptor, recvfrom, recvmsg, say_moved,
        say_of, say_process, say_received, say_received_untold, say_sent, segments, send_descriptor, sendmsg, sendto, write, writev,
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
    case("sendfile", sendfile),
    case("splice", splice),
    case("truncated", unseen::truncated),
    case("io_uring", unseen::io_uring),
    case("kernel_tls", unseen::kernel_tls),
    case("compat", unseen::compat),
    case("last_read_meets_fin", last_read_meets_fin),
    case("duplicated", duplicated),
    case("inherited", inherited),
    case("passed", passed),
    Case { judge: killed_is_told, ..case("killed", killed) },
    case("page_gone", page_gone),
    Case { openings: &[true, true], ..case("same_ports_again", same_ports_again) },
    Case { openings: &[false], ..case("older_than_the_agent", decided::older) },
    Case { openings: &[false], ..case("older_and_accepted_without_a_backlog", decided::older_without_backlog) },
    Case { openings: &[true, false], sockets_max: Some(decided::SOCKETS_MAX), ..case("forgotten", decided::forgotten) },
    case("ignored", decided::ignored),
    case("ignored_and_used_again", decided::ignored_and_used_again),
    case("traced", decided::traced),
    case("files_and_pipes", files_and_pipes),
    case("datagrams", datagrams),
    case("nested_pid_namespace", nested),
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

/// A file without a name, with these bytes.
fn file(bytes: &[u8]) -> std::fs::File {
    // SAFETY: a string with its zero; the descriptor is new.
    let mut file = unsafe { std::fs::File::from_raw_fd(ok(libc::memfd_create(c"px".as_ptr(), 0) as isize) as i32) };
    file.write_all(bytes).expect("write");
    file.rewind().expect("rewind");
    file
}

fn sendfile() {
    ready();
    let pair = connect(IPV4);
    let (head, body, tail) = (pattern(80, 8), pattern(5000, 9), pattern(40, 10));
    let file = file(&body);
    write(&pair.client, &head);
    // SAFETY: two descriptors.
    assert_eq!(ok(unsafe { libc::sendfile(pair.client.as_raw_fd(), file.as_raw_fd(), ptr::null_mut(), body.len()) }), body.len());
    write(&pair.client, &tail);
    let all = [head.clone(), body.clone(), tail.clone()].concat();
    let mut got = vec![0; all.len()];
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), all.len());
    say_sent(&pair.client, Ok(&head));
    say_sent(&pair.client, Err(body.len()));
    say_sent(&pair.client, Ok(&tail));
    say_received(&pair.server, Ok(&all));
    done();
}

fn splice_all(from: i32, to: i32, length: usize) {
    let mut moved = 0;
    while moved < length {
        // SAFETY: two descriptors.
        moved += ok(unsafe { libc::splice(from, ptr::null_mut(), to, ptr::null_mut(), length - moved, 0) });
    }
}

/// Through a pipe into a socket, and out of one.
fn splice() {
    let way = ready();
    let pair = connect(IPV4);
    let (head, body, tail) = (pattern(80, 11), pattern(3000, 12), pattern(40, 13));
    let (mut reader, mut writer) = std::io::pipe().expect("pipe");
    write(&pair.client, &head);
    writer.write_all(&body).expect("pipe");
    splice_all(reader.as_raw_fd(), pair.client.as_raw_fd(), body.len());
    write(&pair.client, &tail);
    let mut got = vec![0; 80];
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), 80);
    splice_all(pair.server.as_raw_fd(), writer.as_raw_fd(), body.len());
    let mut through = vec![0; body.len()];
    reader.read_exact(&mut through).expect("pipe");
    assert_eq!(recvfrom(&pair.server, &mut got[..40], libc::MSG_WAITALL), 40);
    say_sent(&pair.client, Ok(&head));
    say_sent(&pair.client, Err(body.len()));
    say_sent(&pair.client, Ok(&tail));
    say_received(&pair.server, Ok(&head));
    match way {
        Way::SocketLayer => say_received_untold(&pair.server, body.len()),
        Way::CallExit => say_received(&pair.server, Err(body.len())),
    }
    say_received(&pair.server, Ok(&tail));
    close(pair);
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

/// One socket, several descriptors: `dup`, and one passed over a UNIX socket would be alike.
fn duplicated() {
    ready();
    let pair = connect(IPV4);
    let copy = pair.client.try_clone().expect("dup");
    let mut all = Vec::new();
    for (index, socket) in [&pair.client, &copy, &pair.client].into_iter().enumerate() {
        let bytes = pattern(200, 20 + index as u32);
        write(socket, &bytes);
        all.extend(bytes);
    }
    let mut got = vec![0; all.len()];
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), all.len());
    say_moved(&pair.client, &pair.server, &all);
    done();
}

/// Runs `child` in a process of its own; how it ended.
fn fork(child: impl FnOnce()) -> i32 {
    ended(start(child))
}

/// Waits for a process; how it ended.
fn ended(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the status is an int.
    ok(unsafe { libc::waitpid(pid, &raw mut status, 0) } as isize);
    status
}

/// Starts `child` in a process of its own.
fn start(child: impl FnOnce()) -> i32 {
    std::io::stdout().flush().expect("stdout");
    // SAFETY: this process has one thread.
    match ok(unsafe { libc::fork() } as isize) as i32 {
        0 => {
            child();
            std::io::stdout().flush().expect("stdout");
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) }
        }
        pid => pid,
    }
}

fn inherited() {
    ready();
    let pair = connect(IPV4);
    let bytes = pattern(256, 30);
    let status = fork(|| {
        say_process();
        write(&pair.client, &bytes);
    });
    assert_eq!(status, 0);
    let mut got = vec![0; bytes.len()];
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), bytes.len());
    say_moved(&pair.client, &pair.server, &bytes);
    done();
}

/// Another process, which has nothing of the connection, is handed a descriptor of it, and uses it.
fn passed() {
    ready();
    let (here, there) = UnixDatagram::pair().expect("UNIX sockets");
    let (bytes, secret) = (pattern(256, 33), pattern(64, 34));
    let pid = start(|| {
        say_process();
        write(&receive_descriptor(&there, &secret), &bytes);
    });
    let pair = connect(IPV4);
    send_descriptor(&here, &secret, &pair.client);
    assert_eq!(ended(pid), 0);
    let mut got = vec![0; bytes.len()];
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), bytes.len());
    say_moved(&pair.client, &pair.server, &bytes);
    println!("secret {}", hex(&secret));
    done();
}

/// A process that connects, sends and is killed: its connection is closed for it.
fn killed() {
    ready();
    let listener = TcpListener::bind(IPV4).expect("bind");
    let address = listener.local_addr().expect("address");
    let status = fork(|| {
        say_process();
        let client = TcpStream::connect(address).expect("connect");
        let bytes = pattern(128, 31);
        write(&client, &bytes);
        say_sent(&client, Ok(&bytes));
        println!("closed {} {}", client.local_addr().expect("address").port(), address.port());
        std::io::stdout().flush().expect("stdout");
        // SAFETY: this very process.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    });
    assert_eq!(status, libc::SIGKILL);
    let (server, _) = listener.accept().expect("accept");
    drop(server);
    done();
}

fn killed_is_told(exits: &Exits, expected: &Expected) -> Result<(), String> {
    let told = |exit: &(u32, Option<u8>, Option<u8>)| expected.processes.iter().any(|(pid, _)| *exit == (*pid, None, Some(9)));
    match exits.iter().filter(|exit| told(exit)).count() {
        1 => Ok(()),
        count => Err(format!("the killed process' exit was told {count} times")),
    }
}

/// The first pages of what a blocked call sends go away before it returns.
fn page_gone() {
    ready();
    let pair = connect(IPV4);
    set_buffer(&pair.client, libc::SO_SNDBUF, 4096);
    set_buffer(&pair.server, libc::SO_RCVBUF, 4096);
    let length = 512 << 10;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, which stays until the process ends.
    let memory = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    // SAFETY: all of the mapping, before anyone else knows of it.
    unsafe { ptr::copy_nonoverlapping(pattern(length, 32).as_ptr(), memory.cast(), length) };
    let (client, address) = (pair.client.try_clone().expect("dup"), memory as usize);
    // SAFETY: the mapping; the kernel alone reads it.
    let sender = thread::spawn(move || ok(unsafe { libc::write(client.as_raw_fd(), address as *const _, length) }));
    let mut got = vec![0; 64 * 1024];
    // Once these have arrived, the call has taken them and waits for room.
    let first = recvfrom(&pair.server, &mut got, libc::MSG_WAITALL);
    // SAFETY: two pages that the call is past.
    ok(unsafe { libc::mprotect(memory.add(4096), 8192, libc::PROT_NONE) } as isize);
    let mut received = first;
    while received < length {
        received += recvfrom(&pair.server, &mut got, 0);
    }
    assert_eq!(sender.join().expect("sender"), length);
    let bytes = pattern(length, 32);
    say_sent(&pair.client, Ok(&bytes[..4096]));
    say_sent(&pair.client, Err(8192));
    say_sent(&pair.client, Ok(&bytes[12288..30 * 1024]));
    say_sent(&pair.client, Err(length - 30 * 1024));
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

fn files_and_pipes() {
    ready();
    let pair = connect(IPV4);
    let secret = pattern(64, 60);
    let mut got = vec![0; 64];
    let (reader, writer) = std::io::pipe().expect("pipe");
    write(&writer, &secret);
    assert_eq!(read(&reader, &mut got), 64);
    assert_eq!(read(&file(&secret), &mut got), 64);
    println!("secret {}", hex(&secret));
    ping_pong(&pair, write, read);
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

/// A process in a PID namespace of its own goes by the id that the agent's namespace has for it.
fn nested() {
    ready();
    let pair = connect(IPV4);
    let bytes = pattern(321, 80);
    // SAFETY: this process has one thread; its children get the namespace.
    ok(unsafe { libc::unshare(libc::CLONE_NEWPID) } as isize);
    let (told, tell) = std::io::pipe().expect("pipe");
    std::io::stdout().flush().expect("stdout");
    // SAFETY: this process has one thread.
    let pid = ok(unsafe { libc::fork() } as isize) as i32;
    if pid == 0 {
        assert_eq!(std::process::id(), 1);
        write(&pair.client, &bytes);
        read(&told, &mut [0]);
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) }
    }
    let mut got = vec![0; bytes.len()];
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), bytes.len());
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let ticks = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19)).expect("start time");
    println!("process {pid} {ticks}");
    write(&tell, b".");
    // SAFETY: the status is not asked for.
    ok(unsafe { libc::waitpid(pid, ptr::null_mut(), 0) } as isize);
    say_moved(&pair.client, &pair.server, &bytes);
    done();
}
