//! The shelf in the store.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ids::{ScriptId, UnixNs};
use serde::{Deserialize, Serialize};

use super::shelf::{Outcome, RESULTS_KEPT, Run, Script, Shelf, Stats};
use crate::Error;
use crate::store::{Fence, Key, Store, Transaction, Write, decode, encode};

const SCRIPTS: &str = "/cronScript/";
const RESULTS: &str = "/cronScriptResults/";
/// Bytes of values in one transaction, so that it stays below the store's limit with its keys.
const COMMIT_BYTES_MAX: usize = 768 * 1024;
/// Writes in one transaction.
const COMMIT_WRITES_MAX: usize = 100;

/// Writes what changes on a shelf, and reads it back.
#[derive(Debug)]
pub struct ScriptKeeper {
    fence: Fence,
}

impl ScriptKeeper {
    /// What was kept.
    ///
    /// # Errors
    /// The store cannot be read, or holds a record that cannot be read.
    pub async fn load(store: &dyn Store, fence: Fence) -> Result<(ScriptKeeper, Shelf), Error> {
        let mut shelf = Shelf::default();
        let prefix = Key::new(SCRIPTS)?;
        for (key, bytes) in store.scan(&prefix).await? {
            let id = id_of(key.after(&prefix).unwrap_or_default(), key.as_str())?;
            shelf.scripts.insert(id, Arc::new(decode::<ScriptRecord>(key.as_str(), &bytes)?.read()));
        }
        let prefix = Key::new(RESULTS)?;
        let mut runs: BTreeMap<ScriptId, BTreeMap<u64, Run>> = BTreeMap::new();
        for (key, bytes) in store.scan(&prefix).await? {
            let name = key.after(&prefix).unwrap_or_default();
            let id = id_of(name.split_once('/').map_or(name, |(id, _)| id), key.as_str())?;
            let record: RunRecord = decode(key.as_str(), &bytes)?;
            // Of one that was forgotten, if the process ended between two writes.
            if shelf.scripts.contains_key(&id) {
                runs.entry(id).or_default().insert(record.number, record.read());
            }
        }
        for (id, runs) in runs {
            let last = runs.last_key_value().map_or(0, |(number, _)| *number);
            shelf.runs.insert(id, (last, runs.into_values().collect::<VecDeque<_>>()));
        }
        Ok((ScriptKeeper { fence }, shelf))
    }

    /// Writes what makes `after` of `before`. When it fails some of it may be written: then `before` counts on, and the same is asked for again.
    ///
    /// # Errors
    /// The store refuses, or somebody else writes to it ([`Error::Conflict`]): then this process is no longer the leader.
    pub async fn save(&self, before: &Shelf, after: &Shelf, store: &dyn Store) -> Result<(), Error> {
        let mut transaction = (Transaction::new(), 0, 0);
        for write in differences(before, after)? {
            let bytes = match &write {
                Write::Put(_, value) => value.len(),
                Write::Delete(_) => 0,
            };
            if transaction.1 == COMMIT_WRITES_MAX || transaction.2 + bytes > COMMIT_BYTES_MAX {
                self.fence.commit(store, std::mem::take(&mut transaction).0, SCRIPTS).await?;
            }
            let (pending, writes, sum) = transaction;
            let pending = match write {
                Write::Put(key, value) => pending.put(key, value),
                Write::Delete(key) => pending.delete(key),
            };
            transaction = (pending, writes + 1, sum + bytes);
        }
        if transaction.0.is_empty() { Ok(()) } else { self.fence.commit(store, transaction.0, SCRIPTS).await }
    }
}

fn differences(before: &Shelf, after: &Shelf) -> Result<Vec<Write>, Error> {
    let mut writes = Vec::new();
    for id in before.scripts.keys().filter(|id| !after.scripts.contains_key(id)) {
        writes.push(Write::Delete(script_key(*id)?));
        for place in 0..RESULTS_KEPT {
            writes.push(Write::Delete(run_key(*id, place)?));
        }
    }
    for (id, script) in &after.scripts {
        if before.scripts.get(id) != Some(script) {
            writes.push(Write::Put(script_key(*id)?, encode(&ScriptRecord::of(script))));
        }
    }
    for (id, (last, runs)) in &after.runs {
        let known = before.runs.get(id).map_or(0, |(number, _)| *number);
        for (back, run) in runs.iter().rev().enumerate() {
            let number = last - back as u64;
            if number > known {
                writes.push(Write::Put(run_key(*id, (number % RESULTS_KEPT as u64) as usize)?, encode(&RunRecord::of(number, run))));
            }
        }
    }
    Ok(writes)
}

fn script_key(id: ScriptId) -> Result<Key, Error> {
    Key::new(format!("{SCRIPTS}{id}"))
}

fn run_key(id: ScriptId, place: usize) -> Result<Key, Error> {
    Key::new(format!("{RESULTS}{id}/{place:04}"))
}

fn id_of(text: &str, key: &str) -> Result<ScriptId, Error> {
    text.parse().map_err(|error: ids::ParseIdError| Error::Record { key: key.to_owned(), reason: error.to_string() })
}

/// A script as it is kept. Fields are added, never given another meaning.
#[derive(Debug, Serialize, Deserialize)]
struct ScriptRecord {
    script: String,
    cron_expression: String,
    configs: String,
    frequency_s: i64,
}

impl ScriptRecord {
    fn of(script: &Script) -> ScriptRecord {
        let Script { text, cron_expression, configs, frequency_s } = script.clone();
        ScriptRecord { script: text, cron_expression, configs, frequency_s }
    }

    fn read(self) -> Script {
        let ScriptRecord { script, cron_expression, configs, frequency_s } = self;
        Script { text: script, cron_expression, configs, frequency_s }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct RunRecord {
    number: u64,
    at_ns: i64,
    /// Code and message, if it failed.
    error: Option<(i32, String)>,
    execution_ns: i64,
    compilation_ns: i64,
    bytes: i64,
    records: i64,
}

impl RunRecord {
    fn of(number: u64, run: &Run) -> RunRecord {
        let (error, stats) = match &run.outcome {
            Outcome::Failed(code, message) => (Some((*code, message.clone())), Stats::default()),
            Outcome::Done(stats) => (None, *stats),
        };
        let Stats { execution_ns, compilation_ns, bytes, records } = stats;
        RunRecord { number, at_ns: run.at.0, error, execution_ns, compilation_ns, bytes, records }
    }

    fn read(self) -> Run {
        let RunRecord { number: _, at_ns, error, execution_ns, compilation_ns, bytes, records } = self;
        let outcome = match error {
            Some((code, message)) => Outcome::Failed(code, message),
            None => Outcome::Done(Stats { execution_ns, compilation_ns, bytes, records }),
        };
        Run { at: UnixNs(at_ns), outcome }
    }
}
