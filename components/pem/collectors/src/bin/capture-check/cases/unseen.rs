//! Bytes that pass by ways on which they cannot be read.

use std::{net::TcpStream, os::fd::AsRawFd as _};

use collectors::Way;

use super::{IPV4, close};
use crate::{
    sys::{
        Pair, connect, done, message, ok, pattern, ready, recvfrom, recvmsg, say_counter, say_moved, say_received, say_received_untold,
        say_sent, say_sent_untold, segments, skip, write,
    },
    uring::{self, Ring},
};

/// `MSG_TRUNC` throws bytes of a stream away: they have a length and a place.
pub(super) fn truncated() {
    ready();
    let pair = connect(IPV4);
    let bytes = pattern(600, 15);
    write(&pair.client, &bytes);
    let mut got = vec![0; 600];
    let all = libc::MSG_TRUNC | libc::MSG_WAITALL;
    assert_eq!(recvfrom(&pair.server, &mut got[..300], all), 300);
    assert_eq!(recvmsg(&pair.server, &mut message(&segments(&got[..200], &[50])), all), 200);
    assert_eq!(got, vec![0; 600]);
    assert_eq!(recvfrom(&pair.server, &mut got[..100], libc::MSG_WAITALL), 100);
    say_sent(&pair.client, Ok(&bytes));
    say_received(&pair.server, Err(300));
    say_received(&pair.server, Err(200));
    say_received(&pair.server, Ok(&bytes[500..]));
    done();
}

/// Operations by the submitting thread and by a worker, ordinary calls before and behind.
pub(super) fn io_uring() {
    let way = ready();
    let ring = match Ring::new() {
        Ok(ring) => ring,
        Err(error) => return skip(&format!("no io_uring: {error}")),
    };
    let pair = connect(IPV4);
    by_calls(&pair, 16);
    for flags in [0, uring::ASYNC] {
        let (bytes, mut got) = (pattern(400, 17), vec![0; 400]);
        assert_eq!(ok(ring.run(uring::SEND, flags, &pair.client, bytes.as_ptr() as u64, 400)), 400);
        assert_eq!(ok(ring.run(uring::RECEIVE, flags, &pair.server, got.as_mut_ptr() as u64, 400)), 400);
        assert_eq!(got, bytes);
        match way {
            Way::SocketLayer => {
                say_sent(&pair.client, Err(400));
                say_received(&pair.server, Err(400));
            }
            Way::CallExit => {
                say_sent_untold(&pair.client, 400);
                say_received_untold(&pair.server, 400);
            }
        }
        by_calls(&pair, 18);
    }
    say_counter("IoUring", 4);
    close(pair);
    done();
}

/// Moves some bytes that are seen.
fn by_calls(pair: &Pair, seed: u32) {
    let (bytes, mut got) = (pattern(100, seed), vec![0; 100]);
    write(&pair.client, &bytes);
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), 100);
    say_moved(&pair.client, &pair.server, &bytes);
}

/// `SOL_TLS`, `TLS_TX`
const SOL_TLS: i32 = 282;
const TLS_TX: i32 = 1;

/// TLS 1.2 by AES-GCM-128 (`struct tls12_crypto_info_aes_gcm_128`); the key does not matter.
fn encrypt(socket: &TcpStream) -> Result<(), String> {
    let option = |what: &str, level: i32, name: i32, value: &[u8]| {
        // SAFETY: the value is as long as it says.
        match unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), value.len() as u32) } {
            0 => Ok(()),
            _ => Err(format!("no kernel TLS, {what}: {}", std::io::Error::last_os_error())),
        }
    };
    option("module tls", libc::SOL_TCP, libc::TCP_ULP, b"tls")?;
    let mut keys = [7; 40];
    keys[..4].copy_from_slice(&[3, 3, 51, 0]);
    option("modules gcm and ghash-generic", SOL_TLS, TLS_TX, &keys)
}

/// One side encrypts in the kernel. The other gets records, of 29 bytes more, and reads them by itself.
pub(super) fn kernel_tls() {
    ready();
    let pair = connect(IPV4);
    if let Err(reason) = encrypt(&pair.client) {
        return skip(&reason);
    }
    let record = 500 + 29;
    write(&pair.client, &pattern(500, 19));
    let mut got = vec![0; record];
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), record);
    say_sent_untold(&pair.client, record);
    say_received(&pair.server, Ok(&got));
    say_counter("UpperProtocol", 1);
    close(pair);
    done();
}

/// A call as a 32-bit program makes it: another entrance, other numbers.
#[cfg(target_arch = "x86_64")]
fn call_32(number: u32, first: u32, second: u32, third: u32) -> i32 {
    let result: u64;
    // SAFETY: the kernel looks at the lower halves alone; the caller says which memory is meant.
    unsafe {
        std::arch::asm!(
            "xchg {first}, rbx",
            "int 0x80",
            "xchg {first}, rbx",
            first = inout(reg) u64::from(first) => _,
            inout("rax") u64::from(number) => result,
            in("rcx") u64::from(second),
            in("rdx") u64::from(third),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    result as i32
}

#[cfg(target_arch = "x86_64")]
pub(super) fn compat() {
    const GETPID: u32 = 20;
    const WRITE: u32 = 4;
    let way = ready();
    if super::processes::fork(|| assert!(call_32(GETPID, 0, 0, 0) > 0)) != 0 {
        return skip("no 32-bit calls");
    }
    let pair = connect(IPV4);
    by_calls(&pair, 21);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    // SAFETY: a new mapping in the first 4 GiB.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    let descriptor = pair.client.as_raw_fd() as u32;
    assert_eq!(call_32(WRITE, descriptor, memory as usize as u32, 250), 250);
    let mut got = vec![1; 250];
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), 250);
    match way {
        Way::SocketLayer => say_sent(&pair.client, Err(250)),
        Way::CallExit => say_sent_untold(&pair.client, 250),
    }
    say_received(&pair.server, Ok(&got));
    by_calls(&pair, 22);
    say_counter("Compat", 1);
    close(pair);
    done();
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn compat() {
    ready();
    skip("32-bit calls are made on x86-64 alone");
}
