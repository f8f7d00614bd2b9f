use std::net::IpAddr;

use ids::UnixNs;

use crate::{Container, Kind, Object, Uid};

/// All that is known of one object: what a snapshot is made of, and what another state can be made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// As it was last.
    pub object: Object,
    /// When it went; `None` while it is there.
    pub gone: Option<UnixNs>,
    /// The addresses (of a pod, service or node) or pods (of an endpoint slice) that it has and had.
    pub held: Vec<Tenure>,
    /// Containers of a pod that others have replaced, oldest first.
    pub replaced: Vec<Container>,
}

/// From when to when an object held something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenure {
    /// What.
    pub what: Held,
    /// The first moment.
    pub from: UnixNs,
    /// The first moment after it; `None` while it lasts.
    pub until: Option<UnixNs>,
}

/// What an object can hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Held {
    /// An address. Among pods nobody else has it at the same time.
    Address(IpAddr),
    /// A pod, as an endpoint.
    Pod(Uid),
}

impl Record {
    /// Its uid.
    pub fn uid(&self) -> &Uid {
        &self.object.meta().uid
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.object.kind()
    }

    /// Whether it was there at `time`.
    pub fn lived_at(&self, time: UnixNs) -> bool {
        self.object.meta().created <= time && self.gone.is_none_or(|gone| time < gone)
    }

    /// Those that it has and those that were replaced.
    pub(crate) fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.object.containers().iter().chain(&self.replaced)
    }

    pub(crate) fn tenures_of<'a>(&'a self, what: &'a Held) -> impl Iterator<Item = &'a Tenure> {
        self.held.iter().filter(move |tenure| tenure.what == *what)
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let replaced: usize = self.replaced.iter().map(Container::bytes).sum();
        self.object.bytes() + self.held.len() * PER_TENURE + replaced
    }
}

/// A tenure and its place in the index, in bytes.
const PER_TENURE: usize = 160;

impl Tenure {
    /// Whether it held at `time`.
    pub fn covers(&self, time: UnixNs) -> bool {
        self.from <= time && self.until.is_none_or(|until| time < until)
    }
}
