use ids::{Direction, Endpoints, MonoNs, Role, SocketId, Transport, Upid};
use protocols::Protocol;

use crate::context::Context;
use crate::limits::{OPENED_WAIT, REOPEN_DISTANCE_MAX};
use crate::stats::{Change, Key, Stats};
use crate::stream::Stream;
use crate::talk::Talk;
use crate::{Counters, Metrics, Opened, Transfer};

/// Whether a connection's opening is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    Known,
    /// It may still come, until then.
    Awaited(MonoNs),
    /// It was lost.
    Lost,
}

/// One socket.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: SocketId,
    pub(crate) endpoints: Option<Endpoints>,
    transport: Transport,
    opening: Opening,
    sent: Stream,
    received: Stream,
    pub(crate) talk: Talk,
    /// The first process that was seen with it.
    owner: Option<Upid>,
    /// By the kernel's count.
    counters: Counters,
    /// Of earlier identities of the same connection.
    counters_before: Counters,
    /// What is in the aggregate already.
    reported: Counters,
    reported_protocol: Protocol,
    aggregate: Option<Key>,
    /// Whether it is on the tracker's list of what changed.
    pub(crate) changed: bool,
    /// When it will be gone, once it is closed.
    pub(crate) gone_at: Option<MonoNs>,
    pub(crate) closed_at: MonoNs,
    pub(crate) last_seen: MonoNs,
    /// When its timer is set for.
    pub(crate) timer: Option<MonoNs>,
    /// What it holds, by the tracker's count.
    pub(crate) accounted_bytes: usize,
}

impl Connection {
    pub(crate) fn opened(opened: &Opened, context: &mut Context) -> Connection {
        let mut connection = Connection::unknown(opened.socket, context.now);
        connection.opening = Opening::Known;
        connection.endpoints = opened.endpoints;
        connection.transport = opened.transport;
        connection.owner = opened.process;
        connection.talk = Talk::new(opened.role, opened.fresh);
        connection.sent.start_at(opened.send_position, opened.fresh, context, &mut |_, _| {});
        connection.received.start_at(opened.receive_position, opened.fresh, context, &mut |_, _| {});
        if opened.transport == Transport::Udp {
            connection.talk.ignore();
        }
        connection
    }

    /// Of which a transfer came before its opening.
    pub(crate) fn unknown(socket: SocketId, now: MonoNs) -> Connection {
        Connection {
            socket,
            endpoints: None,
            transport: Transport::Tcp,
            opening: Opening::Awaited(now.plus(OPENED_WAIT)),
            sent: Stream::new(Direction::Sent),
            received: Stream::new(Direction::Received),
            talk: Talk::new(Role::Unknown, false),
            owner: None,
            counters: Counters::default(),
            counters_before: Counters::default(),
            reported: Counters::default(),
            reported_protocol: Protocol::Unknown,
            aggregate: None,
            changed: false,
            gone_at: None,
            closed_at: now,
            last_seen: now,
            timer: None,
            accounted_bytes: 0,
        }
    }

    /// Its opening, told again or told late.
    pub(crate) fn learn(&mut self, opened: &Opened, context: &mut Context) {
        self.endpoints = self.endpoints.or(opened.endpoints);
        self.owner = self.owner.or(opened.process);
        self.transport = opened.transport;
        self.talk.set_role(opened.role);
        let awaited = matches!(self.opening, Opening::Awaited(_));
        self.opening = Opening::Known;
        if opened.transport == Transport::Udp {
            self.talk.ignore();
        } else if awaited {
            if opened.fresh {
                self.talk.set_fresh();
            }
            let Opened { send_position, receive_position, fresh, .. } = *opened;
            let Connection { sent, received, talk, .. } = self;
            sent.start_at(send_position, fresh, context, &mut |delivery, context| talk.deliver(Direction::Sent, delivery, context));
            received
                .start_at(receive_position, fresh, context, &mut |delivery, context| talk.deliver(Direction::Received, delivery, context));
            self.settle();
        }
    }

    /// Whether `opened` is this connection, which the kernel had forgotten and met again.
    pub(crate) fn is_reopened_by(&self, opened: &Opened) -> bool {
        let near =
            |stream: &Stream, position: u32| stream.position().is_none_or(|known| position.wrapping_sub(known) < REOPEN_DISTANCE_MAX);
        !opened.fresh
            && self.gone_at.is_none()
            && self.endpoints.is_some()
            && self.endpoints == opened.endpoints
            && self.transport == opened.transport
            && (near(&self.sent, opened.send_position) && near(&self.received, opened.receive_position))
    }

    /// Goes on under a new identity: the kernel counts from zero again, and has forgotten what to do with it.
    pub(crate) fn reopen(&mut self, socket: SocketId) {
        self.counters_before = self.total();
        self.counters = Counters::default();
        self.socket = socket;
        self.sent.count_from_here();
        self.received.count_from_here();
        self.talk.repeat_verdict();
    }

    pub(crate) fn transfer(&mut self, transfer: &Transfer<'_>, context: &mut Context) {
        self.owner = self.owner.or(Some(transfer.process).filter(|process| *process != Upid::NONE));
        if self.transport == Transport::Udp {
            return;
        }
        let Connection { sent, received, talk, .. } = self;
        let stream = match transfer.direction {
            Direction::Sent => sent,
            Direction::Received => received,
        };
        if talk.is_ignored() {
            stream.pass(transfer);
            return;
        }
        stream.push(transfer, context, &mut |delivery, context| talk.deliver(transfer.direction, delivery, context));
        self.settle();
    }

    /// What passed so far, by the kernel's count.
    pub(crate) fn count(&mut self, counters: Counters) {
        self.counters.bytes_sent = self.counters.bytes_sent.max(counters.bytes_sent);
        self.counters.bytes_received = self.counters.bytes_received.max(counters.bytes_received);
    }

    /// When [`Self::tick`] is due.
    pub(crate) fn deadline(&self) -> Option<MonoNs> {
        let opening = match self.opening {
            Opening::Awaited(until) => Some(until),
            Opening::Known | Opening::Lost => None,
        };
        let sooner = |a: Option<MonoNs>, b: Option<MonoNs>| if b.is_some_and(|b| a.is_none_or(|a| b < a)) { b } else { a };
        sooner(sooner(sooner(sooner(opening, self.sent.deadline()), self.received.deadline()), self.talk.deadline()), self.gone_at)
    }

    /// Lets go what waited long enough.
    pub(crate) fn tick(&mut self, context: &mut Context) {
        if matches!(self.opening, Opening::Awaited(until) if until <= context.now) {
            self.opening = Opening::Lost;
            context.metrics.openings_lost += 1;
            self.talk.set_lost();
            self.start_anywhere(context);
        }
        let Connection { sent, received, talk, .. } = self;
        sent.tick(context, &mut |delivery, context| talk.deliver(Direction::Sent, delivery, context));
        received.tick(context, &mut |delivery, context| talk.deliver(Direction::Received, delivery, context));
        talk.tick(context);
        self.settle();
    }

    /// Nothing follows.
    pub(crate) fn end(&mut self, context: &mut Context) {
        let Connection { sent, received, talk, .. } = self;
        if !talk.is_ignored() {
            sent.flush(context, &mut |delivery, context| talk.deliver(Direction::Sent, delivery, context));
            received.flush(context, &mut |delivery, context| talk.deliver(Direction::Received, delivery, context));
        }
        talk.end(self.closed_at, context);
    }

    /// Drops what it holds, and goes on from the middle.
    pub(crate) fn forget_buffers(&mut self) {
        self.sent.clear();
        self.received.clear();
        self.talk.forget();
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.sent.memory_bytes() + self.received.memory_bytes() + self.talk.memory_bytes()
    }

    /// Adds what is new to the counters of its process and peer. Until process and role are known it waits, unless it is `closed`.
    pub(crate) fn report(&mut self, closed: bool, stats: &mut Stats, aggregates_max: usize, metrics: &mut Metrics) {
        let role = self.talk.role();
        let key = match self.aggregate {
            Some(key) => key,
            None if !closed && (self.is_opening_awaited() || (role == Role::Unknown && self.talk.is_undecided())) => return,
            None => {
                let Some(owner) = self.owner else {
                    metrics.connections_without_process += u64::from(closed);
                    return;
                };
                Key::new(owner, self.endpoints.as_ref(), role)
            }
        };
        let total = self.total();
        let change = Change {
            opened: u64::from(self.aggregate.is_none()),
            closed: u64::from(closed),
            bytes_sent: total.bytes_sent.saturating_sub(self.reported.bytes_sent),
            bytes_received: total.bytes_received.saturating_sub(self.reported.bytes_received),
        };
        let protocol = self.talk.protocol();
        if change.is_nothing() && protocol == self.reported_protocol {
            return;
        }
        self.aggregate = Some(key);
        self.reported = total;
        self.reported_protocol = protocol;
        metrics.aggregates_evicted += stats.add(key, role, protocol, change, aggregates_max);
    }

    /// Whether it counts nowhere yet.
    pub(crate) fn is_unreported(&self) -> bool {
        self.aggregate.is_none()
    }

    fn is_opening_awaited(&self) -> bool {
        matches!(self.opening, Opening::Awaited(_))
    }

    /// What passed since it was opened or first seen: the larger of the kernel's count, which is exact but old, and of what the positions tell.
    fn total(&self) -> Counters {
        let Counters { bytes_sent, bytes_received } = self.counters;
        Counters {
            bytes_sent: (self.counters_before.bytes_sent + bytes_sent.max(self.sent.passed_bytes())).max(self.reported.bytes_sent),
            bytes_received: (self.counters_before.bytes_received + bytes_received.max(self.received.passed_bytes()))
                .max(self.reported.bytes_received),
        }
    }

    fn start_anywhere(&mut self, context: &mut Context) {
        let Connection { sent, received, talk, .. } = self;
        sent.start_anywhere(context, &mut |delivery, context| talk.deliver(Direction::Sent, delivery, context));
        received.start_anywhere(context, &mut |delivery, context| talk.deliver(Direction::Received, delivery, context));
        self.settle();
    }

    /// Of a connection that is ignored nothing waits.
    fn settle(&mut self) {
        if self.talk.is_ignored() {
            self.sent.clear();
            self.received.clear();
        }
    }
}
