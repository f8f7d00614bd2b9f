//! Bytes that do not come from where the kernel reads them first: files, pipes, pages that go away.

use std::{
    io::{Read as _, Seek as _, Write as _},
    os::fd::{AsRawFd as _, FromRawFd as _},
    ptr, thread,
};

use collectors::Way;

use super::{IPV4, close, ping_pong, set_buffer};
use crate::{
    expect::hex,
    sys::{connect, done, ok, pattern, read, ready, recvfrom, say_received, say_received_untold, say_sent, write},
};

/// A file without a name, with these bytes.
fn file(bytes: &[u8]) -> std::fs::File {
    // SAFETY: a string with its zero; the descriptor is new.
    let mut file = unsafe { std::fs::File::from_raw_fd(ok(libc::memfd_create(c"px".as_ptr(), 0) as isize) as i32) };
    file.write_all(bytes).expect("write");
    file.rewind().expect("rewind");
    file
}

pub(super) fn sendfile() {
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
pub(super) fn splice() {
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

/// The first pages of what a blocked call sends go away before it returns.
pub(super) fn page_gone() {
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

pub(super) fn files_and_pipes() {
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
