use std::net::IpAddr;

use hashbrown::HashMap;
use ids::{Endpoints, Role, Upid};
use protocols::Protocol;

use crate::{AddrFamily, ConnStatsRow};

/// One process and one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    upid: Upid,
    addr: Option<IpAddr>,
    port: u16,
}

#[derive(Debug)]
struct Aggregate {
    row: ConnStatsRow,
    changed: bool,
}

/// Counters per process and peer.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    aggregates: HashMap<Key, Aggregate>,
    changed: Vec<Key>,
}

/// What a connection adds to its aggregate.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
}

impl Change {
    pub(crate) fn is_nothing(&self) -> bool {
        self.opened + self.closed + self.bytes_sent + self.bytes_received == 0
    }
}

impl Key {
    /// The port of a server's peer says nothing: it is forced to 0. Source: reference, `conn_stats`.
    pub(crate) fn new(upid: Upid, endpoints: Option<&Endpoints>, role: Role) -> Key {
        let remote = endpoints.map(|endpoints| endpoints.remote);
        Key {
            upid,
            addr: remote.map(|remote| remote.ip()),
            port: remote.filter(|_| role != Role::Server).map_or(0, |remote| remote.port()),
        }
    }
}

impl Stats {
    /// Adds to an aggregate. How many others were forgotten to make room.
    pub(crate) fn add(&mut self, key: Key, role: Role, protocol: Protocol, change: Change, aggregates_max: usize) -> u64 {
        let evicted = if self.aggregates.len() >= aggregates_max && !self.aggregates.contains_key(&key) { self.evict() } else { 0 };
        let aggregate = self.aggregates.entry(key).or_insert_with(|| Aggregate { row: empty_row(key, role), changed: false });
        let row = &mut aggregate.row;
        if protocol != Protocol::Unknown {
            row.protocol = protocol;
        }
        if role != Role::Unknown {
            row.role = role;
        }
        row.ssl |= protocol == Protocol::Tls;
        row.conn_open += change.opened;
        row.conn_close += change.closed;
        row.conn_active = row.conn_open.saturating_sub(row.conn_close);
        row.bytes_sent += change.bytes_sent;
        row.bytes_received += change.bytes_received;
        if !std::mem::replace(&mut aggregate.changed, true) {
            self.changed.push(key);
        }
        evicted
    }

    /// The aggregates that changed since the last call, in the order of process and peer.
    pub(crate) fn take_changed(&mut self) -> Vec<ConnStatsRow> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed
            .iter()
            .filter_map(|key| {
                let aggregate = self.aggregates.get_mut(key)?;
                aggregate.changed = false;
                Some(aggregate.row.clone())
            })
            .collect()
    }

    /// Forgets what has no open connection and was told already; if that is nothing, everything that was told.
    fn evict(&mut self) -> u64 {
        let before = self.aggregates.len();
        self.aggregates.retain(|_, aggregate| aggregate.changed || aggregate.row.conn_active > 0);
        if self.aggregates.len() == before {
            self.aggregates.clear();
            self.changed.clear();
        }
        (before - self.aggregates.len()) as u64
    }
}

fn empty_row(key: Key, role: Role) -> ConnStatsRow {
    ConnStatsRow {
        upid: key.upid,
        remote_addr: key.addr,
        remote_port: key.port,
        role,
        addr_family: match key.addr {
            None => AddrFamily::Unspecified,
            Some(IpAddr::V4(_)) => AddrFamily::Ipv4,
            Some(IpAddr::V6(_)) => AddrFamily::Ipv6,
        },
        protocol: Protocol::Unknown,
        ssl: false,
        conn_open: 0,
        conn_close: 0,
        conn_active: 0,
        bytes_sent: 0,
        bytes_received: 0,
    }
}
