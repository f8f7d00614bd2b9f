use std::time::SystemTime;

use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::{Identity, Refusal, Replays, SigningKey, Verified};

/// What every caller hears that is refused, whatever the reason.
pub const UNAUTHENTICATED: &str = "the call carries no valid token";

/// Before the token; in any case of letters.
const SCHEME: &str = "bearer ";

/// Whose tokens may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Parts of the same Vizier.
    Services,
    /// These, and the control plane for the cluster.
    ServicesAndCluster,
    /// Whoever has a token.
    All,
}

impl Callers {
    fn admit(self, identity: &Identity) -> bool {
        match (self, identity) {
            (Callers::All, Identity::Service { .. } | Identity::Cluster { .. } | Identity::User { .. })
            | (Callers::ServicesAndCluster, Identity::Service { .. } | Identity::Cluster { .. })
            | (Callers::Services, Identity::Service { .. }) => true,
            (Callers::ServicesAndCluster, Identity::User { .. })
            | (Callers::Services, Identity::Cluster { .. } | Identity::User { .. }) => false,
        }
    }
}

/// Takes calls with a valid `authorization: bearer` only: for tonic's `with_interceptor`. A service's token is good for one call. The
/// [`Identity`] stands in the request's extensions afterwards.
#[derive(Debug, Clone)]
pub struct Guard {
    key: SigningKey,
    callers: Callers,
    replays: Replays,
    clock: fn() -> SystemTime,
}

impl Guard {
    /// For calls between parts of one Vizier.
    pub fn new(key: SigningKey) -> Self {
        Self { key, callers: Callers::Services, replays: Replays::default(), clock: SystemTime::now }
    }

    /// For others too.
    #[must_use]
    pub fn callers(self, callers: Callers) -> Self {
        Self { callers, ..self }
    }

    /// By another clock than the machine's.
    #[must_use]
    pub fn clock(self, clock: fn() -> SystemTime) -> Self {
        Self { clock, ..self }
    }

    /// Whose call it is, by its headers.
    ///
    /// # Errors
    /// It is refused.
    pub fn identify(&self, headers: &MetadataMap) -> Result<Identity, Refusal> {
        let now = (self.clock)();
        let token = bearer_token(headers)?;
        let Verified { identity, token_id, expires } = self.key.verify_in_full(token, now)?;
        if !self.callers.admit(&identity) {
            return Err(Refusal::Kind);
        }
        match (&identity, token_id) {
            (Identity::Service { .. }, Some(id)) if !self.replays.first_use(&id, expires, now) => Err(Refusal::Replayed),
            (Identity::Service { .. } | Identity::Cluster { .. } | Identity::User { .. }, _) => Ok(identity),
        }
    }
}

impl Interceptor for Guard {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        match self.identify(request.metadata()) {
            Ok(identity) => {
                request.extensions_mut().insert(identity);
                Ok(request)
            }
            Err(refusal) => {
                let peer = request.remote_addr().map_or_else(|| "unknown".to_owned(), |address| address.to_string());
                tracing::warn!(%peer, %refusal, "a call is refused");
                Err(Status::unauthenticated(UNAUTHENTICATED))
            }
        }
    }
}

fn bearer_token(headers: &MetadataMap) -> Result<&str, Refusal> {
    let value = headers.get("authorization").ok_or(Refusal::Missing)?;
    let text = value.to_str().map_err(|_| Refusal::Malformed { what: "it is not ASCII" })?;
    match text.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => Ok(token.trim()),
        Some(_) | None => Err(Refusal::Missing),
    }
}
