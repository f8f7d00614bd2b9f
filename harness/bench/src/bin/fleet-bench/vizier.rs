//! The fleet under measurement, and what its processes use.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fleet::{Fleet, Settings, Store};
use harness_bench::usage;
use serde_json::Value;
use tempfile::TempDir;

use crate::Cli;

/// An answer over HTTP takes no longer.
const HTTP_MAX: Duration = Duration::from_secs(10);

/// A fleet that goes down with it.
pub(crate) struct Up {
    pub(crate) fleet: Fleet,
    folder: TempDir,
}

impl Up {
    /// With one Kelvin and the embedded store.
    pub(crate) fn new(cli: &Cli, pems: usize) -> Result<Up> {
        let folder = tempfile::tempdir()?;
        let bin_dir = match &cli.bin_dir {
            Some(dir) => dir.clone(),
            None => std::env::current_exe()?.parent().context("this program lies in no folder")?.to_owned(),
        };
        let settings = Settings { dir: fleet_dir(&folder), bin_dir, pems, kelvins: 1, store: Store::Embedded };
        Ok(Up { fleet: Fleet::up(&settings).context("starting a fleet")?, folder })
    }
}

fn fleet_dir(folder: &TempDir) -> PathBuf {
    folder.path().join("fleet")
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Err(error) = Fleet::open(&fleet_dir(&self.folder)).and_then(Fleet::down) {
            eprintln!("fleet-bench: the fleet does not go down: {error:#}");
        }
    }
}

/// What a part has used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) cpu: Duration,
    pub(crate) memory: usage::Memory,
}

impl Used {
    pub(crate) fn by(fleet: &Fleet, part: &str) -> Result<Used> {
        let pid = u32::try_from(fleet.process(part)?.pid)?;
        let used = usage::cpu(pid).and_then(|cpu| Ok(Used { cpu, memory: usage::memory(pid)? }));
        used.with_context(|| format!("what {part} uses; its log ends:\n{}", fleet.log_end(part)))
    }

    /// CPU since then, as a share of one processor in percent.
    pub(crate) fn percent_since(self, before: Used, period: Duration) -> f64 {
        self.cpu.saturating_sub(before.cpu).as_secs_f64() / period.as_secs_f64() * 100.0
    }
}

/// What the bus' server has carried so far, in both directions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carried {
    pub(crate) bytes: u64,
    pub(crate) messages: u64,
}

impl Carried {
    pub(crate) fn by(fleet: &Fleet) -> Result<Carried> {
        let text = http_get(&fleet.nats_http_address(), "/varz")?;
        let all: Value = serde_json::from_str(&text).context("what nats-server tells is no JSON")?;
        let field = |name: &str| all[name].as_u64().with_context(|| format!("nats-server does not tell {name}"));
        Ok(Carried { bytes: field("in_bytes")? + field("out_bytes")?, messages: field("in_msgs")? + field("out_msgs")? })
    }
}

/// The counters of the metadata service.
pub(crate) struct MetadataCounters(String);

impl MetadataCounters {
    pub(crate) fn read(fleet: &Fleet) -> Result<MetadataCounters> {
        let lines = fleet.ready_lines("metadata")?;
        let address = lines.get(1).context("metadata does not tell how it does")?;
        Ok(MetadataCounters(http_get(address, "/metrics")?))
    }

    /// A counter, by its name without `_total`.
    pub(crate) fn get(&self, name: &str) -> Result<u64> {
        let value = self.0.lines().filter_map(|line| line.split_once(' ')).find(|(found, _)| found.strip_suffix("_total") == Some(name));
        let (_, value) = value.with_context(|| format!("metadata does not count {name}"))?;
        Ok(value.trim().parse()?)
    }
}

fn http_get(address: &str, path: &str) -> Result<String> {
    let told = || -> Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(HTTP_MAX))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        anyhow::ensure!(head.split(' ').nth(1) == Some("200"), "{}", head.lines().next().unwrap_or_default());
        Ok(body.to_owned())
    };
    told().with_context(|| format!("http://{address}{path}"))
}
