use ids::{MonoNs, Upid};
use memchr::memchr;

use super::body::{Body, Framing};
use super::limits::{BAD_HEADS_MAX, HEAD_BYTES_MAX, SEARCHED_BYTES_MAX};
use crate::infer::{METHOD_BYTES_MAX, METHODS};

/// When bytes passed, and who moved them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) at: MonoNs,
    pub(super) process: Upid,
}

/// What a reader is to do about a whole head.
#[derive(Debug)]
pub(super) enum Answer {
    /// Read the body, then the next message.
    Body(Framing),
    /// The same, unless another response follows at once: whether there is a body depends on a request that was not seen.
    BodyUnlessHead(Framing),
    /// Where the body ends cannot be known.
    Endless,
    /// Keep it, and ask again later.
    Hold,
    /// It is none.
    Bad,
    /// Read no further.
    Stop,
}

/// Where a reader's findings go: the stitcher, as one direction sees it.
pub(super) trait Handler {
    /// How a message begins.
    const KIND: Kind;
    /// A whole head, the empty line included, and the stamps of its first and last byte.
    fn head(&mut self, head: &[u8], first: Stamp, last: Stamp) -> Answer;
    /// The body of the message whose head came last.
    fn body(&mut self) -> &mut Body;
    /// So many bytes of the body were not captured.
    fn missed(&mut self, len: u64);
    /// That message is complete.
    fn done(&mut self, at: MonoNs);
    /// The same, but nobody saw when its last bytes passed; `last_at` is when anything did before that was found out.
    fn done_unseen(&mut self, last_at: MonoNs);
    /// Its end is lost.
    fn cut(&mut self);
    /// The place in the stream is lost; `seen` is when the missing bytes passed, if that is known.
    fn lost(&mut self, seen: Option<MonoNs>);
    /// Bytes that belong to no known message passed, the last of them at this time.
    fn skipped(&mut self, len: u64, at: MonoNs);
    /// A head that is none, or of which only a part was seen.
    fn bad_head(&mut self, partial: bool);
    /// A head was found again.
    fn found(&mut self);
}

/// Which half of the conversation a reader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

#[derive(Debug)]
enum State {
    /// Between messages.
    Start,
    /// In a head; its beginning is in the buffer.
    Head,
    /// A whole head is in the buffer, and is to be asked about again.
    Held { last: Stamp },
    /// In a body.
    Body(Framing),
    /// Behind a head that may be all of its message.
    BodyUnlessHead(Framing),
    /// Somewhere; the buffer has what may hold the beginning of a head.
    Lost,
    /// At the end of what is read.
    Stopped,
}

/// Reads one direction: finds heads, follows bodies, and finds its place again after a loss.
#[derive(Debug)]
pub(super) struct Reader {
    state: State,
    buffer: Vec<u8>,
    /// Where in the buffer which bytes begin, in order; the first at 0. Has one entry unless the place was lost.
    marks: Vec<(usize, Stamp)>,
    /// Of the end of a head: what was seen of it at the buffer's end.
    end: HeadEnd,
    bad_heads: u32,
    searched_bytes: u64,
}

impl Reader {
    pub(super) fn new(in_place: bool) -> Reader {
        let state = if in_place { State::Start } else { State::Lost };
        Reader { state, buffer: Vec::new(), marks: Vec::new(), end: HeadEnd::default(), bad_heads: 0, searched_bytes: 0 }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    pub(super) fn stop(&mut self) {
        *self = Reader::new(true);
        self.state = State::Stopped;
    }

    /// Whether it gave up by itself.
    pub(super) fn is_undecodable(&self) -> bool {
        self.bad_heads > BAD_HEADS_MAX || self.searched_bytes > SEARCHED_BYTES_MAX
    }

    pub(super) fn holds(&self) -> bool {
        matches!(self.state, State::Held { .. })
    }

    /// Reads `bytes`, the next of the stream. How many it took: all, unless it holds a head.
    pub(super) fn push(&mut self, bytes: &[u8], stamp: Stamp, handler: &mut impl Handler) -> usize {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match &mut self.state {
                State::Stopped => return bytes.len(),
                State::Start => {
                    at += rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                    if at == bytes.len() {
                        return at;
                    }
                    self.state = State::Head;
                }
                State::Head => match self.read_head(rest, stamp, handler) {
                    Some(taken) => at += taken,
                    None => return bytes.len(),
                },
                State::Lost => match self.search_head(rest, stamp, handler) {
                    Some(taken) => at += taken,
                    None => return bytes.len(),
                },
                State::Held { last } => {
                    let (last, head, marks) = (*last, std::mem::take(&mut self.buffer), std::mem::take(&mut self.marks));
                    let first = marks.first().map_or(last, |mark| mark.1);
                    if !self.ask(&head, first, last, handler) {
                        self.lose(Some(last.at), handler);
                    }
                }
                State::BodyUnlessHead(framing) => {
                    if rest.is_empty() {
                        return at;
                    }
                    if rest.starts_with(b"HTTP/1.") {
                        self.state = State::Start;
                        handler.done(stamp.at);
                    } else {
                        self.state = State::Body(*framing);
                    }
                }
                State::Body(framing) => {
                    let Ok(taken) = framing.push(rest, handler.body()) else {
                        handler.cut();
                        self.bad_heads += 1;
                        self.lose(Some(stamp.at), handler);
                        continue;
                    };
                    at += taken;
                    if framing.is_done() {
                        self.state = State::Start;
                        handler.done(stamp.at);
                    } else {
                        return at;
                    }
                }
            }
            if self.holds() {
                return at;
            }
        }
    }

    /// The next `len` bytes are missing. Not to be called while a head is held.
    pub(super) fn gap(&mut self, len: u64, seen: Option<MonoNs>, last_at: MonoNs, handler: &mut impl Handler) {
        match &mut self.state {
            State::Stopped => return,
            State::Body(framing) | State::BodyUnlessHead(framing) => {
                let mut framing = *framing;
                let Some(taken) = framing.skip(len, handler.body()) else {
                    handler.cut();
                    return self.lose(seen, handler);
                };
                handler.missed(taken);
                if !framing.is_done() {
                    self.state = State::Body(framing);
                    return;
                }
                self.state = State::Start;
                match seen {
                    Some(at) => handler.done(at),
                    None => handler.done_unseen(last_at),
                }
                if taken == len {
                    return;
                }
            }
            State::Head => handler.bad_head(true),
            State::Start | State::Held { .. } | State::Lost => {}
        }
        self.lose(seen, handler);
    }

    /// Nothing follows.
    pub(super) fn end(&mut self, at: MonoNs, handler: &mut impl Handler) {
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Head | State::Held { .. } => handler.bad_head(true),
            State::Body(Framing::UntilEnd) | State::BodyUnlessHead(_) => handler.done(at),
            State::Body(_) => handler.cut(),
            State::Start | State::Lost | State::Stopped => {}
        }
        self.stop();
    }

    /// In a head. How many bytes were taken; `None` if all, and the head goes on.
    fn read_head(&mut self, bytes: &[u8], stamp: Stamp, handler: &mut impl Handler) -> Option<usize> {
        let first = self.marks.first().map_or(stamp, |mark| mark.1);
        if let Some(taken) = self.end.find(bytes) {
            if self.buffer.is_empty() {
                self.marks.clear();
                self.ask_or_search_in(&bytes[..taken], first, stamp, handler);
            } else {
                let mut head = std::mem::take(&mut self.buffer);
                head.extend_from_slice(&bytes[..taken]);
                self.marks.clear();
                self.ask_or_search_in(&head, first, stamp, handler);
                self.reuse(head);
            }
            return Some(taken);
        }
        if self.marks.is_empty() {
            self.marks.push((0, stamp));
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() > HEAD_BYTES_MAX || !is_plausible(handler, &self.buffer) {
            handler.bad_head(false);
            self.bad_heads += 1;
            let (buffer, marks, end) = (std::mem::take(&mut self.buffer), std::mem::take(&mut self.marks), self.end);
            self.lose(Some(stamp.at), handler);
            (self.buffer, self.marks, self.end) = (buffer, marks, end);
            self.forget(handler);
        }
        None
    }

    /// Asks about a whole head that stands where one is expected. If it is none, a later part of it may be.
    fn ask_or_search_in(&mut self, head: &[u8], first: Stamp, last: Stamp, handler: &mut impl Handler) {
        if self.ask(head, first, last, handler) {
            return;
        }
        self.lose(Some(first.at), handler);
        self.search_block(head, 1, &[(0, first)], last, handler);
    }

    /// Whether it was a head.
    fn ask(&mut self, head: &[u8], first: Stamp, last: Stamp, handler: &mut impl Handler) -> bool {
        self.state = match handler.head(head, first, last) {
            Answer::Body(framing) if framing.is_done() => {
                handler.done(last.at);
                State::Start
            }
            Answer::Body(framing) => State::Body(framing),
            Answer::BodyUnlessHead(framing) => State::BodyUnlessHead(framing),
            Answer::Endless => {
                handler.cut();
                self.lose(Some(last.at), handler);
                State::Lost
            }
            Answer::Stop => State::Stopped,
            Answer::Hold => {
                self.buffer.clear();
                self.buffer.extend_from_slice(head);
                self.marks.clear();
                self.marks.push((0, first));
                State::Held { last }
            }
            Answer::Bad => {
                handler.bad_head(false);
                self.bad_heads += 1;
                return false;
            }
        };
        self.bad_heads = 0;
        true
    }

    /// Somewhere in the stream. How many bytes were taken; `None` if all, and no head was found.
    fn search_head(&mut self, bytes: &[u8], stamp: Stamp, handler: &mut impl Handler) -> Option<usize> {
        if bytes.is_empty() {
            return None;
        }
        self.marks.push((self.buffer.len(), stamp));
        let end = self.end.find(bytes);
        self.buffer.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
        let Some(taken) = end else {
            self.forget(handler);
            return None;
        };
        let (block, marks) = (std::mem::take(&mut self.buffer), std::mem::take(&mut self.marks));
        self.search_block(&block, 0, &marks, stamp, handler);
        Some(taken)
    }

    /// Looks in a block that ends as a head does for where that head begins, not before `from`: the last beginning that makes one.
    /// Source: the reference's rule, back from the empty line to the nearest beginning; we go on to those before it, since a header may look like one.
    fn search_block(&mut self, block: &[u8], from: usize, marks: &[(usize, Stamp)], last: Stamp, handler: &mut impl Handler) {
        let stamp_of = |offset: usize| marks.iter().rev().find(|mark| mark.0 <= offset).map_or(last, |mark| mark.1);
        let mut tries = 0;
        for offset in (from..block.len()).rev() {
            if tries == BAD_HEADS_MAX {
                break;
            }
            if !begins(handler, &block[offset..]) {
                continue;
            }
            tries += 1;
            let skipped_at = stamp_of(offset.saturating_sub(1)).at;
            let passed = offset as u64;
            // What lies before it has to be told first: it says how far the stream has come.
            if is_first_line(handler, &block[offset..]) {
                handler.skipped(passed, skipped_at);
                if self.ask(&block[offset..], stamp_of(offset), last, handler) {
                    self.searched_bytes = 0;
                    handler.found();
                    return;
                }
            }
        }
        self.searched_bytes += block.len() as u64;
        handler.skipped(block.len() as u64, last.at);
    }

    /// Forgets what lies too far back in the search for a head.
    fn forget(&mut self, handler: &mut impl Handler) {
        if self.buffer.len() <= HEAD_BYTES_MAX {
            return;
        }
        let gone = self.buffer.len() - HEAD_BYTES_MAX / 2;
        self.buffer.drain(..gone);
        let keep_from = self.marks.iter().rposition(|mark| mark.0 <= gone).unwrap_or(0);
        let at = self.marks.get(keep_from).map_or(MonoNs::default(), |mark| mark.1.at);
        self.marks.drain(..keep_from);
        for mark in &mut self.marks {
            mark.0 = mark.0.saturating_sub(gone);
        }
        self.searched_bytes += gone as u64;
        handler.skipped(gone as u64, at);
    }

    fn lose(&mut self, seen: Option<MonoNs>, handler: &mut impl Handler) {
        if let Some((_, stamp)) = self.marks.last()
            && matches!(self.state, State::Lost)
        {
            handler.skipped(self.buffer.len() as u64, stamp.at);
        }
        handler.lost(seen);
        self.state = State::Lost;
        self.buffer.clear();
        self.marks.clear();
        self.end = HeadEnd::default();
    }

    /// Keeps an emptied buffer for the next head that comes in parts.
    fn reuse(&mut self, mut buffer: Vec<u8>) {
        if self.buffer.is_empty() && buffer.capacity() <= 4096 {
            buffer.clear();
            self.buffer = buffer;
        }
    }
}

/// Whether a message of this kind may begin so.
fn is_plausible<H: Handler>(_: &H, bytes: &[u8]) -> bool {
    match H::KIND {
        Kind::Response => {
            let len = bytes.len().min(7);
            bytes[..len] == b"HTTP/1."[..len]
        }
        Kind::Request => {
            let method = bytes
                .iter()
                .take(METHOD_BYTES_MAX + 1)
                .position(|byte| !byte.is_ascii_alphanumeric() && !b"-_.!#$%&'*+^`|~".contains(byte));
            method.map_or(bytes.len() <= METHOD_BYTES_MAX, |end| end > 0 && bytes[end] == b' ')
        }
    }
}

/// Whether `bytes` begin with one of the patterns by which a head is searched.
fn begins<H: Handler>(_: &H, bytes: &[u8]) -> bool {
    match H::KIND {
        Kind::Response => bytes.starts_with(b"HTTP/1.1 ") || bytes.starts_with(b"HTTP/1.0 "),
        Kind::Request => {
            matches!(bytes.first(), Some(b'A'..=b'Z'))
                && METHODS.iter().any(|method| bytes.starts_with(method) && bytes.get(method.len()) == Some(&b' '))
        }
    }
}

/// Whether the first line of `bytes` is one that begins a message; spares the parse of what surely is none.
fn is_first_line<H: Handler>(_: &H, bytes: &[u8]) -> bool {
    let line = &bytes[..memchr(b'\n', bytes).unwrap_or(bytes.len())];
    match H::KIND {
        Kind::Response => line.len() >= 12,
        Kind::Request => crate::infer::is_request_line(line),
    }
}

/// How much of a head's end (an empty line; bare line feeds count, RFC 9112 §2.2) the last bytes were.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum HeadEnd {
    #[default]
    Nothing,
    Line,
    LineAndReturn,
}

impl HeadEnd {
    /// How many of `bytes` belong to the head, if it ends in them.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            if *self == HeadEnd::Nothing {
                at += memchr(b'\n', &bytes[at..])? + 1;
                *self = HeadEnd::Line;
            }
            let byte = *bytes.get(at)?;
            at += 1;
            *self = match (*self, byte) {
                (_, b'\n') => {
                    *self = HeadEnd::Nothing;
                    return Some(at);
                }
                (HeadEnd::Line, b'\r') => HeadEnd::LineAndReturn,
                (HeadEnd::Nothing | HeadEnd::Line | HeadEnd::LineAndReturn, _) => HeadEnd::Nothing,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_head_is_found_however_it_is_cut() {
        for (head, len) in
            [(&b"a: b\r\n\r\nrest"[..], 8), (b"a\n\nrest", 3), (b"a\r\n\nrest", 4), (b"a\n\r\nrest", 4), (b"a\r\n\rx\r\n\r\n", 9)]
        {
            for cut in 0..len {
                let mut end = HeadEnd::default();
                assert_eq!(end.find(&head[..cut]), None, "{head:?} {cut}");
                assert_eq!(end.find(&head[cut..]), Some(len - cut), "{head:?} {cut}");
            }
        }
    }
}
