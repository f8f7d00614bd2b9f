//! Who calls the public API. Reference: api.md, section 8.1.

use std::time::{Duration, SystemTime};

use auth::{API_KEY_HEADER, Identity, Secret, SigningKey, UNAUTHENTICATED, User};
use ids::{KeyId, OrgId};
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::Error;
use crate::metrics::Metrics;
use crate::store::{Key, KeyKind, Store};

/// Whom our tokens are for. What was minted for a Vizier is none of ours.
const AUDIENCE: &str = "cloud";

/// How long a token for a key is valid. It ends before that when its key is deleted.
pub(crate) const TOKEN_VALID: Duration = Duration::from_hours(24);

/// Before the token, in any case of letters.
const SCHEME: &str = "bearer ";

/// Somebody who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Sees what belongs to this organisation, and nothing else.
    pub(crate) org: OrgId,
    /// By which key.
    pub(crate) key: KeyId,
}

/// Tells callers from strangers.
#[derive(Debug, Clone)]
pub(crate) struct Callers {
    store: Store,
    key: SigningKey,
    metrics: Metrics,
}

impl Callers {
    pub(crate) fn new(store: Store, secret: &Secret, metrics: Metrics) -> Self {
        Self { store, key: SigningKey::for_audience(secret.expose(), AUDIENCE), metrics }
    }

    /// Whose call it is: by its API key, else by its token.
    pub(crate) async fn identify(&self, headers: &MetadataMap) -> Result<Caller, Status> {
        if let Some(secret) = headers.get(API_KEY_HEADER) {
            return self.by_api_key(secret.to_str().unwrap_or_default()).await;
        }
        let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        match token.split_at_checked(SCHEME.len()) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => self.by_token(token.trim()).await,
            Some(_) | None => Err(self.refuse("it has neither an API key nor a token")),
        }
    }

    pub(crate) async fn by_api_key(&self, secret: &str) -> Result<Caller, Status> {
        let key = self.store.key_of_secret(KeyKind::Api, secret).await.map_err(|error| internal(&error))?;
        key.map(|key| Caller { org: key.org, key: key.id }).ok_or_else(|| self.refuse("its API key is none of ours"))
    }

    async fn by_token(&self, token: &str) -> Result<Caller, Status> {
        let identity = self.key.verify(token, SystemTime::now()).map_err(|refusal| self.refuse(&refusal.to_string()))?;
        let Identity::User { id, .. } = identity else { return Err(self.refuse("its token is none of a user's")) };
        let id = id.parse::<KeyId>().map_err(|_| self.refuse("its token names no key"))?;
        // A token is good for as long as its key is there.
        let key = self.store.key(id).await.map_err(|error| internal(&error))?.filter(|key| key.kind == KeyKind::Api);
        key.map(|key| Caller { org: key.org, key: key.id }).ok_or_else(|| self.refuse("the key of its token was deleted"))
    }

    /// A token for whoever has that key.
    pub(crate) fn token(&self, caller: Caller, now: SystemTime) -> String {
        let user = User { id: caller.key.to_string(), org: caller.org.to_string(), email: String::new(), is_api_user: true };
        self.key.user_token(&user, TOKEN_VALID, now)
    }

    /// One text for all; why, is in our log alone.
    fn refuse(&self, reason: &str) -> Status {
        self.metrics.calls_refused.inc();
        tracing::warn!(reason, "a call is refused");
        Status::unauthenticated(UNAUTHENTICATED)
    }

    /// Whose cluster a deploy key registers.
    pub(crate) async fn deploy_key(&self, headers: &MetadataMap) -> Result<Key, Status> {
        let Some(secret) = headers.get("x-api-key") else { return Err(Status::unauthenticated("Deploy key not included")) };
        let key = self.store.key_of_secret(KeyKind::Deploy, secret.to_str().unwrap_or_default()).await;
        key.map_err(|error| internal(&error))?.ok_or_else(|| {
            self.metrics.calls_refused.inc();
            tracing::warn!("a cluster is refused: its deploy key is none of ours");
            Status::unauthenticated("the deploy key is not valid")
        })
    }
}

/// What is wrong with us is no caller's business.
pub(crate) fn internal(error: &Error) -> Status {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    tracing::error!(%error, cause, "a call failed");
    Status::internal("the control plane cannot answer now; its log says why")
}
