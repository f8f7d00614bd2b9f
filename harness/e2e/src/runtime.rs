use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::process::{Process, eventually};

/// A language runtime whose server and client obey the contract in `programs/README.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// `net/http`.
    Go,
    /// Node's `http`.
    Node,
    /// The JDK's own.
    Java,
    /// `http.server`, `http.client`.
    Python,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Runtime; 4] = [Runtime::Go, Runtime::Node, Runtime::Java, Runtime::Python];

    /// The command that runs its program; `None` if the machine lacks the runtime.
    ///
    /// # Errors
    /// If the program does not build.
    pub fn command(self) -> Result<Option<Command>> {
        let programs = programs();
        Ok(Some(match self {
            Runtime::Go => match go_program()? {
                Some(path) => Command::new(path),
                None => return Ok(None),
            },
            Runtime::Node if has("node") => with(Command::new("node"), &[&programs.join("traffic.mjs")]),
            Runtime::Java if has("java") => with(Command::new("java"), &[&programs.join("Traffic.java")]),
            Runtime::Python if has("python3") => with(Command::new("python3"), &[&programs.join("traffic.py")]),
            Runtime::Node | Runtime::Java | Runtime::Python => return Ok(None),
        }))
    }
}

fn with(mut command: Command, arguments: &[&Path]) -> Command {
    command.args(arguments);
    command
}

fn has(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program} >/dev/null")]).status().is_ok_and(|status| status.success())
}

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs")
}

/// Built once a test binary, into a folder beside it.
fn go_program() -> Result<Option<PathBuf>> {
    static BUILT: OnceLock<Result<Option<PathBuf>, String>> = OnceLock::new();
    BUILT.get_or_init(|| build_go().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn build_go() -> Result<Option<PathBuf>> {
    if !has("go") {
        return Ok(None);
    }
    let path = std::env::current_exe()?.with_file_name(format!("traffic-go-{}", std::process::id()));
    let output = Command::new("go").args(["build", "-o"]).arg(&path).arg(".").current_dir(programs().join("go")).output()?;
    if !output.status.success() {
        bail!("go build: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(Some(path))
}

/// A server under test; ends with the test.
#[derive(Debug)]
pub struct Server {
    /// Its process (for nginx the master: workers answer).
    pub process: Process,
    /// `http://host:port`.
    pub url: String,
    _folder: Option<TempDir>,
}

impl Server {
    /// Starts a runtime's server on an address.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(mut command: Command, address: &str) -> Result<Server> {
        let mut process = Process::start("server", command.args(["serve", address]))?;
        let line = process.line()?;
        let port = line.strip_prefix("listening ").with_context(|| format!("the server said `{line}`"))?;
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        Ok(Server { process, url: format!("http://{host}:{port}"), _folder: None })
    }
}

/// Starts nginx in the foreground with the given `server` blocks; `LISTEN` in them is a socket of its own each time.
///
/// # Errors
/// If it does not start.
pub fn nginx(server_block: &str) -> Result<Server> {
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let config = format!(
        "daemon off; pid {dir}/pid; error_log {dir}/error.log; worker_processes 2; user root;\nevents {{}}\nhttp {{\n\
         access_log off; default_type text/plain; keepalive_requests 100000; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;\n\
         fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
         server {{ listen 127.0.0.1:{port}; listen [::1]:{port}; root {dir}/www; {server_block} }}\n}}\n",
        dir = folder.path().display(),
    );
    std::fs::create_dir(folder.path().join("www"))?;
    std::fs::write(folder.path().join("www/file"), vec![b'f'; 300_000])?;
    let path = folder.path().join("nginx.conf");
    std::fs::write(&path, config)?;
    let log = std::fs::File::create(folder.path().join("stderr"))?;
    let mut process =
        Process::start("nginx", Command::new("nginx").arg("-c").arg(&path).arg("-e").arg(folder.path().join("e")).stderr(log))?;
    eventually("nginx listens", || {
        if !process.is_running() {
            bail!("nginx ended: {}", std::fs::read_to_string(folder.path().join("stderr")).unwrap_or_default());
        }
        Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok())
    })?;
    Ok(Server { process, url: format!("http://127.0.0.1:{port}"), _folder: Some(folder) })
}

/// A port that nobody listens on, for programs that cannot be told to choose one themselves.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// One request to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The verb.
    pub method: &'static str,
    /// Path and query, the marker in it.
    pub path: String,
    /// Size of the request's body.
    pub body_bytes: usize,
    /// The status that the server is asked for.
    pub status: u16,
    /// The size of the answer that the server is asked for.
    pub size: usize,
}

/// `count` requests of all kinds, each with a marker of its own: `MARKER-N`.
pub fn requests(marker: &str, count: usize) -> Vec<Request> {
    const KINDS: [(&str, usize, u16, usize); 8] = [
        ("GET", 0, 200, 10),
        ("GET", 0, 404, 0),
        ("POST", 100, 201, 50),
        ("GET", 0, 200, 700),
        ("HEAD", 0, 200, 5),
        ("PUT", 2_000, 200, 3_000),
        ("GET", 0, 500, 33),
        ("DELETE", 0, 200, 25_000),
    ];
    (0..count)
        .map(|n| {
            let (method, body_bytes, status, size) = KINDS[n % KINDS.len()];
            Request { method, path: format!("/{status}/{size}?m={marker}-{n}"), body_bytes, status, size }
        })
        .collect()
}

/// Sends requests with a runtime's client, and gives what it said it got, by path: status and bytes of the body.
///
/// # Errors
/// If the client fails.
pub fn send(mut client: Command, url: &str, connections: usize, requests: &[Request]) -> Result<BTreeMap<String, (u16, usize)>> {
    let mut child = client.args(["get", url, &connections.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut lines = String::new();
    for request in requests {
        use std::fmt::Write as _;
        writeln!(lines, "{} {} {}", request.method, request.path, request.body_bytes)?;
    }
    child.stdin.take().context("no stdin")?.write_all(lines.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("the client failed: {}", output.status);
    }
    let mut got = BTreeMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let mut fields = line.split(' ');
        let (Some(path), Some(status), Some(bytes)) = (fields.next(), fields.next(), fields.next()) else {
            bail!("the client said `{line}`")
        };
        got.insert(path.to_owned(), (status.parse()?, bytes.parse()?));
    }
    Ok(got)
}
