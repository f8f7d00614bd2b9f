//! `px-fleet` as `ci/fleet` runs it.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::path::Path;
use std::process::{Command, Output};

use anyhow::Result;
use fleet::{Process, eventually, skip_reason};
use support::bin_dir;

fn px_fleet(dir: &Path, words: &[&str]) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_px-fleet")).arg("--dir").arg(dir).args(words).output()?)
}

/// Of a command that succeeds.
fn said(dir: &Path, words: &[&str]) -> Result<String> {
    let output = px_fleet(dir, words)?;
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn it_comes_up_tells_of_its_parts_runs_commands_on_nodes_and_leaves_nothing() -> Result<()> {
    if let Some(reason) = skip_reason() {
        eprintln!("skipped: {reason}");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("fleet");
    let up = said(&dir, &["up", "--pems", "1", "--bin-dir", bin_dir()?.to_str().unwrap()])?;
    let names: Vec<_> = up.lines().map(|line| line.split_once('=').unwrap().0).collect();
    assert_eq!(names, ["PX_VIZIER_ADDR", "PX_CLOUD_ADDR", "PX_API_KEY", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"]);
    let again = px_fleet(&dir, &["up", "--bin-dir", bin_dir()?.to_str().unwrap()])?;
    assert!(String::from_utf8_lossy(&again.stderr).contains("a fleet is up"), "a second one in the same folder");

    let status = said(&dir, &["status"])?;
    let parts: Vec<_> = status.lines().map(|line| line.split(' ').collect::<Vec<_>>()).collect();
    let names: Vec<_> = parts.iter().map(|part| part[0]).collect();
    assert_eq!(names, ["nats", "cloud", "metadata", "cloud-connector", "query-broker", "kelvin-1", "pem-1"]);
    let processes: Vec<_> = parts.iter().map(|part| Process::of(part[1].parse().unwrap()).unwrap()).collect();
    assert!(parts.iter().all(|part| part.len() == 3 && part[2].starts_with("198.18.")), "{status}");

    // A node sees its own processes and none of the machine's, and the exit code is the command's.
    let seen = said(&dir, &["exec", "pem-1", "sh", "-c", "ls -d /proc/[0-9]* | wc -l"])?;
    assert!(seen.trim().parse::<u32>()? < 10, "{seen}");
    assert_eq!(px_fleet(&dir, &["exec", "pem-1", "sh", "-c", "exit 7"])?.status.code(), Some(7));
    let nobody = px_fleet(&dir, &["exec", "kelvin-1", "true"])?;
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("kelvin-1 is no node"));
    said(&dir, &["exec", "pem-1", "sh", "-c", "sleep 86399 >/dev/null 2>&1 &"])?;
    let is_it = |process: std::fs::DirEntry| std::fs::read(process.path().join("cmdline")).is_ok_and(|line| line == b"sleep\086399\0");
    let left_behind = || std::fs::read_dir("/proc").is_ok_and(|processes| processes.flatten().any(is_it));
    assert!(left_behind(), "a process that a node keeps running");

    said(&dir, &["kill", "kelvin-1"])?;
    assert!(said(&dir, &["status"])?.contains("kelvin-1 - "));
    said(&dir, &["start", "kelvin-1"])?;

    said(&dir, &["down"])?;
    assert!(!dir.exists());
    assert!(processes.iter().all(|process| !process.is_alive()), "{status}");
    eventually("the node's own processes gone", || Ok((!left_behind()).then_some(())))?;
    assert!(!px_fleet(&dir, &["status"])?.status.success());
    Ok(())
}
