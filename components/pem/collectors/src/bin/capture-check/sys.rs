//! System calls, one function each, so that a case says exactly which it makes.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    ptr,
};

use crate::expect::{Stream, say_bytes, say_hole};

/// Both ends of a connection.
pub struct Pair {
    pub client: TcpStream,
    pub server: TcpStream,
}

/// A connection over loopback.
pub fn connect(address: &str) -> Pair {
    let listener = TcpListener::bind(address).expect("bind");
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

/// Says who makes the calls.
pub fn say_process() {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc/self/stat");
    let ticks = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19)).expect("start time");
    println!("process {} {ticks}", std::process::id());
}

/// Waits until the collectors run.
pub fn ready() {
    println!("ready");
    wait();
    say_process();
}

/// All is said; waits until the parent has seen it.
pub fn done() {
    println!("done");
    wait();
}

fn wait() {
    std::io::stdout().flush().expect("stdout");
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
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
