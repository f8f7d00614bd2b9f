//! A program whose functions are probed.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use collectors::{Binary, ProbeEvent, ProbeId, ProbeSpec, Probed, Probes};
use ids::Asid;

/// Why nothing can be probed here. Under CI that is a failure.
pub fn unable() -> bool {
    let reason = if !rustix::process::geteuid().is_root() {
        "not root"
    } else if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        "the kernel has no BTF"
    } else if !Path::new("/sys/bus/event_source/devices/uprobe").exists() {
        "the kernel has no uprobes"
    } else {
        return false;
    };
    assert!(std::env::var_os("CI").is_none(), "cannot probe: {reason}");
    println!("skipped: {reason}");
    true
}

/// One at a time: a probe of all processes that use a library sees those of other tests too.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Compiles the program into `folder`.
pub fn compile(folder: &Path, name: &str, options: &[&str]) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probes");
    let program = folder.join(name);
    let compiled = Command::new("gcc")
        .args(["-O1", "-pthread"])
        .args(options)
        .args([sources.join("program.c"), sources.join("other.c")])
        .arg("-o")
        .arg(&program)
        .status()
        .expect("gcc starts: ci/setup installs it");
    assert!(compiled.success());
    program
}

/// A process that does what it is told, and has done it when [`Running::say`] returns.
pub struct Running {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// The id that it has in its own PID namespace.
    pub own_pid: u32,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let stdin = child.stdin.take().expect("piped");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = lines.next().expect("a line").expect("text");
        let own_pid = ready.strip_prefix("ready ").expect("ready").parse().expect("a number");
        Running { child, stdin, lines, own_pid }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn say(&mut self, what: &str) {
        writeln!(self.stdin, "{what}").expect("it listens");
        assert_eq!(self.lines.next().expect("a line").expect("text"), "done");
    }

    /// Field 22 of its `/proc/PID/stat`.
    pub fn start_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        fields.split(' ').nth(19).expect("a field").parse().expect("a number")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn start() -> Probes {
    Probes::start(Asid(7)).expect("probes start")
}

pub fn spec(binary: Binary, symbol: &str) -> ProbeSpec {
    ProbeSpec { binary, probed: Probed::AllProcesses, symbol: symbol.to_owned(), returns: false }
}

pub fn deploy(probes: &mut Probes, spec: &ProbeSpec) -> ProbeId {
    probes.deploy(spec).unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string)))
}

/// All events that there are: a call is in the ring before its function goes on.
pub fn poll(probes: &mut Probes) -> Vec<ProbeEvent> {
    let mut events = Vec::new();
    while probes.poll(&mut events) > 0 {}
    events
}
