//! Every kind of traffic that `capture-check` knows, both ways, on the kernel that runs. Needs root; says so where it is not.

#![allow(clippy::print_stdout, reason = "says why a test is skipped")]

use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// One at a time: each sees the traffic of the others, and what floods a ring shall be its own case.
static TURN: Mutex<()> = Mutex::new(());

const CHECK: &str = env!("CARGO_BIN_EXE_capture-check");

/// Why nothing can be captured here. Under CI that is a failure.
fn unable() -> Option<String> {
    let reason = if !rustix::process::geteuid().is_root() {
        "not root"
    } else if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        "the kernel has no BTF"
    } else {
        return None;
    };
    assert!(std::env::var_os("CI").is_none(), "cannot capture: {reason}");
    println!("skipped: {reason}");
    Some(reason.to_owned())
}

fn check(command: &mut Command) {
    if unable().is_some() {
        return;
    }
    let output = command.output().expect("capture-check starts");
    let text = String::from_utf8_lossy(&output.stdout);
    // A kernel before 6.3 has one way only.
    if output.status.code() == Some(2) && text.contains("has no tracepoint") {
        println!("skipped: {text}");
        return;
    }
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_socket_layers_tracepoints_see_every_kind_of_traffic() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    check(Command::new(CHECK).args(["--way", "a"]));
}

#[test]
fn the_exit_of_system_calls_sees_every_kind_of_traffic() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    check(Command::new(CHECK).args(["--way", "b"]));
}

#[test]
fn an_agent_in_a_pid_namespace_sees_what_is_in_it_by_its_ids_and_nothing_else() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if unable().is_some() {
        return;
    }
    for way in ["a", "b"] {
        // Traffic outside, for as long as the agent inside looks.
        let script = format!("while :; do yes | {CHECK} traffic write_read; done");
        let mut outside = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).spawn().expect("sh");
        check(Command::new("unshare").args([
            "-pf",
            "--mount-proc",
            CHECK,
            "--way",
            way,
            "--only-own",
            "write_read",
            "inherited",
            "nested_pid_namespace",
        ]));
        outside.kill().expect("the shell is ours");
        outside.wait().expect("and ends");
    }
}
