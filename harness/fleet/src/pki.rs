//! What the parts of a fleet know each other by.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use rpc::{Part, PartFiles};

use crate::network::Network;

/// Within the fleet's folder.
const FOLDER: &str = "pki";

/// Paths of certificates and keys.
#[derive(Debug, Clone)]
pub(crate) struct Pki {
    folder: PathBuf,
}

impl Pki {
    pub(crate) fn of(dir: &Path) -> Pki {
        Pki { folder: dir.join(FOLDER) }
    }

    /// Makes everything for parts of these names, at the services' address or at that of their node.
    pub(crate) fn create(dir: &Path, network: Network, services: &[String], pems: &[String]) -> Result<Pki> {
        let pki = Pki::of(dir);
        let service = |name: &String| Part { name: name.clone(), names: vec![network.hub_address()] };
        let pem = |(index, name): (usize, &String)| Part { name: name.clone(), names: vec![network.node_address(index + 1)] };
        let parts: Vec<_> = services.iter().map(service).chain(pems.iter().enumerate().map(pem)).collect();
        rpc::provision(&pki.folder, &parts, SystemTime::now())?;
        rpc::write_secret(&pki.file("jwt-signing-key"), auth::new_signing_key()?.expose())?;
        Ok(pki)
    }

    /// One more, which others reach by these names.
    pub(crate) fn add(&self, name: &str, names: Vec<String>) -> Result<PartFiles> {
        let files = rpc::provision(&self.folder, &[Part { name: name.to_owned(), names }], SystemTime::now())?;
        files.into_iter().next().context("no certificate was made")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn ca(&self) -> String {
        self.text("ca.crt")
    }

    /// The path as text; the fleet's folder is checked to be one.
    pub(crate) fn text(&self, name: &str) -> String {
        self.file(name).to_string_lossy().into_owned()
    }

    /// Puts a secret beside the rest.
    pub(crate) fn keep(&self, name: &str, text: &str) -> Result<()> {
        Ok(rpc::write_secret(&self.file(name), text)?)
    }

    pub(crate) fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.file(name)).ok().map(|text| text.trim().to_owned())
    }
}
