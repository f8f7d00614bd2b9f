//! System calls, one function each, so that a case says exactly which it makes.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd, FromRawFd as _, OwnedFd},
    ptr,
};

use collectors::Way;

use crate::expect::{self, Stream, say_bytes, say_hole};

/// Both ends of a connection.
pub struct Pair {
    pub client: TcpStream,
    pub server: TcpStream,
}

/// A connection over loopback.
pub fn connect(address: &str) -> Pair {
    accept_on(&TcpListener::bind(address).expect("bind"))
}

/// A connection to this listener.
pub fn accept_on(listener: &TcpListener) -> Pair {
    let target = match listener.local_addr().expect("address") {
        SocketAddr::V6(any) if any.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], any.port())),
        named @ (SocketAddr::V4(_) | SocketAddr::V6(_)) => named,
    };
    let client = TcpStream::connect(target).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    Pair { client, server }
}

fn stream_of(socket: &TcpStream, sent: bool) -> Stream {
    let port = |address: std::io::Result<SocketAddr>| address.map_or(0, |address| address.port());
    Stream { local: port(socket.local_addr()), remote: port(socket.peer_addr()), sent }
}

/// Says that `bytes` went from one end to the other, all of them seen at both.
pub fn say_moved(from: &TcpStream, to: &TcpStream, bytes: &[u8]) {
    say_bytes(stream_of(from, true), bytes);
    say_bytes(stream_of(to, false), bytes);
}

/// Says that `bytes` were sent, or as many sent that cannot be seen.
pub fn say_sent(from: &TcpStream, bytes: Result<&[u8], usize>) {
    match bytes {
        Ok(bytes) => say_bytes(stream_of(from, true), bytes),
        Err(length) => say_hole(stream_of(from, true), length),
    }
}

/// Says that `bytes` were received, or as many received that cannot be seen.
pub fn say_received(to: &TcpStream, bytes: Result<&[u8], usize>) {
    match bytes {
        Ok(bytes) => say_bytes(stream_of(to, false), bytes),
        Err(length) => say_hole(stream_of(to, false), length),
    }
}

/// Says that so many bytes were sent, of which only the next position tells, or the close.
pub fn say_sent_untold(from: &TcpStream, length: usize) {
    expect::say_untold(stream_of(from, true), length);
}

/// Says that so many bytes were received, of which only the next position tells, or the close.
pub fn say_received_untold(to: &TcpStream, length: usize) {
    expect::say_untold(stream_of(to, false), length);
}

/// Says something about a connection, by its ports.
pub fn say_of(what: &str, socket: &TcpStream, rest: &str) {
    let Stream { local, remote, .. } = stream_of(socket, true);
    println!("{what} {local} {remote} {rest}");
}

/// Says how much a counter of losses has grown by at least.
pub fn say_counter(name: &str, least: usize) {
    println!("counter {name} {least}");
}

/// Asks for a verdict, `Trace` or `Ignore`, and waits until it is given.
pub fn decide(socket: &TcpStream, verdict: &str) {
    let Stream { local, remote, .. } = stream_of(socket, true);
    decide_on(local, remote, verdict);
}

/// As [`decide`], on the connection with these ports.
pub fn decide_on(local: u16, remote: u16, verdict: &str) {
    println!("decide {local} {remote} {verdict}");
    wait();
}

/// This machine cannot do it.
pub fn skip(reason: &str) {
    println!("skip {reason}");
    wait();
}

/// Says who makes the calls.
pub fn say_process() {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc/self/stat");
    let ticks = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19)).expect("start time");
    println!("process {} {ticks}", std::process::id());
}

/// The longest that a case may take, in seconds: emulated machines are slow.
const CASE_SECONDS_MAX: u32 = 180;

/// Waits until the collectors run; by which way.
pub fn ready() -> Way {
    // A case that hangs fails.
    // SAFETY: sets a timer.
    unsafe { libc::alarm(CASE_SECONDS_MAX) };
    println!("ready");
    let way = if wait() == "a" { Way::SocketLayer } else { Way::CallExit };
    say_process();
    way
}

/// All is said; waits until the parent has seen it.
pub fn done() {
    println!("done");
    wait();
}

fn wait() -> String {
    std::io::stdout().flush().expect("stdout");
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
    line.trim().to_owned()
}

/// Bytes that look like nothing else.
pub fn pattern(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A call's result; panics on an error, which fails the case.
pub fn ok(result: isize) -> usize {
    usize::try_from(result).unwrap_or_else(|_| panic!("a system call failed: {}", std::io::Error::last_os_error()))
}

pub fn write(socket: &impl AsRawFd, bytes: &[u8]) -> usize {
    // SAFETY: the buffer is as long as it says.
    ok(unsafe { libc::write(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
}

pub fn read(socket: &impl AsRawFd, bytes: &mut [u8]) -> usize {
    // SAFETY: the buffer is as long as it says.
    ok(unsafe { libc::read(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) })
}

pub fn sendto(socket: &impl AsRawFd, bytes: &[u8], flags: i32) -> usize {
    // SAFETY: the buffer is as long as it says.
    ok(unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) })
}

pub fn recvfrom(socket: &impl AsRawFd, bytes: &mut [u8], flags: i32) -> usize {
    // SAFETY: the buffer is as long as it says.
    ok(unsafe { libc::recv(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), flags) })
}

/// `bytes` in segments of the given sizes, the last as long as is left.
pub fn segments(bytes: &[u8], sizes: &[usize]) -> Vec<libc::iovec> {
    let mut rest = bytes;
    let mut vector = Vec::new();
    for size in sizes {
        let (segment, behind) = rest.split_at((*size).min(rest.len()));
        vector.push(libc::iovec { iov_base: segment.as_ptr().cast_mut().cast(), iov_len: segment.len() });
        rest = behind;
    }
    if !rest.is_empty() {
        vector.push(libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() });
    }
    vector
}

pub fn writev(socket: &impl AsRawFd, vector: &[libc::iovec]) -> usize {
    // SAFETY: the vector is as long as it says, its segments live.
    ok(unsafe { libc::writev(socket.as_raw_fd(), vector.as_ptr(), vector.len() as i32) })
}

pub fn readv(socket: &impl AsRawFd, vector: &[libc::iovec]) -> usize {
    // SAFETY: the vector is as long as it says, its segments live and nobody else looks at them.
    ok(unsafe { libc::readv(socket.as_raw_fd(), vector.as_ptr(), vector.len() as i32) })
}

/// Not libc's function, which makes another call where there are no flags.
pub fn pwritev2(socket: &impl AsRawFd, vector: &[libc::iovec]) -> usize {
    // SAFETY: the vector is as long as it says, its segments live.
    ok(unsafe { libc::syscall(libc::SYS_pwritev2, socket.as_raw_fd(), vector.as_ptr(), vector.len(), -1i64, -1i64, 0) } as isize)
}

/// As [`pwritev2`].
pub fn preadv2(socket: &impl AsRawFd, vector: &[libc::iovec]) -> usize {
    // SAFETY: the vector is as long as it says, its segments live and nobody else looks at them.
    ok(unsafe { libc::syscall(libc::SYS_preadv2, socket.as_raw_fd(), vector.as_ptr(), vector.len(), -1i64, -1i64, 0) } as isize)
}

/// A control message with one descriptor (`SCM_RIGHTS`): header and descriptor, then up to the next multiple of 8.
#[repr(C)]
struct Rights {
    header: libc::cmsghdr,
    descriptor: i32,
    reserved: i32,
}

const RIGHTS_BYTES: usize = size_of::<Rights>();

impl Rights {
    fn new(descriptor: i32) -> Rights {
        let header = libc::cmsghdr { cmsg_len: RIGHTS_BYTES - 4, cmsg_level: libc::SOL_SOCKET, cmsg_type: libc::SCM_RIGHTS };
        Rights { header, descriptor, reserved: 0 }
    }
}

/// Hands a socket over, with some bytes.
pub fn send_descriptor(over: &impl AsRawFd, bytes: &[u8], socket: &impl AsRawFd) {
    let mut rights = Rights::new(socket.as_raw_fd());
    let vector = segments(bytes, &[]);
    let mut message = message(&vector);
    (message.msg_control, message.msg_controllen) = ((&raw mut rights).cast(), RIGHTS_BYTES);
    assert_eq!(sendmsg(over, &message, 0), bytes.len());
}

/// Takes a socket that comes with these bytes.
pub fn receive_descriptor(over: &impl AsRawFd, bytes: &[u8]) -> OwnedFd {
    let (mut rights, got) = (Rights::new(-1), vec![0; bytes.len()]);
    let vector = segments(&got, &[]);
    let mut message = message(&vector);
    (message.msg_control, message.msg_controllen) = ((&raw mut rights).cast(), RIGHTS_BYTES);
    assert_eq!(recvmsg(over, &mut message, 0), bytes.len());
    assert_eq!(got, bytes);
    assert_ne!(rights.descriptor, -1);
    // SAFETY: a new descriptor, which the kernel has written there.
    unsafe { OwnedFd::from_raw_fd(rights.descriptor) }
}

/// A message of these segments.
pub fn message(vector: &[libc::iovec]) -> libc::msghdr {
    libc::msghdr {
        msg_name: ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: vector.as_ptr().cast_mut(),
        msg_iovlen: vector.len(),
        msg_control: ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    }
}

pub fn sendmsg(socket: &impl AsRawFd, message: &libc::msghdr, flags: i32) -> usize {
    // SAFETY: the message's vector lives.
    ok(unsafe { libc::sendmsg(socket.as_raw_fd(), message, flags) })
}

pub fn recvmsg(socket: &impl AsRawFd, message: &mut libc::msghdr, flags: i32) -> usize {
    // SAFETY: the message's vector lives.
    ok(unsafe { libc::recvmsg(socket.as_raw_fd(), message, flags) })
}

/// Messages with these vectors.
pub fn messages(vectors: &[Vec<libc::iovec>]) -> Vec<libc::mmsghdr> {
    vectors.iter().map(|vector| libc::mmsghdr { msg_hdr: message(vector), msg_len: 0 }).collect()
}

pub fn sendmmsg(socket: &impl AsRawFd, messages: &mut [libc::mmsghdr]) -> usize {
    // SAFETY: the array is as long as it says.
    ok(unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, 0) } as isize)
}

pub fn recvmmsg(socket: &impl AsRawFd, messages: &mut [libc::mmsghdr]) -> usize {
    // SAFETY: the array is as long as it says.
    ok(unsafe { libc::recvmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, 0, ptr::null_mut()) } as isize)
}
