use std::io::ErrorKind;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::{Committed, Key, PAGE_ENTRIES_MAX, Page, Store, Transaction, Write};
use crate::Error;

/// Keys and values.
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
/// What the file is.
const FILE: TableDefinition<'_, &str, u32> = TableDefinition::new("file");
const FORMAT_KEY: &str = "format";
/// Of keys and values. A release that changes it reads the ones before.
const FORMAT: u32 = 1;
/// Pages of the file that are kept in memory. The state of a thousand agents is a few MiB.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// A store in one file, of one process. A commit is on disk when it returns; after a crash the file is as after the last commit.
#[derive(Debug, Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    /// None after a failure of the file, which redb forgets only when it is opened anew: the next call does so.
    database: RwLock<Option<Database>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the file, or makes it and its folder. All of it is checked, so that damage shows now. Blocks while it reads.
    ///
    /// # Errors
    /// Another process has it; it cannot be read or written; it is damaged, something else, or of a newer release.
    pub fn open(path: &Path) -> Result<Embedded, Error> {
        let database = open(path)?;
        Ok(Embedded { shared: Arc::new(Shared { path: path.to_owned(), database: RwLock::new(Some(database)) }) })
    }

    async fn run<T, F>(&self, action: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || shared.run(action)).await.map_err(|_| Error::Stopped)?
    }
}

impl Shared {
    fn run<T>(&self, action: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Error> {
        {
            let mut database = self.database.write();
            if database.is_none() {
                *database = Some(open(&self.path)?);
                tracing::info!(path = %self.path.display(), "opened the store again");
            }
        }
        let outcome = {
            let database = self.database.read();
            // Someone else may have failed and closed it between the two locks.
            let Some(database) = database.as_ref() else { return Err(Error::Stopped) };
            action(database)
        };
        outcome.map_err(|error| {
            *self.database.write() = None;
            describe("use", &self.path, error)
        })
    }
}

fn open(path: &Path) -> Result<Database, Error> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| describe_io("make the folder of", path, error))?;
    }
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    let database = builder.create(path).map_err(|error| describe("open", path, error.into()))?;
    match prepare(&database).map_err(|error| describe("prepare", path, error))? {
        FORMAT => Ok(database),
        found => Err(Error::NewerFormat { path: path.to_owned(), found, known: FORMAT }),
    }
}

/// Makes the tables of a new file; the format of an old one.
fn prepare(database: &Database) -> Result<u32, redb::Error> {
    let known = match database.begin_read()?.open_table(FILE) {
        Ok(file) => file.get(FORMAT_KEY)?.map(|format| format.value()),
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(format) = known {
        return Ok(format);
    }
    let transaction = database.begin_write()?;
    transaction.open_table(FILE)?.insert(FORMAT_KEY, FORMAT)?;
    transaction.open_table(STATE)?;
    transaction.commit()?;
    Ok(FORMAT)
}

#[async_trait::async_trait]
impl Store for Embedded {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error> {
        let key = key.clone();
        self.run(move |database| {
            let state = database.begin_read()?.open_table(STATE)?;
            Ok(state.get(key.as_str())?.map(|value| value.value().to_vec()))
        })
        .await
    }

    async fn page(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Error> {
        let (prefix, after) = (prefix.clone(), after.cloned());
        self.run(move |database| page(database, &prefix, after.as_ref())).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, Error> {
        transaction.check()?;
        self.run(move |database| commit(database, &transaction)).await
    }
}

fn page(database: &Database, prefix: &Key, after: Option<&Key>) -> Result<Page, redb::Error> {
    let state = database.begin_read()?.open_table(STATE)?;
    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded(after.as_str()),
        Some(_) | None => Bound::Included(prefix.as_str()),
    };
    let mut page = Page::default();
    for entry in state.range::<&str>((from, Bound::Unbounded))? {
        let (key, value) = entry?;
        if !key.value().starts_with(prefix.as_str()) {
            break;
        }
        if page.entries.len() == PAGE_ENTRIES_MAX {
            page.more = true;
            break;
        }
        // Only keys that were checked get in.
        if let Ok(key) = Key::new(key.value()) {
            page.entries.push((key, value.value().to_vec()));
        }
    }
    Ok(page)
}

fn commit(database: &Database, transaction: &Transaction) -> Result<Committed, redb::Error> {
    let writing = database.begin_write()?;
    {
        let mut state = writing.open_table(STATE)?;
        for condition in &transaction.conditions {
            let found = state.get(condition.key.as_str())?;
            if found.as_ref().map(redb::AccessGuard::value) != condition.value.as_deref() {
                return Ok(Committed::Conflict);
            }
        }
        for write in &transaction.writes {
            match write {
                Write::Put(key, value) => state.insert(key.as_str(), value.as_slice())?,
                Write::Delete(key) => state.remove(key.as_str())?,
            };
        }
    }
    writing.commit()?;
    Ok(Committed::Done)
}

fn describe(action: &'static str, path: &Path, error: redb::Error) -> Error {
    let path_of = || path.to_owned();
    #[expect(clippy::wildcard_enum_match_arm, reason = "redb's list of errors is open, and the others are one thing to us: not our file")]
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Error::Locked { path: path_of() },
        redb::Error::Io(source) => describe_io(action, path, source),
        redb::Error::PreviousIo => describe_io(action, path, std::io::Error::other("an earlier failure")),
        redb::Error::DatabaseClosed => Error::Stopped,
        other => Error::Damaged { path: path_of(), reason: other.to_string() },
    }
}

fn describe_io(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    let path = path.to_owned();
    #[expect(clippy::wildcard_enum_match_arm, reason = "the kernel's list is open")]
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Error::VolumeFull { path, source },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Error::Unwritable { path, source },
        ErrorKind::InvalidData | ErrorKind::IsADirectory => Error::Damaged { path, reason: source.to_string() },
        _ => Error::File { action, path, source },
    }
}
