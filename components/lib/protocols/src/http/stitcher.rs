use std::collections::VecDeque;

use ids::{MonoNs, Role, Upid};

use super::body::{Body, Framing};
use super::exchange::Exchange;
use super::head::{RequestHead, ResponseHead, parse_request, parse_response};
use super::limits::{CLIENT_REPORT_DELAY_MAX, REQUESTS_WAITING_MAX};
use super::reader::{Answer, Handler, Kind, Stamp};
use crate::{Record, Sink, Start, Stop};

/// A request that waits for its response.
#[derive(Debug)]
struct Request {
    head: RequestHead,
    first: Stamp,
    last_at: MonoNs,
    body: Body,
    complete: bool,
    /// Until when requests may have passed unseen before it, if anything was lost there.
    lost_until: Option<MonoNs>,
}

/// The response that is being read, or that waits for the end of its request.
#[derive(Debug)]
struct Response {
    head: ResponseHead,
    first: Stamp,
    body: Body,
    paired: bool,
    complete: bool,
}

/// How far the responses have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    Nothing,
    Until(MonoNs),
    /// What came last was lost, nobody knows when.
    Unseen,
}

/// Whether a response has a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pairing {
    Paired,
    Unmatched,
    Wait,
}

/// Pairs responses with requests.
///
/// As long as nothing is lost the first response answers the first request. After a loss the count is gone, and pairs are made again from when one
/// side surely waited for the other: the only request that was sent between the last byte of one response and the first byte of the next, with
/// nothing lost in that time, is the one that is answered. That holds for clients that wait for their responses, one by one or burst by burst;
/// a connection that was seen to do otherwise (a request sent well before an earlier one's response began) is given up at its first loss.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four facts that do not depend on each other")]
pub(super) struct Stitcher {
    role: Role,
    requests: VecDeque<Request>,
    /// Whether the last request's body is still to come.
    reading: bool,
    response: Option<Response>,
    /// A `1xx` came: the pairing of the response that follows.
    interim: Option<Pairing>,
    /// Whether the first response answers the first request.
    in_step: bool,
    passed: Passed,
    /// Until when requests may have passed unseen, since the last one that was seen.
    lost_until: Option<MonoNs>,
    pipelines: bool,
    stop: Option<Stop>,
    /// Where bodies go that nobody wants.
    nobody: Body,
    /// A response does not wait any longer.
    pub(super) hurry: bool,
}

impl Stitcher {
    pub(super) fn new(role: Role, start: Start) -> Stitcher {
        Stitcher {
            role,
            requests: VecDeque::new(),
            reading: false,
            response: None,
            interim: None,
            in_step: start == Start::Fresh,
            passed: if start == Start::AfterLoss { Passed::Unseen } else { Passed::Nothing },
            lost_until: (start == Start::AfterLoss).then_some(MonoNs(u64::MAX)),
            pipelines: false,
            stop: None,
            nobody: Body::default(),
            hurry: false,
        }
    }

    pub(super) fn stopped(&self) -> Option<Stop> {
        self.stop
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let of_request =
            |request: &Request| size_of::<Request>() + request.head.headers.len() + request.head.path.len() + request.body.kept.capacity();
        let of_response = |response: &Response| response.head.headers.len() + response.body.kept.capacity();
        self.requests.iter().map(of_request).sum::<usize>() + self.response.as_ref().map_or(0, of_response)
    }

    /// The connection is closed.
    pub(super) fn end(&mut self, sink: &mut Sink) {
        self.emit_if_complete(sink);
        sink.counters.requests_unanswered += self.requests.len() as u64;
        self.requests.clear();
    }

    fn pair(&mut self, first_at: MonoNs, sink: &mut Sink) -> Pairing {
        if self.in_step {
            match self.requests.front() {
                Some(request) if request.lost_until.is_none() => {
                    let next = self.requests.get(1).map(|next| next.first.at.plus(CLIENT_REPORT_DELAY_MAX));
                    self.pipelines |= next.is_some_and(|next| next < first_at);
                    return Pairing::Paired;
                }
                None if self.lost_until.is_none() && !self.hurry => return Pairing::Wait,
                Some(_) | None => self.fall_out_of_step(),
            }
        }
        let from = match self.passed {
            Passed::Nothing => MonoNs(0),
            Passed::Until(at) if self.role == Role::Client => at.plus(CLIENT_REPORT_DELAY_MAX),
            Passed::Until(at) => at,
            Passed::Unseen => MonoNs(u64::MAX),
        };
        let lost_after = |request: &Request| request.lost_until.is_some_and(|until| until > from || self.passed == Passed::Nothing);
        let sent_before = self.requests.iter().take_while(|request| request.first.at <= first_at).count();
        let stale = self.requests.iter().take(sent_before).take_while(|request| request.first.at <= from && from.0 > 0).count();
        let candidate = self.requests.get(stale).filter(|request| sent_before == stale + 1 && !lost_after(request));
        if candidate.is_some() {
            self.drop_requests(stale, sink);
            if let Some(request) = self.requests.front_mut() {
                request.lost_until = None;
            }
            self.in_step = true;
            return Pairing::Paired;
        }
        if sent_before == stale && stale == self.requests.len() && !self.hurry && self.passed != Passed::Unseen {
            self.drop_requests(stale, sink);
            return Pairing::Wait;
        }
        self.drop_requests(sent_before, sink);
        Pairing::Unmatched
    }

    fn drop_requests(&mut self, count: usize, sink: &mut Sink) {
        if count > 0 {
            sink.counters.requests_unanswered += count as u64;
            self.requests.drain(..count);
            self.reading &= !self.requests.is_empty();
            // Whatever was being answered is among them.
            self.interim = self.interim.map(|_| Pairing::Unmatched);
            if let Some(response) = &mut self.response {
                response.paired = false;
            }
            self.response.take_if(|response| response.complete);
        }
    }

    /// Makes the record if both halves are there.
    fn emit_if_complete(&mut self, sink: &mut Sink) {
        match (&self.response, self.requests.front()) {
            (Some(Response { complete: true, paired: true, .. }), Some(Request { complete: true, .. })) => {}
            _ => return,
        }
        let (Some(response), Some(request)) = (self.response.take(), self.requests.pop_front()) else { return };
        let process = if response.first.process == Upid::NONE { request.first.process } else { response.first.process };
        sink.counters.records += 1;
        sink.records.push_back(Record::Http(Exchange {
            request_time: request.first.at,
            response_time: response.first.at,
            latency: response.first.at.since(request.last_at),
            major_version: 1,
            minor_version: request.head.minor_version,
            content_type: response.head.content_type,
            method: request.head.method,
            path: request.head.path,
            req_headers: request.head.headers,
            req_body_size: request.body.size,
            req_body: request.head.policy.show(request.body),
            status: response.head.status,
            message: response.head.message,
            resp_headers: response.head.headers,
            resp_body_size: response.body.size,
            resp_body: response.head.policy.show(response.body),
            process,
            role: self.role,
        }));
    }

    /// The count is gone.
    fn fall_out_of_step(&mut self) {
        self.in_step = false;
        if self.pipelines {
            self.stop = Some(Stop::PairingLost);
        }
    }
}

/// The stitcher as the reader of requests sees it.
pub(super) struct Requests<'a> {
    pub(super) stitcher: &'a mut Stitcher,
    pub(super) sink: &'a mut Sink,
}

impl Handler for Requests<'_> {
    const KIND: Kind = Kind::Request;

    fn head(&mut self, head: &[u8], first: Stamp, last: Stamp) -> Answer {
        let Ok(head) = parse_request(head, &mut self.sink.heads) else { return Answer::Bad };
        let stitcher = &mut *self.stitcher;
        if stitcher.requests.len() >= REQUESTS_WAITING_MAX {
            stitcher.drop_requests(REQUESTS_WAITING_MAX, self.sink);
            stitcher.fall_out_of_step();
        }
        let (framing, body) = (head.framing, Body { keep: head.policy.keeps(), ..Body::default() });
        let lost_until = stitcher.lost_until.take();
        stitcher.requests.push_back(Request { head, first, last_at: last.at, body, complete: false, lost_until });
        stitcher.reading = true;
        framing.map_or(Answer::Endless, Answer::Body)
    }

    fn body(&mut self) -> &mut Body {
        match self.stitcher.requests.back_mut() {
            Some(request) if self.stitcher.reading => &mut request.body,
            _ => &mut self.stitcher.nobody,
        }
    }

    fn missed(&mut self, len: u64) {
        let missed = &mut self.sink.counters.body_bytes_not_captured;
        *missed = missed.saturating_add(len);
    }

    fn done(&mut self, at: MonoNs) {
        if let Some(request) = self.stitcher.requests.back_mut().filter(|_| self.stitcher.reading) {
            request.last_at = at;
            request.complete = true;
        }
        self.stitcher.reading = false;
        self.stitcher.emit_if_complete(self.sink);
    }

    fn done_unseen(&mut self, last_at: MonoNs) {
        self.done(last_at);
    }

    fn cut(&mut self) {
        if let Some(request) = self.stitcher.requests.back_mut().filter(|_| self.stitcher.reading) {
            request.complete = true;
            self.sink.counters.messages_cut += 1;
        }
        self.stitcher.reading = false;
        self.stitcher.emit_if_complete(self.sink);
    }

    fn lost(&mut self, seen: Option<MonoNs>) {
        self.stitcher.lost_until = self.stitcher.lost_until.max(Some(seen.unwrap_or(MonoNs(u64::MAX))));
        self.sink.counters.syncs_lost += 1;
    }

    fn skipped(&mut self, len: u64, at: MonoNs) {
        self.sink.counters.bytes_skipped += len;
        if len > 0 {
            self.stitcher.lost_until = Some(at);
        }
    }

    fn bad_head(&mut self, partial: bool) {
        let counters = &mut self.sink.counters;
        *(if partial { &mut counters.heads_lost } else { &mut counters.heads_bad }) += 1;
    }

    fn found(&mut self) {
        self.sink.counters.resyncs += 1;
    }
}

/// The stitcher as the reader of responses sees it.
pub(super) struct Responses<'a> {
    pub(super) stitcher: &'a mut Stitcher,
    pub(super) sink: &'a mut Sink,
}

impl Responses<'_> {
    fn finish(&mut self, passed: Passed) {
        self.stitcher.passed = passed;
        match &mut self.stitcher.response {
            Some(response) if response.paired => {
                response.complete = true;
                self.stitcher.emit_if_complete(self.sink);
            }
            _ => self.stitcher.response = None,
        }
    }
}

impl Handler for Responses<'_> {
    const KIND: Kind = Kind::Response;

    fn head(&mut self, head: &[u8], first: Stamp, last: Stamp) -> Answer {
        let Ok(head) = parse_response(head, &mut self.sink.heads) else { return Answer::Bad };
        let stitcher = &mut *self.stitcher;
        // The response before waits for the end of its request: so does this one.
        if stitcher.response.is_some() {
            if !stitcher.hurry {
                return Answer::Hold;
            }
            if let Some(request) = stitcher.requests.front_mut() {
                request.complete = true;
                self.sink.counters.messages_cut += 1;
                stitcher.reading &= stitcher.requests.len() > 1;
            }
            stitcher.emit_if_complete(self.sink);
        }
        let pairing = match stitcher.interim.take() {
            Some(pairing) => pairing,
            None => stitcher.pair(first.at, self.sink),
        };
        match pairing {
            Pairing::Wait => return Answer::Hold,
            Pairing::Unmatched => self.sink.counters.responses_unmatched += 1,
            Pairing::Paired => {}
        }
        stitcher.hurry = false;
        let paired = pairing == Pairing::Paired;
        let method = stitcher.requests.front().filter(|_| paired).map_or("", |request| &request.head.method);
        let (status, framing) = (head.status, head.framing(method));
        let upgraded = status == 101 || (method == "CONNECT" && matches!(status, 200..300));
        if matches!(status, 100..200) && !upgraded {
            stitcher.interim = Some(pairing);
            self.sink.counters.responses_unmatched -= u64::from(!paired);
            return Answer::Body(Framing::length(0));
        }
        let body = Body { keep: paired && head.policy.keeps(), ..Body::default() };
        stitcher.response = Some(Response { head, first, body, paired, complete: upgraded });
        if upgraded {
            if let Some(request) = stitcher.requests.front_mut() {
                request.complete = true;
            }
            self.finish(Passed::Until(last.at));
            self.stitcher.stop = Some(Stop::Upgraded);
            return Answer::Stop;
        }
        match framing {
            None => Answer::Endless,
            Some(framing) if paired || framing.is_done() => Answer::Body(framing),
            Some(framing) => Answer::BodyUnlessHead(framing),
        }
    }

    fn body(&mut self) -> &mut Body {
        match &mut self.stitcher.response {
            Some(response) => &mut response.body,
            None => &mut self.stitcher.nobody,
        }
    }

    fn missed(&mut self, len: u64) {
        let missed = &mut self.sink.counters.body_bytes_not_captured;
        *missed = missed.saturating_add(len);
    }

    fn done(&mut self, at: MonoNs) {
        self.finish(Passed::Until(at));
    }

    fn done_unseen(&mut self, _: MonoNs) {
        self.finish(Passed::Unseen);
    }

    fn cut(&mut self) {
        self.sink.counters.messages_cut += 1;
        self.finish(Passed::Unseen);
    }

    fn lost(&mut self, seen: Option<MonoNs>) {
        self.stitcher.fall_out_of_step();
        self.stitcher.interim = None;
        self.stitcher.passed = seen.map_or(Passed::Unseen, Passed::Until);
        self.sink.counters.syncs_lost += 1;
    }

    fn skipped(&mut self, len: u64, at: MonoNs) {
        self.sink.counters.bytes_skipped += len;
        if len > 0 {
            self.stitcher.passed = Passed::Until(at);
        }
    }

    fn bad_head(&mut self, partial: bool) {
        let counters = &mut self.sink.counters;
        *(if partial { &mut counters.heads_lost } else { &mut counters.heads_bad }) += 1;
    }

    fn found(&mut self) {
        self.sink.counters.resyncs += 1;
    }
}
