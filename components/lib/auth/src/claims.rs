//! What a token says. Names: reference `src/shared/services/jwtpb/jwt.proto` and `src/shared/services/utils/jwt.go`.

use std::time::SystemTime;

use ids::ClusterId;
use serde::{Deserialize, Serialize};

use crate::Refusal;

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A part of the Vizier.
    Service {
        /// Which one: `metadata`, `query-broker`, …
        id: String,
    },
    /// The control plane, for one cluster.
    Cluster {
        /// Which one.
        id: ClusterId,
    },
    /// A person, or a program with a key of theirs.
    User {
        /// Who.
        id: String,
        /// Of which organisation.
        org: String,
        /// Where they get mail.
        email: String,
    },
}

/// A person for whom the control plane mints a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub id: String,
    /// Of which organisation.
    pub org: String,
    /// Where they get mail.
    pub email: String,
    /// Whether a program with an API key speaks for them.
    pub is_api_user: bool,
}

/// What a token that was verified says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Whose it is.
    pub identity: Identity,
    /// Its own name (`jti`), where it has one.
    pub token_id: Option<String>,
    /// Until when it is valid.
    pub expires: SystemTime,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    pub(crate) fn has(&self, audience: &str) -> bool {
        match self {
            Audience::One(one) => one == audience,
            Audience::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

/// Times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: Audience,
    pub(crate) exp: i64,
    #[serde(default)]
    pub(crate) iat: i64,
    #[serde(default)]
    pub(crate) iss: String,
    #[serde(default)]
    pub(crate) jti: String,
    #[serde(default)]
    pub(crate) nbf: i64,
    #[serde(default)]
    pub(crate) sub: String,
    #[serde(default, rename = "Scopes")]
    pub(crate) scopes: String,
    #[serde(default, rename = "ServiceID", skip_serializing_if = "Option::is_none")]
    pub(crate) service_id: Option<String>,
    #[serde(default, rename = "ClusterID", skip_serializing_if = "Option::is_none")]
    pub(crate) cluster_id: Option<String>,
    #[serde(default, rename = "UserID", skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<String>,
    #[serde(default, rename = "OrgID", skip_serializing_if = "Option::is_none")]
    pub(crate) org_id: Option<String>,
    #[serde(default, rename = "Email", skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    #[serde(default, rename = "IsAPIUser", skip_serializing_if = "Option::is_none")]
    pub(crate) is_api_user: Option<bool>,
}

pub(crate) const SERVICE_SCOPE: &str = "service";
pub(crate) const CLUSTER_SCOPE: &str = "cluster";
pub(crate) const USER_SCOPE: &str = "user";

/// Whose the claims are: the scope says of what kind, and the claim of that kind who.
pub(crate) fn identity(claims: Claims) -> Result<Identity, Refusal> {
    let has = |wanted: &str| claims.scopes.split(',').any(|scope| scope.trim() == wanted);
    let named = |text: Option<String>| text.filter(|text| !text.is_empty()).ok_or(Refusal::Nobody);
    if has(SERVICE_SCOPE) {
        return Ok(Identity::Service { id: named(claims.service_id)? });
    }
    if has(CLUSTER_SCOPE) {
        return Ok(Identity::Cluster { id: named(claims.cluster_id)?.parse().map_err(|_| Refusal::Nobody)? });
    }
    if has(USER_SCOPE) {
        let email = claims.email.unwrap_or_default();
        return Ok(Identity::User { id: named(claims.user_id)?, org: named(claims.org_id)?, email });
    }
    Err(Refusal::Nobody)
}
