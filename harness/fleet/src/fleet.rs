use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;

use crate::client::Way;
use crate::machine::{run, within};
use crate::network::Network;
use crate::parts::{API_KEYS_FILE, DEPLOY_KEY_FILE, Part, Parts, Program};
use crate::pki::Pki;
use crate::process::Process;
use crate::record::{Record, Running};
use crate::settings::Settings;
use crate::start::{await_ready, hold_node, inside, launch, log_end, program};

/// Agents register and dial within seconds; a machine that builds something meanwhile takes its time.
const ANSWERS_MAX: Duration = Duration::from_mins(2);

/// Within the fleet's folder: where the binaries are.
const BINARIES_LINK: &str = "bin";

/// A script that asks who is there: without nodes nobody has tables.
const NO_NODES: &str = "#px:set data_quality=true
import px
px.display(px.GetAgentStatus(), 'agents')
";

/// A script that needs every agent.
const EVERY_AGENT: &str = "#px:set data_quality=true
import px
px.display(px.DataFrame('http_events').head(1), 'rows')
px.display(px.GetAgentStatus(), 'agents')
";

/// What a live agent is called.
const HEALTHY: &str = "AGENT_STATE_HEALTHY";

/// A Vizier of processes that are running, and the right to change them.
#[derive(Debug)]
pub struct Fleet {
    pub(crate) dir: PathBuf,
    pub(crate) record: Record,
}

/// A part and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusLine {
    /// Its name.
    pub name: String,
    /// Its process as the machine sees it, if it runs.
    pub pid: Option<i32>,
    /// Where others reach it, or where it tells how it does.
    pub address: String,
}

impl fmt::Display for StatusLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "{} {pid} {}", self.name, self.address),
            None => write!(f, "{} - {}", self.name, self.address),
        }
    }
}

impl Fleet {
    /// Starts everything, and returns when scripts answer with all agents. Whatever was started is ended where that fails.
    ///
    /// # Errors
    /// Something does not start, with the end of its log; or a fleet is up in that folder.
    pub fn up(settings: &Settings) -> Result<Fleet> {
        let mut fleet = Fleet::create(settings)?;
        if let Err(error) = fleet.start_all().and_then(|()| fleet.await_answers()) {
            // What went wrong first is what matters.
            let _second = fleet.down();
            return Err(error);
        }
        Ok(fleet)
    }

    /// One that is up.
    ///
    /// # Errors
    /// There is none in that folder.
    pub fn open(dir: &Path) -> Result<Fleet> {
        Ok(Fleet { dir: dir.to_owned(), record: Record::read(dir)? })
    }

    fn create(settings: &Settings) -> Result<Fleet> {
        ensure!(!Record::path(&settings.dir).exists(), "a fleet is up in {}: ci/fleet down ends it", settings.dir.display());
        ensure!(settings.dir.to_str().is_some(), "the folder's name is no text");
        for program in ["vizier-pem", "kelvin", "query-broker", "metadata", "cloud", "cloud-connector", "px"] {
            crate::start::program(Program::Ours(program), &settings.bin_dir)?;
        }
        for folder in ["log", "state"] {
            fs::create_dir_all(settings.dir.join(folder)).with_context(|| format!("making {}", settings.dir.display()))?;
        }
        let dir = settings.dir.canonicalize()?;
        let record = Record {
            network: Network::create()?.number,
            bin_dir: settings.bin_dir.canonicalize()?,
            pems: settings.pems,
            kelvins: settings.kelvins,
            store: settings.store,
            nodes: BTreeMap::new(),
            running: BTreeMap::new(),
            cluster_id: None,
            api_key: None,
            kubeconfig: None,
        };
        let fleet = Fleet { dir, record };
        // `ci/fleet` finds its own binary by it.
        std::os::unix::fs::symlink(&fleet.record.bin_dir, fleet.dir.join(BINARIES_LINK))?;
        fleet.write()?;
        Ok(fleet)
    }

    fn start_all(&mut self) -> Result<()> {
        let network = self.network();
        for node in 1..=self.record.pems {
            network.add_node(node)?;
            let holder = hold_node(network, node)?;
            self.record.nodes.insert(node, holder);
            self.write()?;
        }
        let (services, pems) = self.parts().certified();
        Pki::create(&self.dir, network, &services, &pems)?;
        let config = self.parts().nats_config_file();
        fs::create_dir_all(self.parts().state_dir("nats"))?;
        fs::write(config, self.parts().nats_config())?;
        let names: Vec<_> = self.parts().all().into_iter().map(|part| part.name).collect();
        // Nodes at last and at once, since each takes a while to load its programs.
        let (pems, services): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.starts_with("pem-"));
        for name in services {
            self.start(&name)?;
            match name.as_str() {
                "cloud" => self.make_keys()?,
                "cloud-connector" => {
                    let id = fs::read_to_string(self.parts().state_dir(&name).join("ready"))?;
                    self.record.cluster_id = Some(id.trim().to_owned());
                    self.write()?;
                }
                _ => {}
            }
        }
        for name in &pems {
            self.launch(name)?;
        }
        pems.iter().try_for_each(|name| self.await_ready(name))
    }

    /// An API key, which the broker takes too, and a deploy key.
    fn make_keys(&mut self) -> Result<()> {
        let state = self.parts().state_dir("cloud");
        let state = state.to_str().context("the folder's name is no text")?;
        let cloud = self.binary("cloud")?;
        let cloud = cloud.to_str().context("the folder's name is no text")?;
        let key = |kind: &str| run(cloud, &["key", "create", "--kind", kind, "--short", "--state-dir", state]);
        let (api, deploy) = (key("api")?, key("deploy")?);
        let pki = Pki::of(&self.dir);
        pki.keep(API_KEYS_FILE, &api)?;
        pki.keep(DEPLOY_KEY_FILE, &deploy)?;
        self.record.api_key = Some(api.trim().to_owned());
        self.write()
    }

    /// Waits until scripts answer with all agents, directly and, if there are nodes, through the control plane.
    ///
    /// # Errors
    /// They do not, with what was said last.
    pub fn await_answers(&self) -> Result<()> {
        // A Vizier without tables is degraded, and that is what the control plane is told: there is nothing to wait for.
        let (script, ways): (_, &[Way]) =
            if self.record.pems == 0 { (NO_NODES, &[Way::Direct]) } else { (EVERY_AGENT, &[Way::Direct, Way::Cloud]) };
        for &way in ways {
            let mut last = String::new();
            let answered = within(ANSWERS_MAX, "answers with all agents", || {
                match self.px(way, script) {
                    Ok(answer) => {
                        let healthy = answer.table("agents").filter(|row| row["agent_state"] == HEALTHY).count();
                        let missing = answer.missing();
                        if healthy == self.record.pems + self.record.kelvins && missing.is_empty() {
                            return Ok(Some(()));
                        }
                        last = format!("{healthy} healthy agents, missing: {missing:?}");
                    }
                    Err(error) => last = format!("{error:#}"),
                }
                Ok(None)
            });
            answered.with_context(|| format!("{way:?}: {last}"))?;
        }
        Ok(())
    }

    /// Starts a part that does not run, and waits until it serves.
    ///
    /// # Errors
    /// It does not start, with the end of its log.
    pub fn start(&mut self, name: &str) -> Result<()> {
        self.launch(name)?;
        self.await_ready(name)
    }

    /// Starts a part that does not run.
    ///
    /// # Errors
    /// It runs, or cannot be started.
    pub fn launch(&mut self, name: &str) -> Result<()> {
        let part = self.part(name)?;
        ensure!(!self.is_running(name), "{name} runs already");
        let holder = part.node.map(|node| self.holder(node)).transpose()?;
        let running = launch(&self.parts(), &part, &self.record.bin_dir, holder)?;
        self.record.running.insert(name.to_owned(), running);
        self.write()
    }

    /// Waits until a part that was started serves.
    ///
    /// # Errors
    /// It ended, or takes too long.
    pub fn await_ready(&self, name: &str) -> Result<()> {
        await_ready(&self.parts(), &self.part(name)?, self.running(name)?)
    }

    /// Kills a part, as a crash would.
    ///
    /// # Errors
    /// There is none of that name, or it does not go.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let running = self.running(name)?;
        running.process.kill()?;
        running.wrapper.map_or(Ok(()), Process::kill)
    }

    /// Asks a part to end, and waits.
    ///
    /// # Errors
    /// It did not by itself.
    pub fn stop(&mut self, name: &str) -> Result<()> {
        let running = self.running(name)?;
        let ended = running.process.end()?;
        running.wrapper.map_or(Ok(()), Process::kill)?;
        ensure!(ended, "{name} did not end when it was asked to:\n{}", self.log_end(name));
        Ok(())
    }

    /// Freezes a part, as a machine that stands still would.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn freeze(&self, name: &str) -> Result<()> {
        self.running(name)?.process.signal(Signal::STOP);
        Ok(())
    }

    /// Lets a frozen part go on.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn thaw(&self, name: &str) -> Result<()> {
        let running = self.running(name)?;
        // What waits for it has stopped with it.
        running.wrapper.into_iter().for_each(|wrapper| wrapper.signal(Signal::CONT));
        running.process.signal(Signal::CONT);
        Ok(())
    }

    /// Cuts the link of a node, as a pulled cable would.
    ///
    /// # Errors
    /// There is no such node.
    pub fn cut(&self, pem: &str) -> Result<()> {
        self.network().set_link(self.node(pem)?, false)
    }

    /// Mends it.
    ///
    /// # Errors
    /// There is no such node.
    pub fn mend(&self, pem: &str) -> Result<()> {
        self.network().set_link(self.node(pem)?, true)
    }

    /// Kills a part and starts it again.
    ///
    /// # Errors
    /// As [`Self::kill`] and [`Self::start`].
    pub fn restart(&mut self, name: &str) -> Result<()> {
        self.kill(name)?;
        self.start(name)
    }

    /// A command on a node, ready to be started.
    ///
    /// # Errors
    /// There is no such node.
    pub fn command(&self, pem: &str, words: &[String]) -> Result<Command> {
        let mut command = inside(self.network(), Some(self.holder(self.node(pem)?)?));
        command.args(words);
        Ok(command)
    }

    /// The address of a node, from 1.
    pub fn node_address(&self, node: usize) -> String {
        self.network().node_address(node)
    }

    /// Each part and how it is.
    pub fn status(&self) -> Vec<StatusLine> {
        let line = |part: Part| {
            let pid = self.running(&part.name).ok().filter(|running| running.process.is_alive()).map(|running| running.process.pid);
            StatusLine { name: part.name, pid, address: part.address }
        };
        self.parts().all().into_iter().map(line).collect()
    }

    /// What clients need, as lines NAME=VALUE.
    ///
    /// # Errors
    /// It did not come up in full.
    pub fn variables(&self) -> Result<String> {
        let (vizier, cloud, key, ca) = (self.vizier_address(), self.cloud_address(), self.api_key()?, self.ca());
        Ok(format!("PX_VIZIER_ADDR={vizier}\nPX_CLOUD_ADDR={cloud}\nPX_API_KEY={key}\nGRPC_DEFAULT_SSL_ROOTS_FILE_PATH={ca}"))
    }

    /// Where the broker serves.
    pub fn vizier_address(&self) -> String {
        self.parts().broker_address()
    }

    /// Where the control plane serves.
    pub fn cloud_address(&self) -> String {
        self.parts().cloud_address()
    }

    /// What clients trust.
    pub fn ca(&self) -> String {
        Pki::of(&self.dir).ca()
    }

    /// What clients show, to the broker and to the control plane.
    ///
    /// # Errors
    /// The control plane did not start.
    pub fn api_key(&self) -> Result<String> {
        self.record.api_key.clone().or_else(|| Pki::of(&self.dir).read(API_KEYS_FILE)).context("no key was made")
    }

    /// The cluster's id, as the control plane gave it.
    pub fn cluster_id(&self) -> Option<&str> {
        self.record.cluster_id.as_deref()
    }

    /// What a part wrote when it was ready, line by line.
    ///
    /// # Errors
    /// It was not yet.
    pub fn ready_lines(&self, name: &str) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.parts().state_dir(name).join("ready"))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The last lines of a part's log.
    pub fn log_end(&self, name: &str) -> String {
        log_end(&self.parts().log(name))
    }

    /// The whole log of a part.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.parts().log(name)).unwrap_or_default()
    }

    pub(crate) fn binary(&self, name: &'static str) -> Result<PathBuf> {
        program(Program::Ours(name), &self.record.bin_dir)
    }

    /// Ends what was started, and removes namespaces, links and the folder.
    ///
    /// # Errors
    /// Something does not go.
    pub fn down(self) -> Result<()> {
        let parts = self.parts().all();
        for part in parts.iter().rev() {
            if let Ok(running) = self.running(&part.name) {
                running.process.end()?;
                running.wrapper.map_or(Ok(()), Process::kill)?;
            }
        }
        // With the first process of a PID namespace go all others in it.
        self.record.nodes.values().try_for_each(|holder| holder.kill())?;
        self.network().remove(self.record.pems)?;
        fs::remove_dir_all(&self.dir).with_context(|| format!("removing {}", self.dir.display()))
    }

    /// Whether a part runs.
    pub fn is_running(&self, name: &str) -> bool {
        self.running(name).is_ok_and(|running| running.process.is_alive())
    }

    pub(crate) fn parts(&self) -> Parts {
        Parts::of(&self.record, &self.dir)
    }

    fn part(&self, name: &str) -> Result<Part> {
        let mut parts = self.parts().all();
        let names = || parts.iter().map(|part| part.name.clone()).collect::<Vec<_>>().join(", ");
        match parts.iter().position(|part| part.name == name) {
            Some(index) => Ok(parts.swap_remove(index)),
            None => bail!("there is no part `{name}`: there are {}", names()),
        }
    }

    fn node(&self, pem: &str) -> Result<usize> {
        self.part(pem)?.node.with_context(|| format!("{pem} is no node: pem-1, … are"))
    }

    pub(crate) fn running(&self, name: &str) -> Result<Running> {
        self.record.running.get(name).copied().with_context(|| format!("{name} was not started"))
    }

    fn holder(&self, node: usize) -> Result<Process> {
        let holder = self.record.nodes.get(&node).copied().filter(|holder| holder.is_alive());
        holder.with_context(|| format!("the namespaces of node {node} are gone"))
    }

    pub(crate) fn network(&self) -> Network {
        Network { number: self.record.network }
    }

    pub(crate) fn write(&self) -> Result<()> {
        self.record.write(&self.dir)
    }
}
