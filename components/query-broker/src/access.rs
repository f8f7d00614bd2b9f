//! Who may call the public API.

use std::sync::Arc;

use auth::{ApiKeys, Callers, Guard, Identity, Refusal, SigningKey, UNAUTHENTICATED};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::counters::Counter;

/// Who may call. Clones share what they remember and count.
#[derive(Debug, Clone, Default)]
pub struct Access {
    checks: Option<Arc<Checks>>,
}

#[derive(Debug)]
struct Checks {
    guard: Option<Guard>,
    keys: Option<ApiKeys>,
    refused: Counter,
}

/// Who calls, for whoever acts in their name. Stands in the extensions of a request that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody was asked: the listener is on loopback.
    Anyone,
    /// A part of this Vizier, or its control plane.
    Token(Identity),
    /// Somebody with a key for direct access.
    Key,
}

impl Access {
    /// Whoever reaches the listener: for one on loopback.
    pub fn anyone() -> Access {
        Access::default()
    }

    /// Parts of this Vizier and its control plane, by a token that `key` signed, and whoever shows one of `keys`.
    pub fn checked(key: SigningKey, keys: Option<ApiKeys>) -> Access {
        let guard = Guard::new(key).callers(Callers::ServicesAndCluster);
        Access { checks: Some(Arc::new(Checks { guard: Some(guard), keys, refused: Counter::default() })) }
    }

    /// Whoever shows one of `keys`.
    pub fn keys(keys: ApiKeys) -> Access {
        Access { checks: Some(Arc::new(Checks { guard: None, keys: Some(keys), refused: Counter::default() })) }
    }

    /// Who calls, by the headers of the call.
    ///
    /// # Errors
    /// UNAUTHENTICATED, with one text for all reasons; the log tells them apart.
    pub fn caller(&self, headers: &MetadataMap, peer: &str) -> Result<Caller, Status> {
        let Some(checks) = &self.checks else { return Ok(Caller::Anyone) };
        if checks.keys.as_ref().is_some_and(|keys| keys.admit_call(headers)) {
            return Ok(Caller::Key);
        }
        let identified = checks.guard.as_ref().map_or(Err(Refusal::Missing), |guard| guard.identify(headers));
        identified.map(Caller::Token).map_err(|refusal| {
            checks.refused.add(1);
            tracing::warn!(peer, %refusal, "a call is refused");
            Status::unauthenticated(UNAUTHENTICATED)
        })
    }

    /// Calls that were refused.
    pub fn refused(&self) -> u64 {
        self.checks.as_ref().map_or(0, |checks| checks.refused.get())
    }

    /// As an interceptor does it.
    pub(crate) fn admit(&self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let peer = request.remote_addr().map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        let caller = self.caller(request.metadata(), &peer)?;
        request.extensions_mut().insert(caller);
        Ok(request)
    }
}
