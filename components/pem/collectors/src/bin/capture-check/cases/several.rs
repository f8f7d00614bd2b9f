//! Calls that move several messages.

use std::ptr;

use collectors::Way;
use ebpf_abi::limit;

use super::IPV4;
use crate::sys::{
    Pair, connect, done, messages, pattern, ready, recvfrom, recvmmsg, say_counter, say_moved, say_received_untold, say_sent, segments,
    sendmmsg, write,
};

/// Sends three messages by one call and receives them by one call.
fn round(pair: &Pair, seed: u32) {
    let parts: Vec<Vec<u8>> = (0..3).map(|index| pattern(100 + index * 50, seed + index as u32)).collect();
    let vectors: Vec<_> = parts.iter().map(|part| segments(part, &[10, 20])).collect();
    assert_eq!(sendmmsg(&pair.client, &mut messages(&vectors)), 3);
    let all = parts.concat();
    // Messages of 90 bytes: a stream fills each, but the last.
    let got: Vec<Vec<u8>> = (0..5).map(|_| vec![0; 90]).collect();
    let vectors: Vec<_> = got.iter().map(|part| segments(part, &[30])).collect();
    assert_eq!(recvmmsg(&pair.server, &mut messages(&vectors)), 5);
    assert_eq!(got.concat(), all);
    say_moved(&pair.client, &pair.server, &all);
}

pub(super) fn several_messages() {
    ready();
    let pair = connect(IPV4);
    for index in 0..4 {
        round(&pair, index * 10);
    }
    done();
}

/// A call that fails after its first message must leave nothing behind for the next one, which uses the same array.
pub(super) fn one_after_the_other() {
    ready();
    let pair = connect(IPV4);
    pair.server.set_nonblocking(true).expect("nonblocking");
    let got: Vec<Vec<u8>> = (0..3).map(|_| vec![0; 64]).collect();
    let vectors: Vec<_> = got.iter().map(|part| segments(part, &[])).collect();
    let mut array = messages(&vectors);
    for round in 0..3 {
        let bytes = pattern(64, 90 + round);
        write(&pair.client, &bytes);
        assert_eq!(recvmmsg(&pair.server, &mut array), 1);
        say_moved(&pair.client, &pair.server, &bytes);
    }
    done();
}

/// The second of three messages has no buffer: the first one counts, and the next call is not taken for the rest of this one.
pub(super) fn fail_part_way() {
    ready();
    let pair = connect(IPV4);
    let parts: Vec<Vec<u8>> = (0..3).map(|index| pattern(64, 95 + index)).collect();
    let vectors: Vec<_> = parts.iter().map(|part| segments(part, &[10])).collect();
    let mut array = messages(&vectors);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, which nobody can read.
    let nowhere = unsafe { libc::mmap(ptr::null_mut(), 4096, libc::PROT_NONE, flags, -1, 0) };
    assert_ne!(nowhere, libc::MAP_FAILED);
    let hidden = [libc::iovec { iov_base: nowhere, iov_len: 64 }];
    let good = std::mem::replace(&mut array[1].msg_hdr.msg_iov, hidden.as_ptr().cast_mut());
    let segments = std::mem::replace(&mut array[1].msg_hdr.msg_iovlen, 1);
    assert_eq!(sendmmsg(&pair.client, &mut array), 1);
    (array[1].msg_hdr.msg_iov, array[1].msg_hdr.msg_iovlen) = (good, segments);
    assert_eq!(sendmmsg(&pair.client, &mut array), 3);
    let all = [parts[0].clone(), parts.concat()].concat();
    let mut got = vec![0; all.len()];
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), all.len());
    assert_eq!(got, all);
    say_moved(&pair.client, &pair.server, &all);
    done();
}

/// More messages than the kernel sends at once, and than way B adds up.
pub(super) fn without_end() {
    let way = ready();
    let pair = connect(IPV4);
    let taken = limit::MESSAGES_MAX as usize;
    let parts: Vec<Vec<u8>> = (0..taken + 76).map(|index| pattern(8, 1000 + index as u32)).collect();
    let vectors: Vec<_> = parts.iter().map(|part| segments(part, &[])).collect();
    assert_eq!(sendmmsg(&pair.client, &mut messages(&vectors)), taken);
    let (all, rest) = (parts.concat(), parts[taken..].concat());
    write(&pair.client, &rest);
    let got: Vec<Vec<u8>> = parts.iter().map(|_| vec![0; 8]).collect();
    let vectors: Vec<_> = got.iter().map(|part| segments(part, &[])).collect();
    assert_eq!(recvmmsg(&pair.server, &mut messages(&vectors)), parts.len());
    assert_eq!(got.concat(), all);
    match way {
        Way::SocketLayer => say_moved(&pair.client, &pair.server, &all),
        Way::CallExit => {
            // Three steps for each message: to it, to its segment, its bytes.
            let (seen, cut) = parts[..taken].split_at(limit::COPY_STEPS_MAX as usize / 3);
            say_sent(&pair.client, Ok(&seen.concat()));
            say_sent(&pair.client, Err(cut.concat().len()));
            say_sent(&pair.client, Ok(&rest));
            say_received_untold(&pair.server, all.len());
            say_counter("VectorCutBytes", cut.concat().len());
            say_counter("MessagesUnplaced", parts.len());
        }
    }
    // The next one is where it belongs.
    let (bytes, mut got) = (pattern(100, 99), vec![0; 100]);
    write(&pair.client, &bytes);
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), 100);
    say_moved(&pair.client, &pair.server, &bytes);
    done();
}
