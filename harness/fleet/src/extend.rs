//! What a fleet that is up can be given, and what others who belong to its Vizier need.

use std::path::Path;

use anyhow::{Result, ensure};
use rpc::PartFiles;

use crate::fleet::Fleet;
use crate::pki::Pki;
use crate::process::Process;
use crate::settings::PEMS_MAX;
use crate::start::hold_node;

impl Fleet {
    /// Adds a node with nothing on it, and a certificate for its agent, which [`Self::launch`] starts by the name that this returns.
    ///
    /// # Errors
    /// There are as many as there may be, or the node cannot be made.
    pub fn add_node(&mut self) -> Result<String> {
        let (network, node) = (self.network(), self.record.pems + 1);
        ensure!(node <= PEMS_MAX, "a fleet has at most {PEMS_MAX} nodes");
        // Written first: what there is of it goes with the fleet.
        self.record.pems = node;
        self.write()?;
        network.add_node(node)?;
        let holder = hold_node(network, node)?;
        self.record.nodes.insert(node, holder);
        self.write()?;
        let name = format!("pem-{node}");
        Pki::of(&self.dir).add(&name, vec![network.node_address(node)])?;
        Ok(name)
    }

    /// A certificate of this Vizier for somebody beside its parts, on this machine.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn certify(&self, name: &str) -> Result<PartFiles> {
        Pki::of(&self.dir).add(name, vec![self.machine_address()])
    }

    /// From its next start on, metadata watches the Kubernetes that this file leads to.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn watch_kubernetes(&mut self, kubeconfig: &Path) -> Result<()> {
        self.record.kubeconfig = Some(kubeconfig.to_owned());
        self.write()
    }

    /// The process of a part that was started.
    ///
    /// # Errors
    /// There is none.
    pub fn process(&self, name: &str) -> Result<Process> {
        Ok(self.running(name)?.process)
    }

    /// Where the bus is.
    pub fn nats_url(&self) -> String {
        self.parts().nats_url()
    }

    /// Where the bus' server tells what it carried, over plain HTTP.
    pub fn nats_http_address(&self) -> String {
        self.parts().nats_http_address()
    }

    /// Where this machine is, for the services and the nodes.
    pub fn machine_address(&self) -> String {
        self.network().machine_address()
    }
}
