use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use hashbrown::HashMap;
use ids::{MonoNs, SocketId};

use crate::connection::Connection;
use crate::context::Context;
use crate::limits::{CLOSE_LINGER, Limits};
use crate::stats::Stats;
use crate::{ConnStatsRow, Counters, Event, Metrics, Opened, Output, Transfer};

/// A socket's address within its namespace: one connection at a time.
type Key = (u64, u32);

/// Socket events in, records and verdicts out.
#[derive(Debug)]
pub struct ConnTracker {
    limits: Limits,
    connections: HashMap<Key, Connection>,
    timers: BinaryHeap<Reverse<(MonoNs, Key)>>,
    /// Connections whose counters may have changed since the last report.
    changed: Vec<Key>,
    buffered_bytes: usize,
    stats: Stats,
    outputs: VecDeque<Output>,
    context: Context,
}

fn key_of(socket: SocketId) -> Key {
    (socket.address, socket.netns)
}

impl ConnTracker {
    /// Knows nothing yet.
    pub fn new(limits: Limits) -> ConnTracker {
        ConnTracker {
            limits,
            connections: HashMap::new(),
            timers: BinaryHeap::new(),
            changed: Vec::new(),
            buffered_bytes: 0,
            stats: Stats::default(),
            outputs: VecDeque::new(),
            context: Context::default(),
        }
    }

    /// Takes one event. `now` is the time at which it is handled, on the clock of the events.
    pub fn handle(&mut self, event: &Event<'_>, now: MonoNs) {
        self.context.now = now;
        self.context.metrics.events += 1;
        match event {
            Event::Transfer(transfer) => self.transfer(transfer),
            Event::Opened(opened) => self.opened(opened),
            Event::Counted { socket, counters } => {
                if let Some(connection) = self.current(*socket) {
                    connection.count(*counters);
                    self.mark_changed(key_of(*socket));
                }
            }
            Event::Closed { socket, at, counters, process: _ } => self.closed(*socket, *at, *counters),
        }
    }

    /// Lets go what waited long enough. To be called every few milliseconds to tens of milliseconds, and before reports.
    pub fn tick(&mut self, now: MonoNs) {
        self.context.now = now;
        while let Some(Reverse((due, key))) = self.timers.peek().copied()
            && due <= now
        {
            self.timers.pop();
            let Some(connection) = self.connections.get_mut(&key) else { continue };
            if connection.timer == Some(due) {
                connection.timer = None;
                connection.tick(&mut self.context);
                if connection.gone_at.is_some_and(|gone_at| gone_at <= now) {
                    self.remove(key);
                } else {
                    self.settle(key);
                }
            }
        }
    }

    /// The next output, if there is one.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What changed in the counters per process and peer since the last call; counters are cumulative. `now` as in [`Self::tick`].
    pub fn conn_stats(&mut self, now: MonoNs) -> Vec<ConnStatsRow> {
        self.tick(now);
        for key in std::mem::take(&mut self.changed) {
            if let Some(connection) = self.connections.get_mut(&key) {
                connection.changed = false;
                connection.report(false, &mut self.stats, self.limits.aggregates_max, &mut self.context.metrics);
                // What cannot be told yet is asked again.
                if connection.is_unreported() {
                    connection.changed = true;
                    self.changed.push(key);
                }
            }
        }
        self.stats.take_changed()
    }

    /// Connections that are open, for who wants to ask the kernel for their counters.
    pub fn open_sockets(&self) -> impl Iterator<Item = SocketId> {
        self.connections.values().filter(|connection| connection.gone_at.is_none()).map(|connection| connection.socket)
    }

    /// What was seen, dropped, cut and lost.
    pub fn metrics(&self) -> Metrics {
        Metrics { parsers: self.context.sink.counters, ..self.context.metrics }
    }

    /// Bytes held for unfinished messages and behind holes.
    pub fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    fn transfer(&mut self, transfer: &Transfer<'_>) {
        let (key, now) = (key_of(transfer.socket), self.context.now);
        match self.connections.get_mut(&key) {
            Some(connection) if connection.socket.opened == transfer.socket.opened => {}
            Some(connection) if connection.socket.opened > transfer.socket.opened => {
                self.context.metrics.events_stale += 1;
                return;
            }
            Some(_) => {
                self.replace(key);
                self.insert(key, Connection::unknown(transfer.socket, now));
            }
            None => self.insert(key, Connection::unknown(transfer.socket, now)),
        }
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.last_seen = now;
            connection.transfer(transfer, &mut self.context);
            if !std::mem::replace(&mut connection.changed, true) {
                self.changed.push(key);
            }
            self.settle(key);
        }
    }

    fn opened(&mut self, opened: &Opened) {
        let key = key_of(opened.socket);
        if let Some(connection) = self.connections.get_mut(&key) {
            if connection.socket.opened == opened.socket.opened {
                connection.learn(opened, &mut self.context);
            } else if connection.socket.opened > opened.socket.opened {
                self.context.metrics.events_stale += 1;
                return;
            } else if connection.is_reopened_by(opened) {
                self.context.metrics.connections_reopened += 1;
                connection.reopen(opened.socket);
            } else {
                self.replace(key);
            }
        }
        if !self.connections.contains_key(&key) {
            let connection = Connection::opened(opened, &mut self.context);
            self.insert(key, connection);
        }
        self.mark_changed(key);
        self.settle(key);
    }

    fn closed(&mut self, socket: SocketId, at: MonoNs, counters: Counters) {
        let now = self.context.now;
        let Some(connection) = self.current(socket) else { return };
        connection.count(counters);
        if connection.gone_at.is_none() {
            connection.closed_at = at;
            connection.gone_at = Some(now.plus(CLOSE_LINGER));
        }
        self.settle(key_of(socket));
    }

    /// The connection, if it is this very one.
    fn current(&mut self, socket: SocketId) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(&key_of(socket)).filter(|connection| connection.socket == socket);
        if connection.is_none() {
            self.context.metrics.events_stale += 1;
        }
        connection
    }

    fn insert(&mut self, key: Key, connection: Connection) {
        if self.connections.len() >= self.limits.connections_max {
            self.evict_connections();
        }
        self.context.metrics.connections_opened += 1;
        self.connections.insert(key, connection);
    }

    fn mark_changed(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(&key)
            && !std::mem::replace(&mut connection.changed, true)
        {
            self.changed.push(key);
        }
    }

    /// After every step of a connection: collects what it made, sets its timer, counts what it holds.
    fn settle(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        collect(connection, &mut self.context, &mut self.outputs);
        if let Some(deadline) = connection.deadline()
            && connection.timer.is_none_or(|timer| deadline < timer)
        {
            connection.timer = Some(deadline);
            self.timers.push(Reverse((deadline, key)));
        }
        let held = connection.memory_bytes();
        self.buffered_bytes = self.buffered_bytes + held - std::mem::replace(&mut connection.accounted_bytes, held);
        if self.buffered_bytes > self.limits.buffered_bytes_max {
            self.evict_buffers();
        }
    }

    /// Its close was not seen, but its address has another owner now.
    fn replace(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(&key)
            && connection.gone_at.is_none()
        {
            connection.closed_at = self.context.now;
            self.context.metrics.connections_replaced += 1;
        }
        self.remove(key);
    }

    /// Ends a connection and counts it as closed.
    fn remove(&mut self, key: Key) {
        let Some(mut connection) = self.connections.remove(&key) else { return };
        self.context.metrics.connections_closed += 1;
        self.buffered_bytes -= connection.accounted_bytes;
        connection.end(&mut self.context);
        collect(&mut connection, &mut self.context, &mut self.outputs);
        connection.report(true, &mut self.stats, self.limits.aggregates_max, &mut self.context.metrics);
    }

    /// Keys of all connections, the one idle the longest first.
    fn by_idleness(&self, wanted: impl Fn(&Connection) -> bool) -> Vec<Key> {
        let mut keys: Vec<(MonoNs, Key)> = self
            .connections
            .iter()
            .filter(|(_, connection)| wanted(connection))
            .map(|(key, connection)| (connection.last_seen, *key))
            .collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// Forgets an eighth of the connections: sorting them all for each one would be too much.
    fn evict_connections(&mut self) {
        let count = (self.limits.connections_max / 8).max(1);
        for key in self.by_idleness(|_| true).into_iter().take(count) {
            self.context.metrics.connections_evicted += 1;
            self.remove(key);
        }
    }

    /// Forgets unfinished messages until a quarter of the budget is free.
    fn evict_buffers(&mut self) {
        for key in self.by_idleness(|connection| connection.accounted_bytes > 0) {
            if self.buffered_bytes <= self.limits.buffered_bytes_max / 4 * 3 {
                break;
            }
            if let Some(connection) = self.connections.get_mut(&key) {
                self.context.metrics.buffers_evicted += 1;
                self.buffered_bytes -= std::mem::take(&mut connection.accounted_bytes);
                connection.forget_buffers();
            }
        }
    }
}

/// Hands out what a step of one connection made.
fn collect(connection: &mut Connection, context: &mut Context, outputs: &mut VecDeque<Output>) {
    if let Some(verdict) = connection.talk.take_verdict() {
        outputs.push_back(Output::Verdict { socket: connection.socket, verdict });
    }
    while let Some(record) = context.sink.records.pop_front() {
        let (socket, endpoints, role) = (connection.socket, connection.endpoints, connection.talk.role());
        outputs.push_back(Output::Record { socket, endpoints, role, record });
    }
}
