use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};

use super::wire::compare::{CompareResult, CompareTarget, TargetUnion};
use super::wire::kv_client::KvClient;
use super::wire::maintenance_client::MaintenanceClient;
use super::wire::request_op::Request;
use super::wire::{
    CompactionRequest, Compare, DefragmentRequest, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, StatusRequest,
    StatusResponse, TxnRequest,
};
use super::{Committed, Condition, Key, PAGE_ENTRIES_MAX, Page, Store, Transaction, Write};
use crate::Error;

/// A member that takes no connection in this time is tried no longer; the next one is. Reference: etcd is dialled for 5 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A member answers in milliseconds, or its cluster elects a leader (1 s by default) first. Also how long a write may be uncertain.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection whose peer went without a word is found by this.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// A page's values may be as large as transactions allow.
const MESSAGE_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Files smaller than this are left alone. Reference: defragmentation above 50 MB.
const DEFRAGMENT_BYTES_MIN: i64 = 50 * 1000 * 1000;

/// Where etcd is.
#[derive(Debug, Clone)]
pub struct EtcdSettings {
    /// `http://host:2379` or `https://host:2379`, all members of one cluster.
    pub endpoints: Vec<String>,
    /// For `https`.
    pub tls: Option<EtcdTls>,
    /// Before every key, so that several Viziers can share an etcd. May be empty.
    pub prefix: String,
}

/// How the two sides know each other. All PEM.
#[derive(Clone)]
pub struct EtcdTls {
    /// Who signed etcd's certificate.
    pub ca: String,
    /// Our certificate
    pub certificate: String,
    /// and its key.
    pub key: String,
}

/// The key is not shown.
impl std::fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdTls").finish_non_exhaustive()
    }
}

/// What [`Etcd::maintain`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maintained {
    /// History before this was forgotten.
    pub revision: i64,
    /// Size of the member's file before, in bytes.
    pub bytes: u64,
    /// Whether the file was made smaller.
    pub defragmented: bool,
}

/// A store in etcd, version 3.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    /// The member that answered last.
    current: AtomicUsize,
    prefix: String,
}

#[derive(Debug)]
struct Member {
    endpoint: String,
    channel: Channel,
}

impl Etcd {
    /// Connects, and asks for the state of one member.
    ///
    /// # Errors
    /// An endpoint is none, the certificates cannot be used, or no member answers.
    pub async fn connect(settings: &EtcdSettings) -> Result<Etcd, Error> {
        if settings.endpoints.is_empty() {
            return Err(Error::Endpoint { endpoint: String::new() });
        }
        let members = settings.endpoints.iter().map(|endpoint| member(endpoint, settings.tls.as_ref())).collect::<Result<_, _>>()?;
        let etcd = Etcd { members, current: AtomicUsize::new(0), prefix: settings.prefix.clone() };
        let status = etcd.status().await?;
        tracing::info!(version = %status.version, bytes = status.db_size, "connected to etcd");
        Ok(etcd)
    }

    /// Forgets the history that etcd keeps of every key, and makes a member's file smaller when most of it is free. Meant for every five minutes.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn maintain(&self) -> Result<Maintained, Error> {
        let status = self.status().await?;
        let revision = status.header.map_or(0, |header| header.revision);
        let compacted = self.ask(|channel| async move { KvClient::new(channel).compact(CompactionRequest { revision }).await }).await;
        match compacted {
            // Someone did it already, or nothing was ever written.
            Err(Error::EtcdRefused { source, .. }) if source.code() == Code::OutOfRange => {}
            other => drop(other?),
        }
        let defragmented = status.db_size > DEFRAGMENT_BYTES_MIN && status.db_size_in_use < status.db_size / 2;
        if defragmented {
            self.ask(|channel| async move { MaintenanceClient::new(channel).defragment(DefragmentRequest {}).await }).await?;
        }
        Ok(Maintained { revision, bytes: status.db_size.unsigned_abs(), defragmented })
    }

    async fn status(&self) -> Result<StatusResponse, Error> {
        let answer = self.ask(|channel| async move { MaintenanceClient::new(channel).status(StatusRequest {}).await }).await?;
        Ok(answer.into_inner())
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let answer = self.ask(|channel| {
            let request = request.clone();
            async move { KvClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX).range(request).await }
        });
        Ok(answer.await?.into_inner())
    }

    /// Asks the member that answered last, then the others: what asks changes nothing, so asking twice does no harm.
    async fn ask<T, F: Future<Output = Result<T, Status>>>(&self, call: impl Fn(Channel) -> F) -> Result<T, Error> {
        self.try_members(call, |status| {
            matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown)
        })
        .await
    }

    /// As [`Self::ask`], but only a member that could not be connected to is passed over: one that had the write may have done it.
    async fn tell<T, F: Future<Output = Result<T, Status>>>(&self, call: impl Fn(Channel) -> F) -> Result<T, Error> {
        self.try_members(call, never_sent).await
    }

    async fn try_members<T, F: Future<Output = Result<T, Status>>>(
        &self,
        call: impl Fn(Channel) -> F,
        passes_over: impl Fn(&Status) -> bool,
    ) -> Result<T, Error> {
        let first = self.current.load(Ordering::Relaxed);
        let mut failure = Status::unavailable("nobody was asked");
        for turn in 0..self.members.len() {
            let place = (first + turn) % self.members.len();
            let Some(member) = self.members.get(place) else { continue };
            match call(member.channel.clone()).await {
                Ok(answer) => {
                    self.current.store(place, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(status) if passes_over(&status) => failure = status,
                Err(status) => return Err(describe(&member.endpoint, status)),
            }
        }
        let endpoints = self.members.iter().map(|member| member.endpoint.as_str()).collect::<Vec<_>>().join(", ");
        Err(Error::EtcdUnreachable { endpoints, source: Box::new(failure) })
    }

    fn full(&self, key: &str) -> Vec<u8> {
        [self.prefix.as_bytes(), key.as_bytes()].concat()
    }

    fn compare(&self, condition: &Condition) -> Compare {
        let (target, target_union) = match &condition.value {
            Some(value) => (CompareTarget::Value, TargetUnion::Value(value.clone())),
            None => (CompareTarget::Version, TargetUnion::Version(0)),
        };
        Compare {
            result: CompareResult::Equal.into(),
            target: target.into(),
            key: self.full(condition.key.as_str()),
            target_union: Some(target_union),
        }
    }

    fn operation(&self, write: &Write) -> RequestOp {
        let request = match write {
            Write::Put(key, value) => Request::RequestPut(PutRequest { key: self.full(key.as_str()), value: value.clone() }),
            Write::Delete(key) => Request::RequestDeleteRange(DeleteRangeRequest { key: self.full(key.as_str()), range_end: vec![] }),
        };
        RequestOp { request: Some(request) }
    }
}

#[async_trait::async_trait]
impl Store for Etcd {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error> {
        let request = RangeRequest { key: self.full(key.as_str()), range_end: vec![], limit: 0 };
        Ok(self.range(request).await?.kvs.into_iter().next().map(|entry| entry.value))
    }

    async fn page(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Error> {
        let prefix_bytes = self.full(prefix.as_str());
        let key = match after {
            // The smallest key behind it.
            Some(after) if after >= prefix => [self.full(after.as_str()), vec![0]].concat(),
            Some(_) | None => prefix_bytes.clone(),
        };
        let answer = self.range(RangeRequest { key, range_end: end_of(&prefix_bytes), limit: PAGE_ENTRIES_MAX as i64 }).await?;
        // Keys of others below our prefix are none of ours.
        let entries = answer.kvs.into_iter().filter_map(|entry| {
            let key = String::from_utf8(entry.key.get(self.prefix.len()..)?.to_vec()).ok()?;
            Some((Key::new(key).ok()?, entry.value))
        });
        Ok(Page { entries: entries.collect(), more: answer.more })
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, Error> {
        transaction.check()?;
        let request = TxnRequest {
            compare: transaction.conditions.iter().map(|condition| self.compare(condition)).collect(),
            success: transaction.writes.iter().map(|write| self.operation(write)).collect(),
        };
        let answer = self.tell(|channel| {
            let request = request.clone();
            async move { KvClient::new(channel).txn(request).await }
        });
        let answer = answer.await?;
        Ok(if answer.into_inner().succeeded { Committed::Done } else { Committed::Conflict })
    }
}

fn member(endpoint: &str, tls: Option<&EtcdTls>) -> Result<Member, Error> {
    let wrong = || Error::Endpoint { endpoint: endpoint.to_owned() };
    if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        return Err(wrong());
    }
    let mut builder = Endpoint::from_shared(endpoint.to_owned())
        .map_err(|_| wrong())?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    if let Some(tls) = tls.filter(|_| endpoint.starts_with("https://")) {
        let config =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca)).identity(Identity::from_pem(&tls.certificate, &tls.key));
        builder = builder.tls_config(config).map_err(Error::EtcdTls)?;
    }
    Ok(Member { endpoint: endpoint.to_owned(), channel: builder.connect_lazy() })
}

/// The first key behind all that begin with `prefix`; a zero byte, "to the end", where there is none.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    match prefix.iter().rposition(|byte| *byte < u8::MAX) {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end
        }
        None => vec![0],
    }
}

/// Whether a call failed before anything was sent.
fn never_sent(status: &Status) -> bool {
    let mut next = std::error::Error::source(status);
    while let Some(cause) = next {
        if cause.is::<tonic::ConnectError>() {
            return true;
        }
        next = cause.source();
    }
    false
}

fn describe(endpoint: &str, status: Status) -> Error {
    let (endpoint, source) = (endpoint.to_owned(), Box::new(status));
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other codes say that it was refused")]
    match source.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => Error::EtcdUncertain { endpoint, source },
        Code::ResourceExhausted if source.message().contains("space exceeded") => Error::EtcdFull { endpoint, source },
        _ => Error::EtcdRefused { endpoint, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_key_of_its_length() {
        assert_eq!(end_of(b"/agent/"), b"/agent0");
        assert_eq!(end_of(&[1, 255]), [2]);
        assert_eq!(end_of(&[255, 255]), [0]);
    }
}
