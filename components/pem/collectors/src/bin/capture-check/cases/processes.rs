//! Connections that several processes share, hand over or leave behind.

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    ptr,
};

use super::{Exits, IPV4};
use crate::{
    expect::{Expected, hex},
    sys::{
        connect, done, ok, pattern, read, ready, receive_descriptor, recvfrom, say_moved, say_process, say_sent, send_descriptor, write,
    },
};

/// One socket, several descriptors: `dup`, and one passed over a UNIX socket would be alike.
pub(super) fn duplicated() {
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
pub(super) fn fork(child: impl FnOnce()) -> i32 {
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

pub(super) fn inherited() {
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
pub(super) fn passed() {
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
pub(super) fn killed() {
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

pub(super) fn killed_is_told(exits: &Exits, expected: &Expected) -> Result<(), String> {
    let told = |exit: &(u32, Option<u8>, Option<u8>)| expected.processes.iter().any(|(pid, _)| *exit == (*pid, None, Some(9)));
    match exits.iter().filter(|exit| told(exit)).count() {
        1 => Ok(()),
        count => Err(format!("the killed process' exit was told {count} times")),
    }
}

/// A process in a PID namespace of its own goes by the id that the agent's namespace has for it.
pub(super) fn nested() {
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
