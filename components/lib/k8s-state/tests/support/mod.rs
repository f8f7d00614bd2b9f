//! Objects from one line of text.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use ids::UnixNs;
use k8s_state::{
    Container, ContainerId, ContainerState, Deployment, Endpoint, EndpointSlice, Kind, Meta, Namespace, Node, Object, Owner, Phase, Pod,
    Qos, ReplicaCounts, ReplicaSet, ResourceVersion, Runtime, Service, Uid,
};

/// `KIND UID key=value … flag …`
pub(crate) struct Line<'a> {
    words: Vec<&'a str>,
}

impl<'a> Line<'a> {
    pub(crate) fn new(text: &'a str) -> Line<'a> {
        Line { words: text.split_whitespace().collect() }
    }

    pub(crate) fn word(&self, at: usize) -> Result<&'a str> {
        self.words.get(at).copied().with_context(|| format!("too short: `{}`", self.words.join(" ")))
    }

    pub(crate) fn all<'b>(&'b self, key: &'b str) -> impl Iterator<Item = &'a str> + 'b {
        self.words.iter().filter_map(move |word| word.split_once('=').filter(|(name, _)| *name == key).map(|(_, value)| value))
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.words.contains(&flag)
    }

    pub(crate) fn time(&self, key: &str) -> Result<Option<UnixNs>> {
        self.all(key).next().map(seconds).transpose()
    }

    pub(crate) fn version(&self) -> Result<ResourceVersion> {
        Ok(ResourceVersion(self.all("version").next().unwrap_or("0").parse()?))
    }

    fn addresses(&self, key: &str) -> Result<Vec<IpAddr>> {
        self.all(key).map(|text| Ok(text.parse()?)).collect()
    }

    /// The object from the word at `at` on; `seen` is when it was made if that is not said.
    pub(crate) fn object(&self, at: usize, seen: UnixNs) -> Result<Object> {
        let (namespace, name) = self.all("name").next().map_or(("", ""), |name| name.split_once('/').unwrap_or(("", name)));
        let meta = Meta {
            uid: Uid::new(self.word(at + 1)?),
            namespace: namespace.into(),
            name: name.into(),
            version: self.version()?,
            created: self.time("created")?.unwrap_or(seen),
            labels: BTreeMap::new(),
            owners: self.all("owner").map(owner).collect::<Result<_>>()?,
        };
        Ok(match kind(self.word(at)?)? {
            Kind::Pod => Object::Pod(self.pod(meta)?),
            Kind::Service => {
                Object::Service(Service { meta, cluster_addresses: self.addresses("ip")?, external_addresses: self.addresses("external")? })
            }
            Kind::EndpointSlice => {
                let pods = self.all("pod").map(|uid| Endpoint { addresses: vec![], pod: Some(Uid::new(uid)) });
                let others = self.addresses("ip")?.into_iter().map(|address| Endpoint { addresses: vec![address], pod: None });
                let endpoints = pods.chain(others).collect();
                Object::EndpointSlice(EndpointSlice { meta, service: self.all("service").next().unwrap_or_default().into(), endpoints })
            }
            Kind::Node => {
                let (addresses, hostname) = (self.addresses("ip")?, meta.name.clone());
                Object::Node(Node { meta, addresses, hostname, pod_ranges: vec![], conditions: vec![] })
            }
            Kind::Namespace => Object::Namespace(Namespace { meta }),
            Kind::ReplicaSet => Object::ReplicaSet(ReplicaSet { meta, replicas: ReplicaCounts::default(), conditions: vec![] }),
            Kind::Deployment => Object::Deployment(Deployment { meta, replicas: ReplicaCounts::default(), conditions: vec![] }),
        })
    }

    fn pod(&self, meta: Meta) -> Result<Pod> {
        let phase = match self.all("phase").next() {
            None | Some("running") => Phase::Running,
            Some("pending") => Phase::Pending,
            Some("succeeded") => Phase::Succeeded,
            Some("failed") => Phase::Failed,
            Some(other) => bail!("no phase `{other}`"),
        };
        Ok(Pod {
            meta,
            node: self.all("node").next().unwrap_or_default().into(),
            hostname: "".into(),
            addresses: self.addresses("ip")?,
            host_address: None,
            host_network: self.has("host"),
            phase,
            qos: Qos::BestEffort,
            message: "".into(),
            reason: "".into(),
            conditions: vec![],
            leaving: self.has("leaving"),
            containers: self.all("container").map(container).collect::<Result<_>>()?,
        })
    }
}

pub(crate) fn kind(word: &str) -> Result<Kind> {
    Ok(match word {
        "pod" => Kind::Pod,
        "service" => Kind::Service,
        "slice" => Kind::EndpointSlice,
        "node" => Kind::Node,
        "namespace" => Kind::Namespace,
        "replicaset" => Kind::ReplicaSet,
        "deployment" => Kind::Deployment,
        other => bail!("no kind `{other}`"),
    })
}

/// `12s` since the epoch.
pub(crate) fn seconds(text: &str) -> Result<UnixNs> {
    let number: i64 = text.strip_suffix('s').with_context(|| format!("`{text}` is no time"))?.parse()?;
    Ok(UnixNs(number * 1_000_000_000))
}

/// `KIND/NAME/UID`.
fn owner(text: &str) -> Result<Owner> {
    let [kind, name, uid] = text.split('/').collect::<Vec<_>>()[..] else { bail!("`{text}` is no owner") };
    Ok(Owner { kind: kind.into(), name: name.into(), uid: Uid::new(uid) })
}

/// `NAME/ID`.
fn container(text: &str) -> Result<Container> {
    let (name, id) = text.split_once('/').with_context(|| format!("`{text}` is no container"))?;
    Ok(Container {
        id: ContainerId::new(id),
        name: name.into(),
        runtime: Runtime::Containerd,
        state: ContainerState::Running,
        started: None,
        stopped: None,
        message: "".into(),
        reason: "".into(),
        restarts: 0,
    })
}
