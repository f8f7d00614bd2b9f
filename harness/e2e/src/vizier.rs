use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, binary, eventually};
use crate::runtime::{Runtime, Server, requests, send};

/// A running `vizier`, with a state folder of its own; ends with the test.
#[derive(Debug)]
pub struct Vizier {
    process: Process,
    address: String,
    folder: TempDir,
}

/// Why this machine cannot run the end-to-end tests; `None` if it can. In CI that is a failure.
pub fn skip_reason() -> Option<String> {
    let reason = if !rustix::process::geteuid().is_root() {
        "not root: the agent needs CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE"
    } else if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        "this kernel carries no BTF"
    } else {
        return None;
    };
    assert!(std::env::var_os("CI").is_none(), "cannot run: {reason}");
    Some(reason.to_owned())
}

impl Vizier {
    /// Starts it and waits until it captures.
    ///
    /// # Errors
    /// If it ends or does not become ready; its log is part of the message.
    pub fn start(arguments: &[&str]) -> Result<Vizier> {
        Vizier::start_by(&[], arguments)
    }

    /// As [`Self::start`], by way of another command (`unshare …`) that runs it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_by(wrapper: &[&str], arguments: &[&str]) -> Result<Vizier> {
        let folder = tempfile::tempdir()?;
        let ready = folder.path().join("ready");
        let program = binary("vizier")?;
        let mut command = match wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .args(["run", "--listen", "127.0.0.1:0", "--ready-file"])
            .arg(&ready)
            .arg("--state-dir")
            .arg(folder.path().join("state"))
            .args(arguments)
            .stderr(fs::File::create(folder.path().join("log"))?);
        let mut process = Process::start("vizier", &mut command)?;
        let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let address = eventually("vizier ready", || match fs::read_to_string(&ready) {
            Ok(text) if !text.trim().is_empty() => Ok(Some(text.trim().to_owned())),
            _ if process.is_running() => Ok(None),
            _ => bail!("vizier ended:\n{}", log()),
        })
        .with_context(log)?;
        Ok(Vizier { process, address, folder })
    }

    /// The address it serves.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process id, as this process's namespace sees it.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Its state folder.
    pub fn state_dir(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }

    /// Runs a script with `px` and gives its rows.
    ///
    /// # Errors
    /// What `px` printed on stderr.
    pub fn rows(&self, script: &str) -> Result<Vec<Value>> {
        let mut child = Command::new(binary("px")?)
            .args(["--addr", &self.address, "run", "-f", "-", "-o", "json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("px has no stdin")?.write_all(script.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("px: {}\nscript:\n{script}\nvizier's log:\n{}", String::from_utf8_lossy(&output.stderr), self.log());
        }
        String::from_utf8(output.stdout)?.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Rows of http_events whose path carries the run's marker.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub fn http_rows(&self, marker: &str) -> Result<Vec<Value>> {
        let mut script = String::from("#px:set max_output_rows_per_table=1000000\nimport px\n");
        write!(
            script,
            "df = px.DataFrame('http_events')\ndf = df[px.contains(df.req_path, 'm={marker}-')]\ndf.pid = px.upid_to_pid(df.upid)\npx.display(df)\n"
        )?;
        self.rows(&script)
    }

    /// Ends it. The exit code.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn stop(&mut self) -> Result<Option<i32>> {
        self.process.stop()
    }
}

impl Vizier {
    /// The rows of a run, once there are as many as shall come, and once something that happened later has come too:
    /// so that a row that came twice would be among them. Where fewer come in time, those that did.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub fn settled_rows(&self, marker: &str, count: usize) -> Result<Vec<Value>> {
        let enough = eventually("all rows", || Ok(Some(self.http_rows(marker)?).filter(|rows| rows.len() >= count)));
        if enough.is_err() {
            return self.http_rows(marker);
        }
        self.pass_sentinel(marker)?;
        self.http_rows(marker)
    }

    /// Sends one more request between two processes of ours and waits for its rows: all that was captured before it can be queried then.
    fn pass_sentinel(&self, marker: &str) -> Result<()> {
        let Some(server) = Runtime::Python.command()? else { bail!("python3 is missing") };
        let Some(client) = Runtime::Python.command()? else { bail!("python3 is missing") };
        let server = Server::start(server, "127.0.0.1")?;
        let sentinel = format!("sentinel-{marker}");
        send(client, &server.url, 1, &requests(&sentinel, 1))?;
        eventually("the sentinel", || Ok(Some(self.http_rows(&sentinel)?).filter(|rows| rows.len() >= 2)))?;
        Ok(())
    }
}
