//! What survives a restart: one SQLite file. Other processes (`cloud key create`) may write to it at the same time.

mod clusters;
mod keys;
mod orgs;
mod scripts;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ids::UnixNs;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use uuid::Uuid;

use crate::Error;

pub(crate) use clusters::{Cluster, Facts};
pub(crate) use keys::Key;
pub use keys::KeyKind;
pub(crate) use orgs::{DEFAULT_ORG, Org};
pub(crate) use scripts::{Change, Script};

/// Within the state folder.
const FILE: &str = "cloud.sqlite";

/// Connections to the file: readers do not wait for each other, and there is one writer at a time anyway.
const CONNECTIONS_MAX: u32 = 4;

/// How long a writer waits for another process's.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// The database.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the database in `folder`, and makes what is missing: the file, tables, the organisation that is always there.
    pub(crate) async fn open(folder: &Path) -> Result<Store, Error> {
        make_folder(folder)?;
        let path = folder.join(FILE);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A registered identity that was told to a cluster is on the disk by then.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_MAX);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .connect_with(options)
            .await
            .map_err(|source| Error::Open { path: path.clone(), source })?;
        migrator().run(&pool).await.map_err(|source| Error::Migrate { path, source })?;
        let store = Store { pool };
        store.ensure_default_org().await?;
        Ok(store)
    }

    /// Lets the file go.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

fn migrator() -> Migrator {
    let initial = include_str!("../migrations/0001_initial.sql");
    Migrator::with_migrations(vec![Migration::new(1, "initial".into(), MigrationType::Simple, initial.into_sql_str(), false)])
}

/// Nobody else may read it: it has signing keys and hashes of keys.
fn make_folder(folder: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|source| Error::File {
        action: "make the folder",
        path: PathBuf::from(folder),
        source,
    })
}

/// The wall clock.
pub(crate) fn now() -> UnixNs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNs(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// The bytes of a new id.
pub(crate) fn new_id() -> [u8; 16] {
    *Uuid::new_v4().as_bytes()
}

/// As an error says it: the database cannot `action`.
fn failed(action: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Database { action, source }
}

/// The bytes of an id, as a column holds them.
fn id_bytes(bytes: &[u8]) -> Result<[u8; 16], Error> {
    bytes.try_into().map_err(|_| Error::Content { what: "id" })
}
