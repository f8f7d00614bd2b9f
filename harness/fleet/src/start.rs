//! Starts a part and waits until it serves.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::machine::{eventually, server};
use crate::network::Network;
use crate::parts::{Part, Parts, Program, Sign};
use crate::process::Process;
use crate::record::Running;

/// What a part's log ends with, in an error.
const LOG_LINES: usize = 15;
/// A try to connect that takes longer has met a part that is stopped, or none.
const CONNECT_MAX: Duration = Duration::from_millis(500);

/// Holds the namespaces of a node: the first process in them, which does nothing but be there. Children of others that end below it are
/// forgotten by the kernel, since it ignores them.
pub(crate) fn hold_node(network: Network, node: usize) -> Result<Process> {
    let mut command = Command::new("setsid");
    command.args(["nsenter", &format!("--net={}", network.namespace_file(Some(node))), "--"]);
    command.args(["unshare", "--pid", "--fork", "--mount", "--mount-proc", "--kill-child", "--"]);
    command.args(["sh", "-c", "trap '' CHLD; exec sleep infinity"]);
    let outer = spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
    // The same process by and by is setsid, nsenter and unshare; its child holds the namespaces, and is `sleep` in the end.
    let held = eventually("the namespaces of a node", || {
        let Some(held) = outer.child() else { return Ok(None) };
        let name = fs::read_to_string(format!("/proc/{}/comm", held.pid)).unwrap_or_default();
        Ok((name.trim() == "sleep").then_some(held))
    })?;
    Ok(held)
}

/// How to run something on a node, or beside the services.
pub(crate) fn inside(network: Network, holder: Option<Process>) -> Command {
    let mut command = Command::new("nsenter");
    match holder {
        // It stays the same process.
        None => command.arg(format!("--net={}", network.namespace_file(None))),
        // It stays as the parent of the process, which is in the namespaces.
        Some(holder) => command.args(["--target", &holder.pid.to_string(), "--net", "--pid", "--mount"]),
    };
    command.arg("--");
    command
}

/// Starts a part; it does not serve yet.
pub(crate) fn launch(parts: &Parts, part: &Part, bin_dir: &Path, holder: Option<Process>) -> Result<Running> {
    if let Sign::File(ready) = &part.sign {
        let _none = fs::remove_file(ready);
    }
    fs::create_dir_all(parts.state_dir(&part.name))?;
    let log = File::options().create(true).append(true).open(parts.log(&part.name)).with_context(|| format!("the log of {}", part.name))?;
    let mut inside = inside(parts.network, holder);
    let mut command = Command::new("setsid");
    command.arg(inside.get_program()).args(inside.get_args()).arg(program(part.program, bin_dir)?).args(&part.words);
    // What is in our own environment is not meant for them.
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.envs(part.variables.iter().map(|(name, value)| (name, value)));
    inside.stdin(Stdio::null());
    let outer =
        spawn(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log)).with_context(|| format!("starting {}", part.name))?;
    if holder.is_none() {
        return Ok(Running { process: outer, wrapper: None });
    }
    let process = eventually(&format!("the process of {}", part.name), || {
        if !outer.is_alive() {
            bail!("{} ended at once:\n{}", part.name, log_end(&parts.log(&part.name)));
        }
        Ok(outer.child())
    })?;
    Ok(Running { process, wrapper: Some(outer) })
}

/// Waits until a part serves.
pub(crate) fn await_ready(parts: &Parts, part: &Part, running: Running) -> Result<()> {
    let serves = || match &part.sign {
        Sign::File(path) => fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n')),
        Sign::Port => part.address.parse().is_ok_and(|address| TcpStream::connect_timeout(&address, CONNECT_MAX).is_ok()),
    };
    let waited = eventually(&format!("{} ready", part.name), || {
        if serves() {
            return Ok(Some(()));
        }
        if !running.process.is_alive() {
            bail!("{} ended", part.name);
        }
        Ok(None)
    });
    waited.with_context(|| format!("the log of {} ends:\n{}", part.name, log_end(&parts.log(&part.name))))
}

/// The last lines of a log.
pub(crate) fn log_end(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

pub(crate) fn program(program: Program, bin_dir: &Path) -> Result<PathBuf> {
    match program {
        Program::Ours(name) => {
            let path = bin_dir.join(name);
            if !path.is_file() {
                bail!("{} was not built", path.display());
            }
            Ok(path)
        }
        Program::Server(name) => server(name).with_context(|| format!("{name} is missing: ci/setup installs it")),
    }
}

fn is_ours(variable: &str) -> bool {
    variable.starts_with("PX_") || variable.starts_with("PL_")
}

/// Starts it, and lets a thread wait for it, so that it does not stay as a zombie while we live.
fn spawn(command: &mut Command) -> Result<Process> {
    let mut child: Child = command.spawn()?;
    let process = Process::of(i32::try_from(child.id())?);
    std::thread::spawn(move || child.wait());
    process.context("it ended at once")
}
