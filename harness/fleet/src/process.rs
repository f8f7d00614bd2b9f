use std::fs;
use std::time::Duration;

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::machine::within;

/// Longest time from SIGTERM to SIGKILL.
const TERM_MAX: Duration = Duration::from_secs(8);
/// A killed process is gone by then, however busy the machine.
const KILL_MAX: Duration = Duration::from_secs(20);

/// A process as the machine's own PID namespace sees it: its number and when it started, so that one which has its number later is
/// another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it started, in the kernel's ticks since boot.
    started: u64,
}

impl Process {
    /// The one that has this number now.
    pub fn of(pid: i32) -> Option<Process> {
        stat(pid).map(|stat| Process { pid, started: stat.started })
    }

    /// Whether it runs still, or is stopped. A zombie does not.
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && stat.state != 'Z')
    }

    /// Sends it a signal, if it is there.
    pub(crate) fn signal(self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            // It may have ended meanwhile.
            let _gone = kill_process(pid, signal);
        }
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Errors
    /// It does not go.
    pub fn kill(self) -> Result<()> {
        self.signal(Signal::KILL);
        within(KILL_MAX, &format!("process {} gone", self.pid), || Ok((!self.is_alive()).then_some(())))
    }

    /// Asks it to end, and kills it when it does not. Whether it ended by itself.
    pub(crate) fn end(self) -> Result<bool> {
        self.signal(Signal::CONT);
        self.signal(Signal::TERM);
        let ended = within(TERM_MAX, "its end", || Ok((!self.is_alive()).then_some(()))).is_ok();
        if !ended {
            self.kill()?;
        }
        Ok(ended)
    }

    /// Its first child.
    pub fn child(self) -> Option<Process> {
        let entries = fs::read_dir("/proc").ok()?;
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter_map(|pid| Some((pid, stat(pid)?)))
            .filter(|(_, stat)| stat.parent == self.pid)
            .map(|(pid, stat)| Process { pid, started: stat.started })
            .next()
    }
}

struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

/// Reference: proc_pid_stat(5). The name stands in parentheses and may hold anything.
fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // Field 22 of all, the 18th after the parent.
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, started })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_until_it_ends() {
        let own = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.is_alive());
        assert!(!Process { started: own.started + 1, ..own }.is_alive());
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(process.started >= own.started);
        process.kill().unwrap();
        // A zombie until we ask for it.
        assert!(!process.is_alive());
        child.wait().unwrap();
        assert!(!process.is_alive());
    }
}
