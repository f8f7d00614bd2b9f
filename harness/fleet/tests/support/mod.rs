//! What the tests of a fleet share.
#![allow(dead_code, reason = "each test uses its part")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use fleet::{Answer, Fleet, Settings, Store, Way, eventually, skip_reason};
use serde_json::Value;
use tempfile::TempDir;

/// One fleet at a time: each takes the machine for itself.
static TURN: Mutex<()> = Mutex::new(());

/// Where the servers on nodes listen. The nodes' addresses are the fleet's own.
const HTTP_PORT: u16 = 8000;

/// A fleet for a test; ends with it.
pub(crate) struct World {
    fleet: Option<Fleet>,
    // In this order: its folder goes after it, the turn last.
    _folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// `None` where the machine cannot run one.
    pub(crate) fn new(pems: usize, kelvins: usize, store: Store) -> Result<Option<World>> {
        if let Some(reason) = skip_reason() {
            eprintln!("skipped: {reason}");
            return Ok(None);
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir()?;
        let settings = Settings { dir: folder.path().join("fleet"), bin_dir: bin_dir()?, pems, kelvins, store };
        Ok(Some(World { fleet: Some(Fleet::up(&settings)?), _folder: folder, _turn: turn }))
    }

    pub(crate) fn fleet(&mut self) -> &mut Fleet {
        self.fleet.as_mut().expect("it is up until it is dropped")
    }

    /// A server on the first node; requests from all nodes, each with the marker in its path and answered. How many of them.
    pub(crate) fn traffic(&mut self, marker: &str, pems: usize, requests: usize) -> Result<usize> {
        let address = self.fleet().node_address(1);
        let port = HTTP_PORT.to_string();
        let server = self.on("pem-1", &["/usr/bin/python3", "-m", "http.server", &port, "--bind", &address])?;
        let _server = Ended(server);
        eventually("the server on the first node", || {
            Ok(std::net::TcpStream::connect((address.as_str(), HTTP_PORT)).is_ok().then_some(()))
        })?;
        for node in 1..=pems {
            for request in 0..requests {
                let url = format!("http://{address}:{port}/?m={marker}-{node}-{request}");
                let done = self.command(&format!("pem-{node}"), &["curl", "-s", "-o", "/dev/null", &url])?.status()?;
                ensure!(done.success(), "curl on node {node}: {done}");
            }
        }
        Ok(pems * requests)
    }

    /// Rows of the marked requests: on both sides of each.
    pub(crate) fn marked(&mut self, way: Way, marker: &str) -> Result<Answer> {
        self.fleet().px(way, &script(marker))
    }

    /// Waits until there are as many rows as shall come. A row that came twice would be among them, since each node's rows come in order.
    pub(crate) fn await_marked(&mut self, way: Way, marker: &str, count: usize) -> Result<Answer> {
        eventually(&format!("{count} rows of {marker}"), || {
            let Ok(answer) = self.marked(way, marker) else { return Ok(None) };
            Ok((answer.table("rows").count() >= count && answer.missing().is_empty()).then_some(answer))
        })
    }

    /// The agents as metadata knows them: host, id, number.
    pub(crate) fn agents(&mut self) -> Result<Vec<(String, String, i64)>> {
        let answer = self.fleet().px(Way::Direct, "import px\npx.display(px.GetAgentStatus(), 'agents')\n")?;
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let mut agents: Vec<_> =
            answer.table("agents").map(|row| (text(row, "hostname"), text(row, "agent_id"), row["asid"].as_i64().unwrap_or(-1))).collect();
        agents.sort();
        Ok(agents)
    }

    fn on(&mut self, pem: &str, words: &[&str]) -> Result<Child> {
        let mut command = self.command(pem, words)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().context("starting a server on a node")
    }

    fn command(&mut self, pem: &str, words: &[&str]) -> Result<Command> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        self.fleet().command(pem, &words)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(fleet) = self.fleet.take()
            && let Err(error) = fleet.down()
        {
            eprintln!("the fleet does not go down: {error:#}");
        }
    }
}

/// A child that ends with its owner. What put it on the node passes the signal on by dying: the node's process sees its end.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let own = i32::try_from(self.0.id()).ok().and_then(fleet::Process::of);
        if let Some(server) = own.and_then(fleet::Process::child) {
            let _gone = server.kill();
        }
        let _gone = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// Rows of the marked requests, with the host that captured them.
pub(crate) fn script(marker: &str) -> String {
    format!(
        "#px:set data_quality=true\n#px:set max_output_rows_per_table=100000\nimport px\ndf = px.DataFrame('http_events')\n\
         df = df[px.contains(df.req_path, 'm={marker}-')]\ndf.asid = px.upid_to_asid(df.upid)\n\
         px.display(df[['req_path', 'trace_role', 'resp_status', 'asid']], 'rows')\n"
    )
}

/// Where the binaries are: as the environment says, or beside this test.
pub(crate) fn bin_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("PX_FLEET_BIN_DIR") {
        return Ok(dir.into());
    }
    let program = std::env::current_exe()?;
    let folder = program.parent().context("this program lies in no folder")?;
    Ok(if folder.ends_with("deps") { folder.parent().unwrap_or(folder).to_owned() } else { folder.to_owned() })
}
