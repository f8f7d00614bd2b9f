use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ids::{ScriptId, UnixNs};

/// How its last runs went, for each script. Reference: a ring of 10.
pub const RESULTS_KEPT: usize = 10;
/// Scripts at a time. A control plane's retention has some tens.
pub const SCRIPTS_MAX: usize = 1000;
/// A script with its settings; one transaction of the store holds it.
const SCRIPT_BYTES_MAX: usize = 256 * 1024;
/// Why a run failed; the rest is cut off.
const MESSAGE_BYTES_MAX: usize = 4096;

/// A script that runs again and again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// PxL.
    pub text: String,
    /// When, in cron's language; kept for the control plane.
    pub cron_expression: String,
    /// YAML.
    pub configs: String,
    /// Seconds from run to run; 0 or less: never.
    pub frequency_s: i64,
}

/// What a run took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Nanoseconds.
    pub execution_ns: i64,
    /// Nanoseconds.
    pub compilation_ns: i64,
    /// Bytes read.
    pub bytes: i64,
    /// Rows read.
    pub records: i64,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It failed. Reference: `Code` of `statuspb/status.proto`, and why.
    Failed(i32, String),
    /// It ran.
    Done(Stats),
}

/// One run of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// When it was.
    pub at: UnixNs,
    /// What came of it.
    pub outcome: Outcome,
}

/// Why a script was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is too large.
    #[error("a script of {0} bytes cannot be kept: {SCRIPT_BYTES_MAX} is the limit")]
    TooLarge(usize),
    /// There are too many.
    #[error("{0} scripts cannot be kept: {SCRIPTS_MAX} is the limit")]
    TooMany(usize),
    /// A run of a script that there is not.
    #[error("there is no such script")]
    Unknown,
}

/// All scripts, with their last runs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Shelf {
    pub(super) scripts: BTreeMap<ScriptId, Arc<Script>>,
    /// Newest last; the number of the newest run, from which its place in the ring follows.
    pub(super) runs: BTreeMap<ScriptId, (u64, VecDeque<Run>)>,
}

impl Shelf {
    /// All scripts.
    pub fn scripts(&self) -> &BTreeMap<ScriptId, Arc<Script>> {
        &self.scripts
    }

    /// The last runs of all scripts, oldest first.
    pub fn runs(&self) -> impl Iterator<Item = (ScriptId, &Run)> {
        self.runs.iter().flat_map(|(id, (_, runs))| runs.iter().map(|run| (*id, run)))
    }

    /// Keeps one, in place of what it was before.
    ///
    /// # Errors
    /// It is too large, or there are too many.
    pub fn put(&mut self, id: ScriptId, script: Script) -> Result<(), Refused> {
        check(&script)?;
        if !self.scripts.contains_key(&id) && self.scripts.len() >= SCRIPTS_MAX {
            return Err(Refused::TooMany(self.scripts.len() + 1));
        }
        self.scripts.insert(id, Arc::new(script));
        Ok(())
    }

    /// Forgets one, with its runs. Says whether it was there.
    pub fn remove(&mut self, id: ScriptId) -> bool {
        self.runs.remove(&id);
        self.scripts.remove(&id).is_some()
    }

    /// Keeps these, and no others. Runs of those that stay stay.
    ///
    /// # Errors
    /// One is too large, or there are too many.
    pub fn replace(&mut self, scripts: BTreeMap<ScriptId, Arc<Script>>) -> Result<(), Refused> {
        scripts.values().try_for_each(|script| check(script))?;
        if scripts.len() > SCRIPTS_MAX {
            return Err(Refused::TooMany(scripts.len()));
        }
        self.runs.retain(|id, _| scripts.contains_key(id));
        self.scripts = scripts;
        Ok(())
    }

    /// Remembers how a run went, in place of the oldest one.
    ///
    /// # Errors
    /// There is no such script.
    pub fn record(&mut self, id: ScriptId, mut run: Run) -> Result<(), Refused> {
        if !self.scripts.contains_key(&id) {
            return Err(Refused::Unknown);
        }
        if let Outcome::Failed(_, message) = &mut run.outcome {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        }
        let (number, runs) = self.runs.entry(id).or_default();
        *number += 1;
        runs.push_back(run);
        while runs.len() > RESULTS_KEPT {
            runs.pop_front();
        }
        Ok(())
    }
}

fn check(script: &Script) -> Result<(), Refused> {
    let bytes = script.text.len() + script.configs.len() + script.cron_expression.len();
    if bytes > SCRIPT_BYTES_MAX { Err(Refused::TooLarge(bytes)) } else { Ok(()) }
}
