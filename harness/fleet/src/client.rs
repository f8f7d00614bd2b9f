use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::Fleet;
use crate::parts::CLUSTER_NAME;

/// The table that `#px:set data_quality=true` adds.
const QUALITY_TABLE: &str = "__data_quality__";

/// How a client reaches the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The query broker itself.
    Direct,
    /// Through the control plane.
    Cloud,
}

/// Prints the rows of the table `rows`, an object a line.
const PXAPI_PROGRAM: &str = r#"
import json, sys
import pxapi
address, key, script = sys.argv[1:]
client = pxapi.Client(token=key, server_url=address)
clusters = client.list_healthy_clusters()
assert len(clusters) == 1, clusters
conn = client.connect_to_cluster(clusters[0])
for row in conn.prepare_script(script).results("rows"):
    values = {row.relation.get_col_name(index): row[index] for index in range(row.relation.num_cols())}
    print(json.dumps(values, default=lambda value: value.decode() if isinstance(value, bytes) else str(value)))
"#;

/// What a script came to.
#[derive(Debug, Clone)]
pub struct Answer {
    /// A row each, with its table under `_table_`.
    pub rows: Vec<Value>,
    /// What `px` said beside them: agents that are missing, among others.
    pub notes: String,
}

impl Answer {
    /// The rows of one table.
    pub fn table<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.rows.iter().filter(move |row| row["_table_"] == name)
    }

    /// The agents that are missing in the answer to a script that asks for `data_quality`, by their hosts' names.
    pub fn missing(&self) -> Vec<String> {
        let missing = self.table(QUALITY_TABLE).filter(|row| row["what"] == "agent_missing");
        missing.filter_map(|row| row["hostname"].as_str().map(str::to_owned)).collect()
    }
}

impl Fleet {
    /// Runs a script with `px`.
    ///
    /// # Errors
    /// What `px` said, when it failed.
    pub fn px(&self, way: Way, script: &str) -> Result<Answer> {
        let output = self.px_output(way, script)?;
        let notes = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            bail!("px: {notes}");
        }
        let rows = String::from_utf8(output.stdout)?;
        let rows = rows.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect::<Result<_>>()?;
        Ok(Answer { rows, notes })
    }

    /// `px` as it was built, that knows nothing of the fleet nor of our environment.
    ///
    /// # Errors
    /// It was not built.
    pub fn px_program(&self) -> Result<Command> {
        let mut command = Command::new(self.binary("px")?);
        command.env_clear().stdin(Stdio::null());
        Ok(command)
    }

    /// A `px` that is ready to be started with a script.
    ///
    /// # Errors
    /// It was not built.
    pub fn px_command(&self, way: Way) -> Result<Command> {
        let mut command = self.px_program()?;
        command.args(["--tls-ca", &self.ca()]);
        let key = self.api_key()?;
        match way {
            Way::Direct => command.args(["--addr", &self.vizier_address(), "--direct-vizier-key", &key]),
            Way::Cloud => command.args(["--cloud-addr", &self.cloud_address(), "--api-key", &key]),
        };
        command.args(["run", "-f", "-", "-o", "json"]);
        if way == Way::Cloud {
            command.args(["--cluster", CLUSTER_NAME]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Runs a script with the published Python client, unmodified, and gives the rows of the table `rows`; `None` where it is not installed.
    ///
    /// # Errors
    /// What the client said.
    pub fn pxapi(&self, way: Way, script: &str) -> Result<Option<Vec<Value>>> {
        let python = std::env::var_os("PX_PYTHON").map(PathBuf::from);
        let python = python.or_else(|| std::env::home_dir().map(|home| home.join(".cache/px/venv/bin/python")));
        let Some(python) = python.filter(|path| path.exists()) else { return Ok(None) };
        let address = match way {
            Way::Direct => self.vizier_address(),
            Way::Cloud => self.cloud_address(),
        };
        let mut command = Command::new(python);
        command.args(["-c", PXAPI_PROGRAM, &address, &self.api_key()?, script]).stdin(Stdio::null());
        command.env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", self.ca()).env("GRPC_ENABLE_FORK_SUPPORT", "0");
        let output = command.output()?;
        if !output.status.success() {
            bail!("pxapi: {}", String::from_utf8_lossy(&output.stderr));
        }
        let rows = String::from_utf8(output.stdout)?;
        rows.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect::<Result<_>>().map(Some)
    }

    fn px_output(&self, way: Way, script: &str) -> Result<Output> {
        use std::io::Write as _;
        let mut child = self.px_command(way)?.spawn().context("starting px")?;
        child.stdin.take().context("px has no stdin")?.write_all(script.as_bytes())?;
        Ok(child.wait_with_output()?)
    }
}
