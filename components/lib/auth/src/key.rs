use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ids::ClusterId;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;
use uuid::Uuid;

use crate::claims::{Audience, CLUSTER_SCOPE, Claims, SERVICE_SCOPE, USER_SCOPE, identity};
use crate::{Error, Identity, Refusal, Secret, User, Verified};

/// Whom the tokens of a Vizier are for.
pub const VIZIER_AUDIENCE: &str = "vizier";
/// A longer token is refused unread. Ours have some 400 bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// How long a token between services is valid. Reference: `GenerateJWTForService`, 10 min.
const SERVICE_VALID: Duration = Duration::from_mins(10);
/// How long the control plane's token for a cluster is. Reference: `GenerateJWTForCluster`, 1 h.
const CLUSTER_VALID: Duration = Duration::from_hours(1);
/// How far the clock of another of our machines may be behind.
const SERVICE_BACKDATED: Duration = Duration::from_mins(1);
/// How far a cluster's clock may be behind the control plane's. Reference: `GenerateJWTForCluster`, 2 min.
const CLUSTER_BACKDATED: Duration = Duration::from_mins(2);

/// As many as SHA-256 takes in without hashing them first.
const KEY_RANDOM_BYTES: usize = 64;

const SERVICE_ISSUER: &str = "PL";
const CLUSTER_ISSUER: &str = "pixielabs.ai";
const CLUSTER_SUBJECT: &str = "pixielabs.ai/vizier";

/// What every token of ours begins with.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const ALGORITHM: &str = "HS256";

/// Signs and verifies tokens: JWTs by HS256, for one audience.
#[derive(Clone)]
pub struct SigningKey {
    key: hmac::Key,
    audience: String,
}

/// The key is not shown.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("audience", &self.audience).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

impl SigningKey {
    /// Of a Vizier. The key is the text's own bytes, also where that is hexadecimal.
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        Self::for_audience(bytes, VIZIER_AUDIENCE)
    }

    /// Of somebody else, such as the control plane: what is minted for one audience is refused by another.
    pub fn for_audience(bytes: impl AsRef<[u8]>, audience: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, bytes.as_ref()), audience: audience.to_owned() }
    }

    /// A token by which one part of a Vizier calls another, for ten minutes and one call.
    pub fn service_token(&self, service: &str, now: SystemTime) -> String {
        let mut claims = self.claims(SERVICE_SCOPE, (now, SERVICE_BACKDATED, SERVICE_VALID));
        SERVICE_ISSUER.clone_into(&mut claims.iss);
        service.clone_into(&mut claims.sub);
        claims.service_id = Some(service.to_owned());
        self.signed(&claims)
    }

    /// A token by which the control plane calls a cluster, for an hour. The key is that cluster's.
    pub fn cluster_token(&self, cluster: ClusterId, now: SystemTime) -> String {
        let mut claims = self.claims(CLUSTER_SCOPE, (now, CLUSTER_BACKDATED, CLUSTER_VALID));
        claims.iat = seconds(now - CLUSTER_BACKDATED);
        CLUSTER_ISSUER.clone_into(&mut claims.iss);
        CLUSTER_SUBJECT.clone_into(&mut claims.sub);
        claims.cluster_id = Some(cluster.to_string());
        self.signed(&claims)
    }

    /// A token by which a person calls the control plane, for as long as `valid`.
    pub fn user_token(&self, user: &User, valid: Duration, now: SystemTime) -> String {
        let mut claims = self.claims(USER_SCOPE, (now, SERVICE_BACKDATED, valid));
        SERVICE_ISSUER.clone_into(&mut claims.iss);
        user.id.clone_into(&mut claims.sub);
        claims.user_id = Some(user.id.clone());
        claims.org_id = Some(user.org.clone());
        claims.email = Some(user.email.clone());
        claims.is_api_user = Some(user.is_api_user);
        self.signed(&claims)
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// It is not to be taken, and why.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, Refusal> {
        self.verify_in_full(token, now).map(|verified| verified.identity)
    }

    /// As [`Self::verify`], with what tells a token from others of the same caller.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_in_full(&self, token: &str, now: SystemTime) -> Result<Verified, Refusal> {
        let claims = self.signed_claims(token)?;
        let now_s = seconds(now);
        if claims.exp <= now_s {
            return Err(Refusal::Expired { seconds: now_s.abs_diff(claims.exp) });
        }
        if claims.nbf > now_s {
            return Err(Refusal::NotYetValid { seconds: claims.nbf.abs_diff(now_s) });
        }
        if !claims.aud.has(&self.audience) {
            return Err(Refusal::Audience);
        }
        let token_id = Some(claims.jti.clone()).filter(|id| !id.is_empty());
        let left = Duration::from_secs(claims.exp.abs_diff(now_s));
        // A time that no clock can tell never comes.
        let expires = now.checked_add(left).ok_or(Refusal::Malformed { what: "its end is out of range" })?;
        Ok(Verified { identity: identity(claims)?, token_id, expires })
    }

    /// What it says, if it was signed with this key.
    fn signed_claims(&self, token: &str) -> Result<Claims, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::TooLong { bytes: token.len() });
        }
        let malformed = |what| Refusal::Malformed { what };
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed("it has one part"))?;
        let (header, claims) = signed.split_once('.').ok_or(malformed("it has two parts"))?;
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| malformed("its header is not base64url"))?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| malformed("its header is no such JSON"))?;
        if header.alg != ALGORITHM {
            return Err(Refusal::Algorithm);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed("its signature is not base64url"))?;
        // Compares in constant time.
        hmac::verify(&self.key, signed.as_bytes(), &signature).map_err(|_| Refusal::Forged)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| malformed("its claims are not base64url"))?;
        serde_json::from_slice(&claims).map_err(|_| malformed("its claims are no such JSON"))
    }

    fn claims(&self, scopes: &str, (now, backdated, valid): (SystemTime, Duration, Duration)) -> Claims {
        Claims {
            aud: Audience::One(self.audience.clone()),
            exp: seconds(now + valid),
            iat: seconds(now),
            iss: String::new(),
            jti: Uuid::new_v4().to_string(),
            nbf: seconds(now - backdated),
            sub: String::new(),
            scopes: scopes.to_owned(),
            service_id: None,
            cluster_id: None,
            user_id: None,
            org_id: None,
            email: None,
            is_api_user: None,
        }
    }

    fn signed(&self, claims: &Claims) -> String {
        // Numbers and texts only: there is nothing that JSON could not hold.
        let claims = serde_json::to_vec(claims).unwrap_or_default();
        let mut token = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
        let signature = hmac::sign(&self.key, token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }
}

/// Since 1970; before that, 0.
fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A new key for [`SigningKey::new`]: 64 random bytes in hexadecimal. Reference: `src/utils/cert_provisioner`.
///
/// # Errors
/// The system gives no random bytes.
pub fn new_signing_key() -> Result<Secret, Error> {
    let mut bytes = [0; KEY_RANDOM_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::NoRandomness)?;
    Ok(Secret::new(bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))))
}
