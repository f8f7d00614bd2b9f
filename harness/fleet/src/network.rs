use std::path::Path;

use anyhow::{Result, bail};

use crate::machine::run;

/// Fleets at a time. Their networks are 198.18.1.0/24 and so on, of the range that RFC 2544 keeps for tests of networks.
const NETWORKS_MAX: u8 = 200;
/// The machine's end; the fleet's services have 1, its nodes 10 and more.
const MACHINE_HOST: u8 = 254;
const HUB_HOST: u8 = 1;
const NODE_HOST_FIRST: usize = 10;

/// The network of a fleet: a namespace with a bridge, a link from there to each node, and one to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) number: u8,
}

impl Network {
    /// The first that nobody has. What it consists of is gone after [`Self::remove`].
    pub(crate) fn create() -> Result<Network> {
        for number in 1..=NETWORKS_MAX {
            let network = Network { number };
            if Path::new("/run/netns").join(network.hub()).exists() || has_route(number)? {
                continue;
            }
            // Another fleet may be quicker: who makes the namespace has the number.
            if run("ip", &["netns", "add", &network.hub()]).is_err() {
                continue;
            }
            if let Err(error) = network.fill() {
                network.remove(0)?;
                return Err(error);
            }
            return Ok(network);
        }
        bail!("all {NETWORKS_MAX} networks for fleets are taken: see `ip netns`, ci/fleet down removes one")
    }

    fn fill(self) -> Result<()> {
        let (hub, link) = (self.hub(), self.machine_link());
        let in_hub = |words: &[&str]| run("ip", &[&["-n", &hub], words].concat());
        in_hub(&["link", "set", "lo", "up"])?;
        in_hub(&["link", "add", "bridge", "type", "bridge"])?;
        in_hub(&["addr", "add", &format!("{}/24", self.hub_address()), "dev", "bridge"])?;
        in_hub(&["link", "set", "bridge", "up"])?;
        run("ip", &["link", "add", &link, "type", "veth", "peer", "name", "machine", "netns", &hub])?;
        in_hub(&["link", "set", "machine", "master", "bridge", "up"])?;
        run("ip", &["addr", "add", &format!("{}/24", self.address(usize::from(MACHINE_HOST))), "dev", &link])?;
        run("ip", &["link", "set", &link, "up"]).map(drop)
    }

    /// Adds the namespace of a node, from 1.
    pub(crate) fn add_node(self, node: usize) -> Result<()> {
        let (hub, name, link) = (self.hub(), self.node(node), format!("node{node}"));
        run("ip", &["netns", "add", &name])?;
        let in_node = |words: &[&str]| run("ip", &[&["-n", &name], words].concat());
        in_node(&["link", "set", "lo", "up"])?;
        in_node(&["link", "add", "eth0", "type", "veth", "peer", "name", &link, "netns", &hub])?;
        run("ip", &["-n", &hub, "link", "set", &link, "master", "bridge", "up"])?;
        in_node(&["addr", "add", &format!("{}/24", self.node_address(node)), "dev", "eth0"])?;
        in_node(&["link", "set", "eth0", "up"])?;
        in_node(&["route", "add", "default", "via", &self.hub_address()]).map(drop)
    }

    /// Cuts the link of a node, or mends it: what is under way is lost, and nobody is told.
    pub(crate) fn set_link(self, node: usize, up: bool) -> Result<()> {
        run("ip", &["-n", &self.hub(), "link", "set", &format!("node{node}"), if up { "up" } else { "down" }]).map(drop)
    }

    /// Removes what there is of it, and of as many nodes. All processes in them must have ended.
    pub(crate) fn remove(self, nodes: usize) -> Result<()> {
        for name in (1..=nodes).map(|node| self.node(node)).chain([self.hub()]) {
            if Path::new("/run/netns").join(&name).exists() {
                run("ip", &["netns", "del", &name])?;
            }
        }
        // It goes with its other end, a moment later; whoever looks now shall not see it.
        if Path::new("/sys/class/net").join(self.machine_link()).exists() {
            let _gone = run("ip", &["link", "del", &self.machine_link()]);
        }
        Ok(())
    }

    /// The namespace with the bridge and the services.
    pub(crate) fn hub(self) -> String {
        format!("px-fleet-{}", self.number)
    }

    fn node(self, node: usize) -> String {
        format!("px-fleet-{}-{node}", self.number)
    }

    fn machine_link(self) -> String {
        format!("pxfleet{}", self.number)
    }

    fn address(self, host: usize) -> String {
        format!("198.18.{}.{host}", self.number)
    }

    /// Where the services are.
    pub(crate) fn hub_address(self) -> String {
        self.address(usize::from(HUB_HOST))
    }

    /// Where a node is, from 1.
    pub(crate) fn node_address(self, node: usize) -> String {
        self.address(NODE_HOST_FIRST + node - 1)
    }

    /// Where the machine is, for the services and the nodes.
    pub(crate) fn machine_address(self) -> String {
        self.address(usize::from(MACHINE_HOST))
    }

    /// The file that stands for the namespace of a node, or of the services.
    pub(crate) fn namespace_file(self, node: Option<usize>) -> String {
        format!("/run/netns/{}", node.map_or_else(|| self.hub(), |node| self.node(node)))
    }
}

/// Whether the machine uses that network already.
fn has_route(number: u8) -> Result<bool> {
    Ok(run("ip", &["route", "show", "root", &format!("198.18.{number}.0/24")])?.lines().next().is_some())
}
