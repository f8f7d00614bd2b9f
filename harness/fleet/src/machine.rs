//! What of this machine a fleet depends on.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long anything may take to come about. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(1);
/// Pause between two looks at something that comes about by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Why a fleet cannot run here; `None` if it can. With `CI` set that is a failure.
pub fn skip_reason() -> Option<String> {
    let missing = |program: &&&str| {
        Command::new(**program).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
    };
    let reason = if !rustix::process::geteuid().is_root() {
        "not root: namespaces and captures need it".to_owned()
    } else if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        "this kernel carries no BTF".to_owned()
    } else if let Some(program) = ["ip", "nsenter", "unshare", "setsid"].iter().find(missing) {
        format!("{program} is missing: ci/setup installs it")
    } else if server("nats-server").is_none() {
        "nats-server is missing: ci/setup installs it".to_owned()
    } else {
        return None;
    };
    assert!(std::env::var_os("CI").is_none(), "cannot run: {reason}");
    Some(reason)
}

/// Where a server's program is: where `ci/setup` put it, or in the path.
pub(crate) fn server(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("PX_CACHE").map(PathBuf::from).or_else(|| std::env::home_dir().map(|home| home.join(".cache/px")));
    let ours = cache.map(|cache| cache.join("tools/bin").join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let everywhere = ours.into_iter().chain(std::env::split_paths(&path).map(|folder| folder.join(name)));
    everywhere.into_iter().find(|file| file.is_file())
}

/// Runs a command to its end; its output, or what it said.
pub(crate) fn run(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output().with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Looks until `look` finds something; fails, naming `what`, when patience ends.
///
/// # Errors
/// What `look` said, or that time ran out.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    within(PATIENCE, what, look)
}

pub(crate) fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("{what}: not within {patience:?}");
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
