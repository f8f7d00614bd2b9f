use std::collections::VecDeque;

use ids::{Direction, MonoNs, Upid};

use crate::Transfer;
use crate::context::Context;
use crate::limits::{FAST_OPEN_BYTES_MAX, HOLE_WAIT, PENDING_BYTES_MAX};

/// The next of a stream, in order.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Delivery<'a> {
    /// Bytes, and whether a call begins with them.
    Bytes { bytes: &'a [u8], at: MonoNs, process: Upid, begins_call: bool },
    /// Bytes that will never come; when they passed, if their call was seen.
    Gap { len: u64, seen: Option<MonoNs> },
}

#[derive(Debug)]
struct Piece {
    position: u64,
    len: u64,
    /// Empty for bytes that were not copied.
    bytes: Vec<u8>,
    at: MonoNs,
    process: Upid,
    begins_call: bool,
    arrived: MonoNs,
}

/// Where positions start: they may go back by more than a whole turn of the 32 bits.
const POSITION_BASE: u64 = 1 << 40;

/// One direction of a TCP connection: puts pieces into their order by position.
#[derive(Debug)]
pub(crate) struct Stream {
    direction: Direction,
    /// The next position to deliver; before the start, what positions are counted from.
    next: u64,
    started: bool,
    /// Whether anything was delivered.
    moved: bool,
    start: u64,
    /// How far before the position at which it was reported open its first bytes may lie.
    early_bytes_max: u64,
    /// Pieces behind a hole, by position; before the start all of them.
    pending: VecDeque<Piece>,
    pending_bytes: usize,
    shifted: bool,
}

impl Stream {
    /// Not started: pieces wait until [`Self::start_at`] or [`Self::start_anywhere`].
    pub(crate) fn new(direction: Direction) -> Stream {
        Stream {
            direction,
            next: 0,
            started: false,
            moved: false,
            start: 0,
            early_bytes_max: 0,
            pending: VecDeque::new(),
            pending_bytes: 0,
            shifted: false,
        }
    }

    /// Starts at this position: that of the connection's first byte if it is `fresh`, else the one it had when it was first seen, which may be behind
    /// the very call that made it seen.
    pub(crate) fn start_at(
        &mut self,
        position: u32,
        fresh: bool,
        context: &mut Context,
        deliver: &mut impl FnMut(Delivery<'_>, &mut Context),
    ) {
        if self.started {
            return;
        }
        self.next = if self.next == 0 { POSITION_BASE + u64::from(position) } else { self.extend(position) };
        let early_bytes_max = if fresh { FAST_OPEN_BYTES_MAX } else { u64::from(u32::MAX) };
        self.early_bytes_max = early_bytes_max;
        if let Some(first) = self.pending.front().filter(|first| (first.position..first.position + early_bytes_max).contains(&self.next)) {
            self.next = first.position;
        }
        self.begin();
        self.drain(context, deliver);
    }

    /// Starts at the first byte that was or will be seen.
    pub(crate) fn start_anywhere(&mut self, context: &mut Context, deliver: &mut impl FnMut(Delivery<'_>, &mut Context)) {
        if self.started {
            return;
        }
        if let Some(first) = self.pending.front() {
            self.next = first.position;
            self.begin();
            self.drain(context, deliver);
        } else {
            self.next = 0;
            self.started = true;
        }
    }

    fn begin(&mut self) {
        (self.started, self.start) = (true, self.next);
    }

    /// How many bytes have passed since the start, as far as positions tell.
    pub(crate) fn passed_bytes(&self) -> u64 {
        self.pending.back().map_or(self.next, |last| last.position + last.len).max(self.next).saturating_sub(self.start)
    }

    /// The next position, as the kernel counts.
    pub(crate) fn position(&self) -> Option<u32> {
        (self.next != 0).then_some(self.next as u32)
    }

    /// From now on only what is still to come counts as passed.
    pub(crate) fn count_from_here(&mut self) {
        self.start = self.next;
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// When [`Self::tick`] is due, if anything waits behind a hole.
    pub(crate) fn deadline(&self) -> Option<MonoNs> {
        self.pending.front().filter(|_| self.started).map(|first| first.arrived.plus(HOLE_WAIT))
    }

    /// Lets go what waited long enough.
    pub(crate) fn tick(&mut self, context: &mut Context, deliver: &mut impl FnMut(Delivery<'_>, &mut Context)) {
        while self.deadline().is_some_and(|deadline| deadline <= context.now) {
            self.give_up_hole(context, deliver);
        }
    }

    /// Lets everything go: nothing will come any more.
    pub(crate) fn flush(&mut self, context: &mut Context, deliver: &mut impl FnMut(Delivery<'_>, &mut Context)) {
        self.start_anywhere(context, deliver);
        while !self.pending.is_empty() {
            self.give_up_hole(context, deliver);
        }
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        if let Some(last) = self.pending.back() {
            self.next = self.next.max(last.position + last.len);
        }
        self.pending = VecDeque::new();
        self.pending_bytes = 0;
    }

    /// Steps over a transfer whose bytes nobody wants.
    pub(crate) fn pass(&mut self, transfer: &Transfer<'_>) {
        let end = transfer.call_position.wrapping_add(transfer.call_bytes);
        if self.next == 0 {
            self.next = POSITION_BASE + u64::from(transfer.call_position);
            self.begin();
        }
        self.next = self.next.max(self.extend(end));
    }

    /// Takes a transfer: delivers what is next, keeps what comes too early, drops what came before.
    pub(crate) fn push(&mut self, transfer: &Transfer<'_>, context: &mut Context, deliver: &mut impl FnMut(Delivery<'_>, &mut Context)) {
        let first_position = transfer.call_position.wrapping_add(transfer.offset);
        if self.next == 0 {
            self.next = POSITION_BASE + u64::from(first_position);
            if self.started {
                self.begin();
            }
        }
        let position = self.extend(first_position);
        if self.started && !self.moved && position < self.next && position + self.early_bytes_max >= self.next {
            (self.next, self.start) = (position, position);
        }
        let len = transfer.bytes.len().min(transfer.call_bytes.saturating_sub(transfer.offset) as usize);
        let bytes = &transfer.bytes[..len];
        let piece = Borrowed { bytes, at: transfer.at, process: transfer.process, begins_call: transfer.offset == 0 };
        self.take(position, len as u64, piece, context, deliver);
        if transfer.last {
            let rest = u64::from(transfer.call_bytes.saturating_sub(transfer.offset)).saturating_sub(len as u64);
            context.metrics.bytes_not_copied += rest;
            self.take(position + len as u64, rest, Borrowed { bytes: &[], ..piece }, context, deliver);
        }
        if self.pending_bytes > PENDING_BYTES_MAX && self.started {
            self.give_up_hole(context, deliver);
        } else if self.pending_bytes > PENDING_BYTES_MAX {
            self.start_anywhere(context, deliver);
        }
    }

    fn take(
        &mut self,
        position: u64,
        len: u64,
        piece: Borrowed<'_>,
        context: &mut Context,
        deliver: &mut impl FnMut(Delivery<'_>, &mut Context),
    ) {
        if len == 0 {
            return;
        }
        let shifted = self.shifted && position == self.next + 1;
        if self.started && (position <= self.next || shifted) {
            if shifted {
                self.next = position;
            }
            self.deliver(position, len, piece, context, deliver);
            self.drain(context, deliver);
            return;
        }
        context.metrics.pieces_reordered += u64::from(self.started);
        let at = self.pending.partition_point(|other| other.position <= position);
        let Borrowed { bytes, at: when, process, begins_call } = piece;
        self.pending_bytes += bytes.len() + size_of::<Piece>();
        self.pending.insert(at, Piece { position, len, bytes: bytes.to_vec(), at: when, process, begins_call, arrived: context.now });
    }

    /// Delivers what of this piece lies at or behind the next position.
    fn deliver(
        &mut self,
        position: u64,
        len: u64,
        piece: Borrowed<'_>,
        context: &mut Context,
        deliver: &mut impl FnMut(Delivery<'_>, &mut Context),
    ) {
        let known = self.next.saturating_sub(position).min(len);
        context.metrics.bytes_duplicate += known;
        if known == len {
            return;
        }
        self.next = position + len;
        self.moved = true;
        let begins_call = piece.begins_call && known == 0;
        if piece.bytes.is_empty() {
            deliver(Delivery::Gap { len: len - known, seen: Some(piece.at) }, context);
        } else {
            deliver(Delivery::Bytes { bytes: &piece.bytes[known as usize..], at: piece.at, process: piece.process, begins_call }, context);
        }
    }

    fn drain(&mut self, context: &mut Context, deliver: &mut impl FnMut(Delivery<'_>, &mut Context)) {
        while let Some(piece) = self.pending.pop_front_if(|first| first.position <= self.next) {
            self.pending_bytes -= piece.bytes.len() + size_of::<Piece>();
            let borrowed = Borrowed { bytes: &piece.bytes, at: piece.at, process: piece.process, begins_call: piece.begins_call };
            self.deliver(piece.position, piece.len, borrowed, context, deliver);
        }
    }

    /// The hole before the first waiting piece will not be filled.
    fn give_up_hole(&mut self, context: &mut Context, deliver: &mut impl FnMut(Delivery<'_>, &mut Context)) {
        let Some(first) = self.pending.front() else { return };
        let len = first.position - self.next;
        self.next = first.position;
        self.moved = true;
        if len == 1 && self.direction == Direction::Received {
            self.shifted = true;
            context.metrics.positions_shifted += 1;
        } else {
            context.metrics.holes_lost += 1;
            context.metrics.bytes_lost += len;
            deliver(Delivery::Gap { len, seen: None }, context);
        }
        self.drain(context, deliver);
    }

    /// The 64-bit position nearest to the next one.
    fn extend(&self, position: u32) -> u64 {
        self.next.saturating_add_signed(i64::from(position.wrapping_sub(self.next as u32) as i32))
    }
}

#[derive(Debug, Clone, Copy)]
struct Borrowed<'a> {
    bytes: &'a [u8],
    at: MonoNs,
    process: Upid,
    begins_call: bool,
}
