use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::process::Process;
use crate::settings::Store;

/// Within the fleet's folder.
const RECORD_FILE: &str = "fleet.json";

/// What was started, as the fleet's folder has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Which of the networks.
    pub(crate) network: u8,
    pub(crate) bin_dir: PathBuf,
    pub(crate) pems: usize,
    pub(crate) kelvins: usize,
    pub(crate) store: Store,
    /// What holds the namespaces of the nodes; by the node's number.
    pub(crate) nodes: BTreeMap<usize, Process>,
    /// By the part's name.
    pub(crate) running: BTreeMap<String, Running>,
    /// What the control plane gave the cluster.
    pub(crate) cluster_id: Option<String>,
    pub(crate) api_key: Option<String>,
    /// How metadata finds the Kubernetes that it watches, if it does.
    #[serde(default)]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// A part that was started.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Running {
    /// The part itself.
    pub(crate) process: Process,
    /// What put it into its node's namespaces and waits for it.
    pub(crate) wrapper: Option<Process>,
}

impl Record {
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join(RECORD_FILE)
    }

    pub(crate) fn read(dir: &Path) -> Result<Record> {
        let path = Record::path(dir);
        let text = fs::read_to_string(&path).with_context(|| format!("no fleet is up in {}", dir.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no record of a fleet", path.display()))
    }

    /// As a whole, so that whoever reads sees the old one or the new one.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let path = Record::path(dir);
        let fresh = path.with_extension("new");
        fs::write(&fresh, serde_json::to_string_pretty(self)?).with_context(|| format!("writing {}", fresh.display()))?;
        fs::rename(&fresh, &path).with_context(|| format!("writing {}", path.display()))
    }
}
