use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::Fleet;
use crate::parts::CLUSTER_NAME;

/// How a client reaches the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The query broker itself.
    Direct,
    /// Through the control plane.
    Cloud,
}

/// What a script came to.
#[derive(Debug, Clone)]
pub struct Answer {
    /// A row each, with its table under `_table_`.
    pub rows: Vec<Value>,
    /// What `px` said beside them: agents that are missing, among others.
    pub notes: String,
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

    /// A `px` that is ready to be started with a script.
    ///
    /// # Errors
    /// It was not built.
    pub fn px_command(&self, way: Way) -> Result<Command> {
        let mut command = Command::new(self.binary("px")?);
        command.env_clear().args(["--tls-ca", &self.ca()]);
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

    fn px_output(&self, way: Way, script: &str) -> Result<Output> {
        use std::io::Write as _;
        let mut child = self.px_command(way)?.spawn().context("starting px")?;
        child.stdin.take().context("px has no stdin")?.write_all(script.as_bytes())?;
        Ok(child.wait_with_output()?)
    }
}
