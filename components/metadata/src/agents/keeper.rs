//! The registry in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use ids::{AgentId, Asid, UnixNs};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tables::{DataType, PatternType, SemanticType};

use super::registry::Registry;
use super::stored::{Seat, Unsaved};
use super::types::{
    AgentInfo, AgentKind, CollectorState, CollectorStatus, ColumnSchema, Incarnation, KernelVersion, Now, Place, TableSchema,
};
use crate::Error;
use crate::store::{Fence, Key, Store, Transaction, decode, encode};

const AGENTS: &str = "/agent/";
const LAST_ASID: &str = "/asid";
const TABLES: &str = "/tables/";
/// Seats in one transaction, so that it stays far below the store's limits: one has some 5 KiB at most, but for its tables, which many share.
const SEATS_PER_COMMIT: usize = 16;

/// Writes what changed in a registry, and reads it back.
#[derive(Debug, Default)]
pub struct Keeper {
    fence: Fence,
    /// Which tables each kept agent refers to.
    tables: BTreeMap<AgentId, String>,
    /// The sets of tables in the store.
    present: BTreeSet<String>,
}

impl Keeper {
    /// What was kept, as a registry, and who keeps it from now on: a keeper from before can write no more.
    ///
    /// # Errors
    /// The store cannot be read or written, holds a record that cannot be read, or somebody else began at the same moment.
    pub async fn load(store: &dyn Store, now: Now) -> Result<(Keeper, Registry), Error> {
        let fence = Fence::take(store).await?;
        Keeper::load_fenced(store, fence, now).await
    }

    /// The same, for whoever has taken the turn already.
    ///
    /// # Errors
    /// The store cannot be read, or holds a record that cannot be read.
    pub async fn load_fenced(store: &dyn Store, fence: Fence, now: Now) -> Result<(Keeper, Registry), Error> {
        let mut keeper = Keeper { fence, ..Keeper::default() };
        let last_asid = store.get(&Key::new(LAST_ASID)?).await?;
        let last_asid = last_asid.map(|bytes| decode::<u32>(LAST_ASID, &bytes)).transpose()?.unwrap_or(0);
        let mut sets = BTreeMap::new();
        let prefix = Key::new(TABLES)?;
        for (key, bytes) in store.scan(&prefix).await? {
            let records: Vec<TableRecord> = decode(key.as_str(), &bytes)?;
            let tables = records.into_iter().map(|record| record.read(key.as_str())).collect::<Result<Vec<_>, _>>()?;
            sets.insert(key.after(&prefix).unwrap_or_default().to_owned(), Arc::new(tables));
        }
        keeper.present = sets.keys().cloned().collect();
        let mut seats = Vec::new();
        for (key, bytes) in store.scan(&Key::new(AGENTS)?).await? {
            let record: SeatRecord = decode(key.as_str(), &bytes)?;
            if let Some(digest) = &record.tables {
                let id = record.id(key.as_str())?;
                keeper.tables.insert(id, digest.clone());
            }
            seats.push(record.read(key.as_str(), &sets)?);
        }
        Ok((keeper, Registry::load(Asid(last_asid), seats, now)))
    }

    /// Writes what changed. When it fails the registry still has it to write, and nobody must be told of it yet.
    ///
    /// # Errors
    /// The store refuses, or somebody else writes to it ([`Error::Conflict`]): then this process is no longer the leader.
    pub async fn save(&mut self, registry: &mut Registry, store: &dyn Store) -> Result<(), Error> {
        let unsaved = registry.take_unsaved();
        if unsaved.is_empty() {
            return Ok(());
        }
        let written = self.write(&unsaved, store).await;
        if written.is_err() {
            registry.put_back(&unsaved);
        }
        written
    }

    async fn write(&mut self, unsaved: &Unsaved, store: &dyn Store) -> Result<(), Error> {
        for seats in unsaved.seats.chunks(SEATS_PER_COMMIT) {
            let mut records = Vec::new();
            for seat in seats {
                let digest = self.write_tables(&seat.tables, store).await?;
                records.push((seat.id, SeatRecord::of(seat, digest)));
            }
            let mut transaction = Transaction::new().put(Key::new(LAST_ASID)?, encode(&unsaved.last_asid.0));
            for (id, record) in &records {
                transaction = transaction.put(key(*id)?, encode(record));
            }
            self.commit(transaction, store).await?;
            for (id, record) in records {
                match record.tables {
                    Some(digest) => self.tables.insert(id, digest),
                    None => self.tables.remove(&id),
                };
            }
        }
        for ids in unsaved.forgotten.chunks(SEATS_PER_COMMIT) {
            let mut transaction = Transaction::new();
            for id in ids {
                transaction = transaction.delete(key(*id)?);
            }
            self.commit(transaction, store).await?;
            for id in ids {
                self.tables.remove(id);
            }
        }
        self.sweep(store).await
    }

    /// Holds only as long as nobody else keeps the agents. Doing it twice does no harm.
    async fn commit(&self, transaction: Transaction, store: &dyn Store) -> Result<(), Error> {
        self.fence.commit(store, transaction, AGENTS).await
    }

    /// The name under which these tables are kept; they are written before anything refers to them.
    async fn write_tables(&mut self, tables: &[TableSchema], store: &dyn Store) -> Result<Option<String>, Error> {
        if tables.is_empty() {
            return Ok(None);
        }
        let bytes = encode(&tables.iter().map(TableRecord::of).collect::<Vec<_>>());
        let mut digest = String::new();
        for byte in Sha256::digest(&bytes) {
            let _ = write!(digest, "{byte:02x}");
        }
        if !self.present.contains(&digest) {
            self.commit(Transaction::new().put(Key::new(format!("{TABLES}{digest}"))?, bytes), store).await?;
            self.present.insert(digest.clone());
        }
        Ok(Some(digest))
    }

    /// Removes tables that no agent has any more.
    async fn sweep(&mut self, store: &dyn Store) -> Result<(), Error> {
        let used: BTreeSet<&String> = self.tables.values().collect();
        let unused: Vec<String> = self.present.iter().filter(|digest| !used.contains(digest)).cloned().collect();
        for digest in unused {
            self.commit(Transaction::new().delete(Key::new(format!("{TABLES}{digest}"))?), store).await?;
            self.present.remove(&digest);
        }
        Ok(())
    }
}

fn key(id: AgentId) -> Result<Key, Error> {
    Key::new(format!("{AGENTS}{id}"))
}

/// A seat as it is kept. Fields are added, never given another meaning; a reader leaves out what it does not know.
#[derive(Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "facts about an agent that do not depend on each other")]
struct SeatRecord {
    id: String,
    asid: u32,
    kelvin: bool,
    host: String,
    address: IpAddr,
    incarnation: u64,
    hostname: String,
    pod_name: String,
    host_address: String,
    reached_at: String,
    kernel: [u32; 3],
    kernel_headers_installed: bool,
    collects_data: bool,
    profiler_period_ms: i32,
    version: String,
    rpc_address: String,
    query_address: String,
    tls_server_name: String,
    kernel_release: String,
    boot_id: String,
    registered_ns: i64,
    left_ns: Option<i64>,
    /// An older record does not say: its agent is asked once more.
    #[serde(default)]
    told: bool,
    tables: Option<String>,
    collectors: Vec<CollectorRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CollectorRecord {
    name: String,
    /// `running`, `off` or `failed`.
    state: String,
    way: String,
    reason: String,
    remedy: String,
}

impl CollectorRecord {
    fn of((name, status): (&String, &CollectorStatus)) -> CollectorRecord {
        CollectorRecord {
            name: name.clone(),
            state: word(status.state).to_owned(),
            way: status.way.clone(),
            reason: status.reason.clone(),
            remedy: status.remedy.clone(),
        }
    }
}

impl SeatRecord {
    fn of(seat: &Seat, tables: Option<String>) -> SeatRecord {
        let info = &seat.info;
        SeatRecord {
            id: seat.id.to_string(),
            asid: seat.asid.0,
            kelvin: seat.place.kind == AgentKind::Kelvin,
            host: seat.place.host.clone(),
            address: seat.place.address,
            incarnation: seat.incarnation.0,
            hostname: info.hostname.clone(),
            pod_name: info.pod_name.clone(),
            host_address: info.host_address.clone(),
            reached_at: info.address.clone(),
            kernel: [info.kernel.version, info.kernel.major, info.kernel.minor],
            kernel_headers_installed: info.kernel_headers_installed,
            collects_data: info.collects_data,
            profiler_period_ms: info.profiler_period_ms,
            version: info.version.clone(),
            rpc_address: info.rpc_address.clone(),
            query_address: info.query_address.clone(),
            tls_server_name: info.tls_server_name.clone(),
            kernel_release: info.kernel_release.clone(),
            boot_id: info.boot_id.clone(),
            registered_ns: seat.registered.0,
            left_ns: seat.left.map(|left| left.0),
            told: seat.told,
            tables,
            collectors: seat.collectors.iter().map(CollectorRecord::of).collect(),
        }
    }

    fn id(&self, key: &str) -> Result<AgentId, Error> {
        self.id.parse().map_err(|error: ids::ParseIdError| Error::Record { key: key.to_owned(), reason: error.to_string() })
    }

    fn read(self, key: &str, sets: &BTreeMap<String, Arc<Vec<TableSchema>>>) -> Result<Seat, Error> {
        let broken = |reason: String| Error::Record { key: key.to_owned(), reason };
        let id = self.id(key)?;
        let collector = |record: CollectorRecord| {
            let CollectorRecord { name, state, way, reason, remedy } = record;
            let state = state_of(&state).ok_or_else(|| broken(format!("no state `{state}`")))?;
            Ok((name, CollectorStatus { state, way, reason, remedy }))
        };
        let tables = match &self.tables {
            None => Arc::default(),
            Some(digest) => sets.get(digest).cloned().ok_or_else(|| broken(format!("its tables {digest} are missing")))?,
        };
        let kind = if self.kelvin { AgentKind::Kelvin } else { AgentKind::Pem };
        let [version, major, minor] = self.kernel;
        Ok(Seat {
            id,
            asid: Asid(self.asid),
            place: Place { kind, host: self.host, address: self.address },
            incarnation: Incarnation(self.incarnation),
            info: AgentInfo {
                hostname: self.hostname,
                pod_name: self.pod_name,
                host_address: self.host_address,
                address: self.reached_at,
                kernel: KernelVersion { version, major, minor },
                kernel_headers_installed: self.kernel_headers_installed,
                collects_data: self.collects_data,
                profiler_period_ms: self.profiler_period_ms,
                version: self.version,
                rpc_address: self.rpc_address,
                query_address: self.query_address,
                tls_server_name: self.tls_server_name,
                kernel_release: self.kernel_release,
                boot_id: self.boot_id,
            },
            registered: UnixNs(self.registered_ns),
            left: self.left_ns.map(UnixNs),
            told: self.told,
            tables,
            collectors: self.collectors.into_iter().map(collector).collect::<Result<_, Error>>()?,
        })
    }
}

fn word(state: CollectorState) -> &'static str {
    match state {
        CollectorState::Running => "running",
        CollectorState::Off => "off",
        CollectorState::Failed => "failed",
    }
}

fn state_of(word: &str) -> Option<CollectorState> {
    [CollectorState::Running, CollectorState::Off, CollectorState::Failed].into_iter().find(|state| self::word(*state) == word)
}

#[derive(Debug, Serialize, Deserialize)]
struct TableRecord {
    name: String,
    description: String,
    /// Name, data type, semantic type, pattern, description.
    columns: Vec<(String, i32, i32, i32, String)>,
}

impl TableRecord {
    fn of(table: &TableSchema) -> TableRecord {
        let column = |column: &ColumnSchema| {
            let numbers = (column.data_type.number(), column.semantic_type.number(), column.pattern_type.number());
            (column.name.clone(), numbers.0, numbers.1, numbers.2, column.description.clone())
        };
        TableRecord {
            name: table.name.clone(),
            description: table.description.clone(),
            columns: table.columns.iter().map(column).collect(),
        }
    }

    fn read(self, key: &str) -> Result<TableSchema, Error> {
        let column = |(name, data_type, semantic_type, pattern, description): (String, i32, i32, i32, String)| {
            let types = DataType::from_number(data_type).zip(SemanticType::from_number(semantic_type));
            let (data_type, semantic_type) =
                types.ok_or_else(|| Error::Record { key: key.to_owned(), reason: format!("no types {data_type} and {semantic_type}") })?;
            let pattern_type = PatternType::from_number(pattern).unwrap_or(PatternType::Unspecified);
            Ok(ColumnSchema { name, data_type, semantic_type, pattern_type, description })
        };
        let columns = self.columns.into_iter().map(column).collect::<Result<_, Error>>()?;
        Ok(TableSchema { name: self.name, description: self.description, columns })
    }
}
