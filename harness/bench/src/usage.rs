//! What processes use, as the kernel tells it.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// CPU time of a process so far: user and system.
///
/// # Errors
/// It is gone.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("/proc/PID/stat has no name")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || -> Result<u64> { Ok(fields.next().context("/proc/PID/stat is short")?.parse()?) };
    Ok(Duration::from_millis((ticks()? + ticks()?) * 10))
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// Resident at its peak.
    pub peak: u64,
    /// Resident now, and no file's.
    pub anonymous: u64,
}

/// What `/proc/PID/status` tells.
///
/// # Errors
/// The process is gone.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
        Ok(line.split_whitespace().nth(1).context("no value")?.parse::<u64>()? * 1024)
    };
    Ok(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")?, anonymous: field("RssAnon:")? })
}

/// Time spent in BPF programs whose names are ours, by the kernel's own statistics; needs `kernel.bpf_stats_enabled`.
#[derive(Debug)]
pub struct ProgramStats;

const SYSCTL: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl ProgramStats {
    /// Switches the statistics on until it is dropped.
    ///
    /// # Errors
    /// Only root may.
    pub fn enable() -> Result<ProgramStats> {
        fs::write(SYSCTL, "1").context(SYSCTL)?;
        Ok(ProgramStats)
    }

    /// (runs, time) of all programs of a process, read from its descriptors.
    ///
    /// # Errors
    /// The process is gone.
    #[allow(clippy::unused_self, reason = "the statistics must be on")]
    pub fn read(&self, pid: u32) -> Result<(u64, Duration)> {
        let (mut runs, mut nanoseconds) = (0, 0);
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
            // Links carry the id of their program too, but no statistics.
            if let (Some(time), Some(count)) = (field("run_time_ns:"), field("run_cnt:")) {
                nanoseconds += time;
                runs += count;
            }
        }
        Ok((runs, Duration::from_nanos(nanoseconds)))
    }
}

impl Drop for ProgramStats {
    fn drop(&mut self) {
        // Best effort: the next boot has it off.
        let _ = fs::write(SYSCTL, "0");
    }
}
