//! The book in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{AgentId, TracepointId, UnixNs};
use serde::{Deserialize, Serialize};

use super::book::{Book, UnsavedTracepoints};
use super::types::{Deployment, Program, Report, Selector, State, Status, Tracepoint, Wanted};
use crate::Error;
use crate::agents::{Incarnation, KernelVersion};
use crate::store::{Fence, Key, Store, TRANSACTION_BYTES_MAX, TRANSACTION_OPERATIONS_MAX, Transaction, decode, encode};

const TRACEPOINTS: &str = "/tracepoint/";
const REPORTS: &str = "/tracepointStates/";
/// A report has a few KiB at most: as many as stay far below the store's limits.
const REPORTS_PER_COMMIT: usize = TRANSACTION_OPERATIONS_MAX / 2;
const _: () = assert!(REPORTS_PER_COMMIT * 8 * 1024 < TRANSACTION_BYTES_MAX);

/// Writes what changed in a book, and reads it back.
#[derive(Debug)]
pub struct TracepointKeeper {
    fence: Fence,
}

impl TracepointKeeper {
    /// What was kept.
    ///
    /// # Errors
    /// The store cannot be read, or holds a record that cannot be read.
    pub async fn load(store: &dyn Store, fence: Fence) -> Result<(TracepointKeeper, Book), Error> {
        let mut tracepoints = BTreeMap::new();
        for (key, bytes) in store.scan(&Key::new(TRACEPOINTS)?).await? {
            let tracepoint = decode::<TracepointRecord>(key.as_str(), &bytes)?.read(key.as_str())?;
            tracepoints.insert(tracepoint.id, tracepoint);
        }
        let prefix = Key::new(REPORTS)?;
        for (key, bytes) in store.scan(&prefix).await? {
            let broken = || Error::Record { key: key.to_string(), reason: "its name is none of a report's".to_owned() };
            let (id, agent) = key.after(&prefix).and_then(|name| name.split_once('/')).ok_or_else(broken)?;
            let id: TracepointId = id.parse().map_err(|_| broken())?;
            let agent: AgentId = agent.parse().map_err(|_| broken())?;
            let report = decode::<ReportRecord>(key.as_str(), &bytes)?.read(key.as_str())?;
            // Of one that was forgotten, if the process ended between the two writes.
            if let Some(tracepoint) = tracepoints.get_mut(&id) {
                tracepoint.reports.insert(agent, report);
            }
        }
        Ok((TracepointKeeper { fence }, Book::load(tracepoints.into_values().collect())))
    }

    /// Writes what changed. When it fails the book still has it to write, and nobody must be told of it yet.
    ///
    /// # Errors
    /// The store refuses, or somebody else writes to it ([`Error::Conflict`]): then this process is no longer the leader.
    pub async fn save(&self, book: &mut Book, store: &dyn Store) -> Result<(), Error> {
        let unsaved = book.take_unsaved();
        if unsaved.is_empty() {
            return Ok(());
        }
        let written = self.write(book, &unsaved, store).await;
        if written.is_err() {
            book.put_back(unsaved);
        }
        written
    }

    async fn write(&self, book: &Book, unsaved: &UnsavedTracepoints, store: &dyn Store) -> Result<(), Error> {
        // One of them can fill a good part of a transaction.
        for id in &unsaved.tracepoints {
            let at = Key::new(format!("{TRACEPOINTS}{id}"))?;
            let transaction = match book.get(*id) {
                Some(tracepoint) => Transaction::new().put(at, encode(&TracepointRecord::of(tracepoint))),
                None => Transaction::new().delete(at),
            };
            self.fence.commit(store, transaction, TRACEPOINTS).await?;
        }
        let reports: Vec<&(TracepointId, AgentId)> = unsaved.reports.iter().collect();
        for reports in reports.chunks(REPORTS_PER_COMMIT) {
            let mut transaction = Transaction::new();
            for (id, agent) in reports {
                let at = Key::new(format!("{REPORTS}{id}/{agent}"))?;
                transaction = match book.get(*id).and_then(|tracepoint| tracepoint.reports.get(agent)) {
                    Some(report) => transaction.put(at, encode(&ReportRecord::of(report))),
                    None => transaction.delete(at),
                };
            }
            self.fence.commit(store, transaction, REPORTS).await?;
        }
        Ok(())
    }
}

/// A tracepoint as it is kept. Fields are added, never given another meaning.
#[derive(Debug, Serialize, Deserialize)]
struct TracepointRecord {
    id: String,
    name: String,
    /// `running` or `gone`.
    wanted: String,
    expires_ns: i64,
    /// Base64.
    target: String,
    programs: Vec<ProgramRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ProgramRecord {
    table: String,
    /// `kernel_min`, `kernel_max` or `host`, and the value.
    selectors: Vec<(String, String)>,
    /// Base64.
    body: String,
}

impl TracepointRecord {
    fn of(tracepoint: &Tracepoint) -> TracepointRecord {
        TracepointRecord {
            id: tracepoint.id.to_string(),
            name: tracepoint.name.clone(),
            wanted: match tracepoint.wanted {
                Wanted::Running => "running".to_owned(),
                Wanted::Gone => "gone".to_owned(),
            },
            expires_ns: tracepoint.expires.0,
            target: STANDARD.encode(&tracepoint.deployment.target),
            programs: tracepoint.deployment.programs.iter().map(ProgramRecord::of).collect(),
        }
    }

    fn read(self, key: &str) -> Result<Tracepoint, Error> {
        let broken = |reason: &str| Error::Record { key: key.to_owned(), reason: reason.to_owned() };
        let wanted = match self.wanted.as_str() {
            "running" => Wanted::Running,
            "gone" => Wanted::Gone,
            other => return Err(broken(&format!("nothing that can be wanted: `{other}`"))),
        };
        let programs = self.programs.into_iter().map(|program| program.read(key)).collect::<Result<_, _>>()?;
        let target = STANDARD.decode(self.target).map_err(|_| broken("its target is not base64"))?;
        Ok(Tracepoint {
            id: self.id.parse().map_err(|_| broken("its id is no UUID"))?,
            name: self.name,
            deployment: Arc::new(Deployment { target, programs }),
            wanted,
            expires: UnixNs(self.expires_ns),
            reports: BTreeMap::new(),
        })
    }
}

impl ProgramRecord {
    fn of(program: &Program) -> ProgramRecord {
        let version = |kernel: &KernelVersion| format!("{}.{}.{}", kernel.version, kernel.major, kernel.minor);
        let selector = |selector: &Selector| match selector {
            Selector::KernelMin(kernel) => ("kernel_min".to_owned(), version(kernel)),
            Selector::KernelMax(kernel) => ("kernel_max".to_owned(), version(kernel)),
            Selector::Host(name) => ("host".to_owned(), name.clone()),
        };
        ProgramRecord {
            table: program.table.clone(),
            selectors: program.selectors.iter().map(selector).collect(),
            body: STANDARD.encode(&program.body),
        }
    }

    fn read(self, key: &str) -> Result<Program, Error> {
        let broken = |reason: String| Error::Record { key: key.to_owned(), reason };
        let selector = |(kind, value): (String, String)| {
            let kernel = || KernelVersion::parse(&value).ok_or_else(|| broken(format!("`{value}` is no kernel's version")));
            match kind.as_str() {
                "kernel_min" => kernel().map(Selector::KernelMin),
                "kernel_max" => kernel().map(Selector::KernelMax),
                "host" => Ok(Selector::Host(value.clone())),
                other => Err(broken(format!("no selector `{other}`"))),
            }
        };
        let selectors = self.selectors.into_iter().map(selector).collect::<Result<_, _>>()?;
        let body = STANDARD.decode(self.body).map_err(|_| broken("its program is not base64".to_owned()))?;
        Ok(Program { table: self.table, selectors, body })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct ReportRecord {
    incarnation: u64,
    /// `pending`, `running`, `failed` or `terminated`.
    state: String,
    code: i32,
    message: String,
}

impl ReportRecord {
    fn of(report: &Report) -> ReportRecord {
        ReportRecord {
            incarnation: report.incarnation.0,
            state: report.state.to_string(),
            code: report.status.code,
            message: report.status.message.clone(),
        }
    }

    fn read(self, key: &str) -> Result<Report, Error> {
        let states = [State::Pending, State::Running, State::Failed, State::Terminated];
        let state = states.into_iter().find(|state| state.to_string() == self.state);
        let state = state.ok_or_else(|| Error::Record { key: key.to_owned(), reason: format!("no state `{}`", self.state) })?;
        let status = Status { code: self.code, message: self.message };
        Ok(Report { incarnation: Incarnation(self.incarnation), state, status })
    }
}
