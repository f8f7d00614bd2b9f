//! What the agent knows, and what it decides.

use std::{
    net::{TcpListener, UdpSocket},
    os::fd::AsRawFd as _,
};

use ebpf_abi::limit;

use super::{IPV4, ping_pong};
use crate::sys::{
    Pair, accept_on, connect, decide, decide_on, done, ok, pattern, read, ready, recvfrom, say_moved, say_of, say_received_untold,
    say_sent_untold, write,
};

/// Who accepted a connection has its listener's backlog; who connected has none, and its role is not known.
pub(super) fn older() {
    let pair = connect(IPV4);
    // Neither these bytes nor the opening are seen.
    write(&pair.client, &pattern(99, 50));
    let mut got = vec![0; 99];
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), 99);
    ready();
    say_of("role", &pair.server, "Server");
    say_of("role", &pair.client, "Unknown");
    ping_pong(&pair, write, read);
    done();
}

/// A listener that asks for no backlog: whose role the accepted socket has is not known, and it is not told wrong.
pub(super) fn older_without_backlog() {
    let listener = TcpListener::bind(IPV4).expect("bind");
    // SAFETY: a descriptor.
    ok(unsafe { libc::listen(listener.as_raw_fd(), 0) } as isize);
    let pair = accept_on(&listener);
    ready();
    say_of("role", &pair.server, "Unknown");
    say_of("role", &pair.client, "Unknown");
    ping_pong(&pair, write, read);
    done();
}

/// Sends so many bytes, receives them, and says so.
fn move_once(pair: &Pair, size: usize, seed: u32) {
    let (bytes, mut got) = (pattern(size, seed), vec![0; size]);
    assert_eq!(write(&pair.client, &bytes), size);
    assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), size);
    say_moved(&pair.client, &pair.server, &bytes);
}

/// What the programs remember in `forgotten`.
pub(super) const SOCKETS_MAX: u32 = 256;

/// More sockets than the programs remember: the oldest is forgotten, and is another connection from its next call on.
pub(super) fn forgotten() {
    ready();
    let pair = connect(IPV4);
    say_of("role", &pair.server, "Server");
    move_once(&pair, 300, 51);
    let others: Vec<Pair> = (0..SOCKETS_MAX).map(|_| connect(IPV4)).collect();
    move_once(&pair, 300, 52);
    drop(others);
    done();
}

/// Nothing more is told of a connection that is ignored, but all of it is counted.
pub(super) fn ignored() {
    ready();
    let pair = connect(IPV4);
    move_once(&pair, 500, 53);
    decide(&pair.client, "Ignore");
    decide(&pair.server, "Ignore");
    let mut sum = 500;
    for size in [1usize, 700, 40_000] {
        let (bytes, mut got) = (pattern(size, 54), vec![0; size]);
        assert_eq!(write(&pair.client, &bytes), size);
        assert_eq!(recvfrom(&pair.server, &mut got, libc::MSG_WAITALL), size);
        say_sent_untold(&pair.client, size);
        say_received_untold(&pair.server, size);
        sum += size;
    }
    say_of("counted", &pair.client, &format!("{sum} 0"));
    say_of("counted", &pair.server, &format!("0 {sum}"));
    // Another connection is not.
    ping_pong(&connect(IPV4), write, read);
    done();
}

/// A verdict is about one use of a socket: connected to somebody else it is another connection.
pub(super) fn ignored_and_used_again() {
    ready();
    let [one, two, three] = [(); 3].map(|()| UdpSocket::bind(IPV4).expect("bind"));
    let [from, first, second] = [&one, &two, &three].map(|socket| socket.local_addr().expect("address"));
    one.connect(first).expect("connect");
    one.send(&pattern(100, 56)).expect("send");
    decide_on(from.port(), first.port(), "Ignore");
    // From the first one on it is remembered that it is ignored.
    for size in [10, 20] {
        one.send(&pattern(size, 57)).expect("send");
    }
    one.connect(second).expect("connect");
    one.send(&pattern(70, 58)).expect("send");
    println!("stream {} {} sent - 70", from.port(), second.port());
    done();
}

/// A connection that is traced is copied beyond what is copied of those that nobody has decided on.
pub(super) fn traced() {
    ready();
    let pair = connect(IPV4);
    move_once(&pair, 500, 55);
    decide(&pair.client, "Trace");
    decide(&pair.server, "Trace");
    for round in 0..limit::UNKNOWN_BYTES_MAX / 8192 + 4 {
        move_once(&pair, 8192, 200 + round);
    }
    done();
}
