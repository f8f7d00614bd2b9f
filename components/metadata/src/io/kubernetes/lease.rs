use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt as _};

use super::Kubernetes;
use crate::Error;
use crate::election::{LEASE, Record};
use crate::io::lease::{Cell, Seen};

/// Reference: the name of the lease.
const NAME: &str = "metadata-election";
/// Beside what every lease of Kubernetes says: our own record.
const BEAT: &str = "px.dev/beat";

/// The leader's record as a lease of Kubernetes.
pub(crate) struct LeaseCell {
    leases: Api<Lease>,
}

impl LeaseCell {
    pub(crate) fn new(kubernetes: &Kubernetes) -> LeaseCell {
        LeaseCell { leases: Api::namespaced(kubernetes.client(), kubernetes.own_namespace()) }
    }
}

#[async_trait::async_trait]
impl Cell for LeaseCell {
    async fn read(&self) -> Result<Option<Seen>, Error> {
        let lease = self.leases.get_opt(NAME).await.map_err(failed)?;
        Ok(lease.as_ref().map(seen))
    }

    async fn write(&self, before: Option<&Seen>, record: &Record) -> Result<Option<Seen>, Error> {
        let version = before.and_then(|seen| String::from_utf8(seen.version.clone()).ok());
        let lease = lease(record, version);
        let params = PostParams::default();
        let written = match before {
            None => self.leases.create(&params, &lease).await,
            Some(_) => self.leases.replace(NAME, &params, &lease).await,
        };
        match written {
            Ok(lease) => Ok(Some(seen(&lease))),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

fn failed(error: kube::Error) -> Error {
    Error::Kubernetes(Box::new(error))
}

fn lease(record: &Record, version: Option<String>) -> Lease {
    let annotations = BTreeMap::from([(BEAT.to_owned(), record.beat.to_string())]);
    let metadata =
        ObjectMeta { name: Some(NAME.to_owned()), resource_version: version, annotations: Some(annotations), ..ObjectMeta::default() };
    let spec = LeaseSpec {
        // A lease without a holder was released: so Kubernetes says it.
        holder_identity: Some(if record.released { String::new() } else { record.holder.clone() }),
        lease_duration_seconds: Some(LEASE.as_secs() as i32),
        ..LeaseSpec::default()
    };
    Lease { metadata, spec: Some(spec) }
}

fn seen(lease: &Lease) -> Seen {
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
    let beat = lease.annotations().get(BEAT).and_then(|beat| beat.parse().ok()).unwrap_or(0);
    let record = Record { released: holder.is_empty(), holder, beat };
    Seen { record, version: lease.resource_version().unwrap_or_default().into_bytes() }
}
