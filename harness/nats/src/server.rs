use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::Certificates;

/// Takes any free port.
const ANY_PORT: &str = "-1";

/// How a server is set up. By default: plaintext, no credentials, payloads up to 1 MiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup<'a> {
    /// With TLS, and certificates demanded of clients.
    pub certificates: Option<&'a Certificates>,
    /// Demanded of clients.
    pub token: Option<&'a str>,
    /// The largest message, with its headers.
    pub payload_bytes_max: Option<usize>,
}

/// A running server on a free port of loopback. It ends when it is dropped.
#[derive(Debug)]
pub struct NatsServer {
    folder: TempDir,
    settings: String,
    port: String,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl NatsServer {
    /// Whether there is a nats-server. Without one a test says `skipped` and why; with `CI` set it fails.
    #[allow(clippy::print_stdout, reason = "says why a test was skipped")]
    pub fn is_available() -> bool {
        let runs = Command::new(program()).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let available = runs.is_ok_and(|status| status.success());
        if !available {
            assert!(std::env::var_os("CI").is_none(), "nats-server is missing: ci/setup installs it");
            println!("skipped: nats-server is missing: ci/setup installs it");
        }
        available
    }

    /// Starts one, and waits until it listens.
    ///
    /// # Errors
    /// If it does not, with what it said.
    pub fn start(setup: &Setup<'_>) -> Result<NatsServer> {
        let folder = tempfile::tempdir()?;
        let mut server = NatsServer { folder, settings: settings(setup)?, port: ANY_PORT.to_owned(), running: None };
        server.start_again()?;
        Ok(server)
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Ends it, if it runs.
    ///
    /// # Errors
    /// If it cannot be ended.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        running.child.kill()?;
        running.child.wait()?;
        // It read until the end of the pipe, which has come.
        let _read = running.reader.take().map(JoinHandle::join);
        Ok(())
    }

    /// Starts it with the same settings at the same port, and waits until it listens.
    ///
    /// # Errors
    /// If it does not, with what it said.
    pub fn start_again(&mut self) -> Result<()> {
        self.stop()?;
        let config = self.folder.path().join("nats.conf");
        fs::write(&config, format!("listen: \"127.0.0.1:{}\"\n{}", self.port, self.settings))?;
        let mut command = Command::new(program());
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("starting nats-server")?;
        let mut log = BufReader::new(child.stderr.take().context("its stderr is not piped")?);
        let running = self.running.insert(Running { child, reader: None });
        self.port = listening(&mut log)?;
        // Whoever logs into a pipe that nobody reads stands still.
        running.reader = Some(std::thread::spawn(move || log.lines().map_while(Result::ok).for_each(drop)));
        Ok(())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _stopped = self.stop();
    }
}

/// Reads the log until the server is ready; the port that it has taken.
fn listening(log: &mut BufReader<ChildStderr>) -> Result<String> {
    let (mut said, mut port) = (String::new(), None);
    loop {
        let mut line = String::new();
        if log.read_line(&mut line)? == 0 {
            bail!("nats-server ended: {said}");
        }
        if let Some((_, address)) = line.trim_end().split_once("Listening for client connections on ") {
            port = address.rsplit_once(':').map(|(_, port)| port.to_owned());
        }
        if line.contains("Server is ready") {
            return port.context("nats-server did not say where it listens");
        }
        said.push_str(&line);
    }
}

fn settings(setup: &Setup<'_>) -> Result<String> {
    let mut text = String::new();
    if let Some(bytes) = setup.payload_bytes_max {
        writeln!(text, "max_payload: {bytes}")?;
    }
    if let Some(token) = setup.token {
        writeln!(text, "authorization {{ token: \"{token}\" }}")?;
    }
    if let Some(certificates) = setup.certificates {
        let files = &certificates.server;
        let (certificate, key, ca) = (files.certificate.display(), files.key.display(), files.ca.display());
        writeln!(text, "tls {{ cert_file: \"{certificate}\", key_file: \"{key}\", ca_file: \"{ca}\", verify: true }}")?;
    }
    Ok(text)
}

fn program() -> PathBuf {
    let of_setup = std::env::var_os("PX_CACHE").map(PathBuf::from).or_else(|| std::env::home_dir().map(|home| home.join(".cache/px")));
    of_setup.map(|cache| cache.join("tools/bin/nats-server")).filter(|path| path.exists()).unwrap_or_else(|| "nats-server".into())
}
