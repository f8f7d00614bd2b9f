//! The collector's thread: reads the ring, feeds the pipeline, appends its rows.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use collectors::{Counter, ProcessEvent, Source, SourceEvent, State, Status as CollectorStatus};
use conntrack::Event;
use engine::EventsLost;
use ids::{Asid, MonoNs, Upid};
use table_store::TableStore;
use tables::Table;
use tokio_util::sync::CancellationToken;

use crate::args::PemArgs;
use crate::clock::{self, Clock};
use crate::losses::LossReport;
use crate::pipeline::{Pipeline, Status};
use crate::processes::{ProcessNews, ProcessObserver, Processes, join_arguments};

/// How long the thread waits for the ring at most. Timers of the tracker run as often.
const READ_WAIT: Duration = Duration::from_millis(20);
/// How often rows are appended, so that they can be queried. Reference: the original samples as often.
const FLUSH_PERIOD: Duration = Duration::from_millis(200);
/// Rows that are appended before the period is over, which bounds what waits: about 8 MB of the widest rows usual.
const WAITING_ROWS_MAX: usize = 8_192;
/// How often losses are looked at, and told at most.
const LOSS_PERIOD: Duration = Duration::from_secs(1);

pub(crate) struct CollectLoop {
    source: Option<Source>,
    pipeline: Pipeline,
    store: Arc<TableStore>,
    processes: Processes,
    asid: Asid,
    losses: LossReport,
    events_lost: EventsLost,
    observer: Option<ProcessObserver>,
    conn_stats: Timer,
    flush: Timer,
    loss: Timer,
}

/// Something that is due every so often.
struct Timer {
    period: Duration,
    due: MonoNs,
}

impl Timer {
    fn new(period: Duration, now: MonoNs) -> Timer {
        Timer { period, due: now.plus(period) }
    }

    /// Whether it is due; if so, next time is a period later.
    fn is_due(&mut self, now: MonoNs) -> bool {
        let due = now >= self.due;
        if due {
            self.due = now.plus(self.period);
        }
        due
    }
}

impl CollectLoop {
    pub(crate) fn new(
        args: &PemArgs,
        own: Upid,
        asid: Asid,
        source: Option<Source>,
        store: Arc<TableStore>,
        (processes, events_lost, observer): (Processes, EventsLost, Option<ProcessObserver>),
        statuses: &[CollectorStatus],
    ) -> CollectLoop {
        let now = clock::now();
        let mut pipeline = Pipeline::new(own, Clock::read());
        for status in statuses {
            tell_status(&mut pipeline, now, status);
        }
        CollectLoop {
            source,
            pipeline,
            store,
            processes,
            asid,
            losses: LossReport::default(),
            events_lost,
            observer,
            conn_stats: Timer::new(Duration::from_millis(args.conn_stats_period_ms), now),
            flush: Timer::new(Duration::ZERO, now),
            loss: Timer::new(LOSS_PERIOD, now),
        }
    }

    /// Runs until the stop; then what is in the ring is read and appended.
    pub(crate) fn run(mut self, stop: &CancellationToken) {
        self.flush(clock::now());
        self.flush.period = FLUSH_PERIOD;
        while !stop.is_cancelled() {
            if !self.read(READ_WAIT) {
                return;
            }
            self.timers(clock::now());
        }
        self.read(Duration::ZERO);
        let now = clock::now();
        self.conn_stats(now);
        self.flush(now);
    }

    /// Reads the ring once. False if there is none, or no more.
    fn read(&mut self, wait: Duration) -> bool {
        let Some(source) = &mut self.source else { return false };
        let now = OnceCell::new();
        let (pipeline, asid) = (&mut self.pipeline, self.asid);
        let known = Known { processes: &self.processes, observer: self.observer.as_ref() };
        let read = source.read(wait, &mut |event| {
            // One look at the clock a batch, and after the wait.
            let now = *now.get_or_init(clock::now);
            match event {
                SourceEvent::Socket(event) => pipeline.socket_event(&event, now),
                SourceEvent::Process(event) => process_event(pipeline, known, asid, &event),
            }
        });
        if let Err(error) = read {
            tracing::error!(%error, "the ring cannot be read any more: no rows from now on");
            self.pipeline.collector_status(clock::now(), "socket data", Status::FailedPrecondition, &error.to_string(), "{}");
            self.flush(clock::now());
            self.source = None;
            return false;
        }
        self.pipeline.tick(clock::now(), |socket, verdict| {
            if let Err(error) = source.set_verdict(socket, verdict) {
                tracing::debug!(%error, "a verdict cannot be told");
            }
        });
        true
    }

    fn timers(&mut self, now: MonoNs) {
        if self.loss.is_due(now) {
            self.tell_losses(now);
        }
        if self.conn_stats.is_due(now) {
            self.conn_stats(now);
        }
        if self.flush.is_due(now) || self.pipeline.waiting_rows() >= WAITING_ROWS_MAX {
            self.flush(now);
        }
    }

    fn conn_stats(&mut self, now: MonoNs) {
        if let Some(source) = &self.source {
            for (socket, counters) in source.poll_counters(&self.pipeline.open_sockets()) {
                self.pipeline.socket_event(&Event::Counted { socket, counters }, now);
            }
        }
        self.pipeline.conn_stats(now);
    }

    fn tell_losses(&mut self, now: MonoNs) {
        let Some(source) = &self.source else { return };
        let (losses, metrics) = (source.losses(), self.pipeline.tracker_metrics());
        self.events_lost.set(losses.get(Counter::RingLostRecords));
        let Some(loss) = self.losses.update(&losses, &metrics) else { return };
        tracing::warn!(what = loss.text, "lost");
        self.pipeline.collector_status(now, "socket data", Status::ResourceUnavailable, &loss.text, &loss.context);
    }

    fn flush(&mut self, now: MonoNs) {
        self.pipeline.set_clock(Clock::read());
        let store = &self.store;
        self.pipeline.flush(|table, batch| append(store, table, batch));
        tracing::trace!(at = self.pipeline.wall(now).0, "flushed");
    }
}

fn append(store: &TableStore, table: &'static Table, batch: RecordBatch) {
    let rows = batch.num_rows();
    let appended = store.table(table.name).map(|table| table.append(batch));
    match appended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::error!(table = table.name, rows, %error, "rows cannot be appended: dropped"),
        None => tracing::error!(table = table.name, rows, "there is no such table: rows dropped"),
    }
}

fn tell_status(pipeline: &mut Pipeline, now: MonoNs, status: &CollectorStatus) {
    let name = status.collector.to_string();
    match &status.state {
        State::Running { way } => {
            let hook = way.map_or_else(|| name.clone(), |way| way.to_string());
            pipeline.collector_status(now, &name, Status::Ok, "", "{}");
            pipeline.probe_status(now, &name, &hook, Status::Ok, "");
        }
        State::Off => {
            pipeline.collector_status(now, &name, Status::Cancelled, "off: it was not asked for", "{}");
            pipeline.probe_status(now, &name, &name, Status::Cancelled, "off: it was not asked for");
        }
        State::Failed { reason, remedy } => {
            let error = format!("{reason}; {remedy}");
            pipeline.collector_status(now, &name, Status::FailedPrecondition, &error, "{}");
            pipeline.probe_status(now, &name, &name, Status::FailedPrecondition, &error);
        }
    }
}

/// Who wants to know of processes.
#[derive(Clone, Copy)]
struct Known<'a> {
    processes: &'a Processes,
    observer: Option<&'a ProcessObserver>,
}

impl Known<'_> {
    fn learn(self, upid: Upid, cmdline: &str) {
        self.processes.learn(upid, cmdline);
        self.tell(|| ProcessNews::Started { upid, cmdline: cmdline.to_owned() });
    }

    fn tell(self, news: impl FnOnce() -> ProcessNews) {
        if let Some(observer) = self.observer {
            observer(news());
        }
    }
}

fn process_event(pipeline: &mut Pipeline, known: Known<'_>, asid: Asid, event: &ProcessEvent<'_>) {
    match event {
        ProcessEvent::Seen(process) => {
            if !known.processes.is_known(process.upid) {
                known.learn(process.upid, &read_cmdline(process.upid.pid()).unwrap_or_else(|| lossy(process.comm)));
            }
        }
        ProcessEvent::Exec { process, command_line } => {
            let line = join_arguments(command_line);
            known.learn(process.upid, if line.is_empty() { std::str::from_utf8(process.comm).unwrap_or("") } else { &line });
        }
        ProcessEvent::Exit { process, at, comm, code, signal } => {
            debug_assert_eq!(process.asid(), asid);
            let ended = pipeline.wall(*at);
            known.tell(|| ProcessNews::Ended { upid: *process, ended });
            pipeline.process_exited(*at, *process, code.map_or(0, i64::from), signal.map_or(0, i64::from), &lossy(comm));
        }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// From `/proc`; `None` if the process is gone or has no arguments (a kernel thread).
fn read_cmdline(pid: u32) -> Option<String> {
    let line = join_arguments(&std::fs::read(format!("/proc/{pid}/cmdline")).ok()?);
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_due_once_a_period() {
        let mut timer = Timer::new(Duration::from_nanos(10), MonoNs(0));
        assert!(!timer.is_due(MonoNs(9)));
        assert!(timer.is_due(MonoNs(10)));
        assert!(!timer.is_due(MonoNs(19)));
        assert!(timer.is_due(MonoNs(25)));
    }
}
