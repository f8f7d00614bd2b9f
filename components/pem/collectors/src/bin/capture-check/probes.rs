//! Probes on functions: a function of a child is probed, at its entry and at its return, and calls are counted.

use std::process::{Command, ExitCode, Stdio};

use collectors::{Binary, Error, ProbeEvent, ProbeSpec, Probed, Probes};
use ids::Asid;

/// The case's name.
pub const NAME: &str = "probes";

const TIMES: u64 = 100;

/// The function that is probed.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn px_capture_check_probed(first: u64, second: u64) -> u64 {
    std::hint::black_box(first).wrapping_add(second)
}

/// Calls the function.
pub fn child(times: &str) -> ExitCode {
    let times = times.parse().unwrap_or(0);
    let sum = (0..times).fold(0, |sum: u64, index| sum.wrapping_add(px_capture_check_probed(index, 1000)));
    println!("{sum}");
    ExitCode::SUCCESS
}

/// Probes it twice, and compares.
pub fn check() -> Result<(), String> {
    let mut probes = Probes::start(Asid(1)).map_err(text)?;
    let path = std::env::current_exe().map_err(text)?;
    let spec = |returns| ProbeSpec {
        binary: Binary::File(path.clone()),
        probed: Probed::AllProcesses,
        symbol: "px_capture_check_probed".to_owned(),
        returns,
    };
    let entry = probes.deploy(&spec(false)).map_err(chain)?;
    let both = probes.deploy(&spec(true)).map_err(chain)?;
    let mut child = Command::new(&path).args(["call", &TIMES.to_string()]).stdout(Stdio::null()).spawn().map_err(text)?;
    let pid = child.id();
    let status = child.wait().map_err(text)?;
    let mut events = Vec::new();
    // Records are in the ring before the function goes on, so all are there.
    while probes.poll(&mut events) > 0 {}
    if !status.success() {
        return Err(format!("the child ended with {status}"));
    }
    for (probe, returns) in [(entry, false), (both, true)] {
        let mut told = events.iter().filter(|event| event.probe == probe);
        for index in 0..TIMES {
            let event = told.next().ok_or_else(|| format!("{index} of {TIMES} calls: {:?}", probes.counts(probe)))?;
            if !is_call(event, pid, index, returns) {
                return Err(format!("call {index}: {event:?}"));
            }
        }
        if told.next().is_some() {
            return Err("a call was told twice".to_owned());
        }
        if !probes.remove(probe) {
            return Err("a probe was not there".to_owned());
        }
    }
    Ok(())
}

fn is_call(event: &ProbeEvent, pid: u32, index: u64, returns: bool) -> bool {
    event.process.pid() == pid
        && event.thread == pid
        && event.arguments[..2] == [index, 1000]
        && event.returned.map(|returned| returned.value) == returns.then_some(index + 1000)
}

#[allow(clippy::needless_pass_by_value, reason = "given to map_err")]
fn text(error: impl ToString) -> String {
    error.to_string()
}

#[allow(clippy::needless_pass_by_value, reason = "given to map_err")]
fn chain(error: Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
