//! What the collector reads becomes rows: events into the tracker, records into columns, verdicts back to the kernel.

use conntrack::{ConnStatsRow, ConnTracker, Event, Limits, Metrics, Output, Verdict};
use ids::{Endpoints, MonoNs, Role, SocketId, UnixNs, Upid};
use protocols::Record;
use protocols::http::Exchange;
use tables::Table;

use crate::clock::Clock;
use crate::rows::Rows;

/// A status as `stirling_error` and `probe_status` number it. Reference: tables.md §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Ok = 0,
    Cancelled = 1,
    ResourceUnavailable = 11,
    FailedPrecondition = 13,
}

/// The collector's side of the node agent, without the kernel: events and times in, rows out.
pub(crate) struct Pipeline {
    tracker: ConnTracker,
    clock: Clock,
    /// The agent itself, the process of the rows about its own state.
    own: Upid,
    /// What the tracker decided since the last tick; at most one for each event.
    verdicts: Vec<(SocketId, Verdict)>,
    http_events: Rows,
    conn_stats: Rows,
    proc_exit_events: Rows,
    stirling_error: Rows,
    probe_status: Rows,
}

impl Pipeline {
    pub(crate) fn new(own: Upid, clock: Clock) -> Pipeline {
        Pipeline {
            tracker: ConnTracker::new(Limits::default()),
            clock,
            own,
            verdicts: Vec::new(),
            http_events: Rows::new(&tables::HTTP_EVENTS),
            conn_stats: Rows::new(&tables::CONN_STATS),
            proc_exit_events: Rows::new(&tables::PROC_EXIT_EVENTS),
            stirling_error: Rows::new(&tables::STIRLING_ERROR),
            probe_status: Rows::new(&tables::PROBE_STATUS),
        }
    }

    /// The wall clock may have stepped since the last time.
    pub(crate) fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    pub(crate) fn socket_event(&mut self, event: &Event<'_>, now: MonoNs) {
        self.tracker.handle(event, now);
        self.take_outputs();
    }

    /// Timers of the tracker; what it decided on is handed to `verdict`.
    pub(crate) fn tick(&mut self, now: MonoNs, mut verdict: impl FnMut(SocketId, Verdict)) {
        self.tracker.tick(now);
        self.take_outputs();
        for (socket, decided) in self.verdicts.drain(..) {
            verdict(socket, decided);
        }
    }

    /// After every event: a record becomes a row while its bytes are in the processor's caches, and its memory serves the next one.
    fn take_outputs(&mut self) {
        while let Some(output) = self.tracker.poll() {
            match output {
                Output::Record { endpoints, role, record: Record::Http(exchange), .. } => self.http_row(endpoints, role, &exchange),
                Output::Verdict { socket, verdict } => self.verdicts.push((socket, verdict)),
            }
        }
    }

    fn http_row(&mut self, endpoints: Option<Endpoints>, role: Role, exchange: &Exchange) {
        let (local, remote) = (endpoints.map(|e| e.local), endpoints.map(|e| e.remote));
        self.http_events
            .row()
            .time(self.clock.wall(exchange.response_time))
            .upid(exchange.process)
            .ip(remote.map(|a| a.ip()))
            .int(remote.map_or(0, |a| i64::from(a.port())))
            .ip(local.map(|a| a.ip()))
            .int(local.map_or(0, |a| i64::from(a.port())))
            .int(role as i64)
            .boolean(false)
            .int(i64::from(exchange.major_version))
            .int(i64::from(exchange.minor_version))
            .int(exchange.content_type as i64)
            .text(&exchange.req_headers)
            .text(&exchange.method)
            .text(&exchange.path)
            .text(&exchange.req_body)
            .int(exchange.req_body_size as i64)
            .text(&exchange.resp_headers)
            .int(i64::from(exchange.status))
            .text(&exchange.message)
            .text(&exchange.resp_body)
            .int(exchange.resp_body_size as i64)
            .int(i64::try_from(exchange.latency.as_nanos()).unwrap_or(i64::MAX))
            .end();
    }

    /// Rows of conn_stats for what changed since the last call.
    pub(crate) fn conn_stats(&mut self, now: MonoNs) {
        for row in self.tracker.conn_stats(now) {
            self.conn_stats_row(&row, now);
        }
    }

    fn conn_stats_row(&mut self, row: &ConnStatsRow, now: MonoNs) {
        self.conn_stats
            .row()
            .time(self.clock.wall(now))
            .upid(row.upid)
            .ip(row.remote_addr)
            .int(i64::from(row.remote_port))
            .int(row.role as i64)
            .int(row.addr_family as i64)
            .int(row.protocol as i64)
            .boolean(row.ssl)
            .int(row.conn_open as i64)
            .int(row.conn_close as i64)
            .int(row.conn_active as i64)
            .int(row.bytes_sent as i64)
            .int(row.bytes_received as i64)
            .end();
    }

    /// Sockets whose kernel counters conn_stats needs.
    pub(crate) fn open_sockets(&self) -> Vec<SocketId> {
        self.tracker.open_sockets().collect()
    }

    pub(crate) fn tracker_metrics(&self) -> Metrics {
        self.tracker.metrics()
    }

    pub(crate) fn process_exited(&mut self, at: MonoNs, upid: Upid, exit_code: i64, signal: i64, comm: &str) {
        self.proc_exit_events.row().time(self.clock.wall(at)).upid(upid).int(exit_code).int(signal).text(comm).end();
    }

    /// A row of stirling_error: the state of a collector, or what it lost.
    pub(crate) fn collector_status(&mut self, now: MonoNs, connector: &str, status: Status, error: &str, context: &str) {
        let time = self.clock.wall(now);
        self.stirling_error.row().time(time).upid(self.own).text(connector).int(status as i64).text(error).text(context).end();
    }

    /// A row of probe_status: the state of one hook.
    pub(crate) fn probe_status(&mut self, now: MonoNs, connector: &str, probe: &str, status: Status, error: &str) {
        let time = self.clock.wall(now);
        self.probe_status.row().time(time).upid(self.own).text(connector).text(probe).int(status as i64).text(error).text("{}").end();
    }

    /// Hands every table's new rows to `append`.
    pub(crate) fn flush(&mut self, mut append: impl FnMut(&'static Table, arrow::array::RecordBatch)) {
        for rows in
            [&mut self.http_events, &mut self.conn_stats, &mut self.proc_exit_events, &mut self.stirling_error, &mut self.probe_status]
        {
            match rows.take() {
                Ok(Some(batch)) => append(rows.table(), batch),
                Ok(None) => {}
                Err(error) => tracing::error!(table = rows.table().name, %error, "rows do not fit their table: dropped"),
            }
        }
    }

    /// Rows that wait for the next flush.
    pub(crate) fn waiting_rows(&self) -> usize {
        [&self.http_events, &self.conn_stats, &self.proc_exit_events].iter().map(|rows| rows.count()).sum()
    }

    pub(crate) fn wall(&self, at: MonoNs) -> UnixNs {
        self.clock.wall(at)
    }
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
