//! Who is taken, and who is not.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auth::{Identity, Refusal, SigningKey, TOKEN_BYTES_MAX, User};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ids::ClusterId;
use proptest::prelude::*;
use ring::hmac;
use serde_json::{Value, json};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A moment long after 1970.
fn now() -> SystemTime {
    at(1_800_000_000)
}

fn key() -> SigningKey {
    SigningKey::new(KEY)
}

fn service(id: &str) -> Identity {
    Identity::Service { id: id.to_owned() }
}

/// A token signed with our key, whatever it says.
fn signed(header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

fn claims_of(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[test]
fn each_kind_of_token_says_whose_it_is() {
    let cluster: ClusterId = "00000000-0000-0000-0000-000000000001".parse().unwrap();
    let user = User { id: "u".to_owned(), org: "o".to_owned(), email: "u@example.com".to_owned(), is_api_user: true };
    assert_eq!(key().verify(&key().service_token("metadata", now()), now()), Ok(service("metadata")));
    assert_eq!(key().verify(&key().cluster_token(cluster, now()), now()), Ok(Identity::Cluster { id: cluster }));
    let identity = Identity::User { id: "u".to_owned(), org: "o".to_owned(), email: "u@example.com".to_owned() };
    assert_eq!(key().verify(&key().user_token(&user, Duration::from_hours(1), now()), now()), Ok(identity));
}

#[test]
fn the_claims_are_those_of_the_original() {
    let said = |token: String| {
        let mut claims = claims_of(&token);
        claims["jti"] = "…".into();
        claims
    };
    let service = said(key().service_token("cloud_conn", at(10_000)));
    let wanted = json!({
        "aud": "vizier", "exp": 10_600, "iat": 10_000, "iss": "PL", "jti": "…", "nbf": 9_940, "sub": "cloud_conn", "Scopes": "service",
        "ServiceID": "cloud_conn"
    });
    assert_eq!(service, wanted);
    let id = "00000000-0000-0000-0000-000000000001";
    let wanted = json!({
        "aud": "vizier", "exp": 13_600, "iat": 9_880, "iss": "pixielabs.ai", "jti": "…", "nbf": 9_880, "sub": "pixielabs.ai/vizier",
        "Scopes": "cluster", "ClusterID": id
    });
    assert_eq!(said(key().cluster_token(id.parse().unwrap(), at(10_000))), wanted);
    let user = User { id: "u".to_owned(), org: "o".to_owned(), email: "e".to_owned(), is_api_user: false };
    let wanted = json!({
        "aud": "cloud", "exp": 10_060, "iat": 10_000, "iss": "PL", "jti": "…", "nbf": 9_940, "sub": "u", "Scopes": "user",
        "UserID": "u", "OrgID": "o", "Email": "e", "IsAPIUser": false
    });
    assert_eq!(said(SigningKey::for_audience(KEY, "cloud").user_token(&user, Duration::from_mins(1), at(10_000))), wanted);
}

#[test]
fn a_token_is_valid_from_its_beginning_to_its_end() {
    let token = key().service_token("pem", now());
    let verified = |at| key().verify(&token, at);
    assert_eq!(verified(now() - Duration::from_secs(61)), Err(Refusal::NotYetValid { seconds: 1 }));
    assert_eq!(verified(now() - Duration::from_mins(1)), Ok(service("pem")));
    assert_eq!(verified(now() + Duration::from_secs(599)), Ok(service("pem")));
    assert_eq!(verified(now() + Duration::from_mins(10)), Err(Refusal::Expired { seconds: 0 }));
    assert_eq!(verified(now() + Duration::from_hours(24)), Err(Refusal::Expired { seconds: 85_800 }));
}

#[test]
fn what_another_key_has_signed_is_refused() {
    let token = SigningKey::new("another").service_token("pem", now());
    assert_eq!(key().verify(&token, now()), Err(Refusal::Forged));
}

#[test]
fn what_was_changed_after_it_was_signed_is_refused() {
    let token = key().service_token("pem", now());
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let mut claims = claims_of(&token);
    claims["ServiceID"] = "metadata".into();
    let changed = format!("{}.{}.{signature}", rest.split('.').next().unwrap(), URL_SAFE_NO_PAD.encode(claims.to_string()));
    assert_eq!(key().verify(&changed, now()), Err(Refusal::Forged));
    assert_eq!(key().verify(&format!("{rest}."), now()), Err(Refusal::Forged));
}

#[test]
fn another_algorithm_is_refused_and_so_is_none() {
    let claims = claims_of(&key().service_token("pem", now()));
    for algorithm in ["none", "None", "HS512", "RS256", "hs256", ""] {
        let token = signed(&json!({"alg": algorithm}), &claims);
        assert_eq!(key().verify(&token, now()), Err(Refusal::Algorithm), "{algorithm}");
        let (unsigned, _) = token.rsplit_once('.').unwrap();
        assert_eq!(key().verify(&format!("{unsigned}."), now()), Err(Refusal::Algorithm), "{algorithm}");
    }
}

#[test]
fn what_was_minted_for_others_is_refused() {
    let token = SigningKey::for_audience(KEY, "cloud").service_token("pem", now());
    assert_eq!(key().verify(&token, now()), Err(Refusal::Audience));
    let mut claims = claims_of(&token);
    claims["aud"] = json!(["cloud", "vizier"]);
    assert_eq!(key().verify(&signed(&hs256(), &claims), now()), Ok(service("pem")));
}

#[test]
fn who_does_not_say_who_it_is_is_refused() {
    let mut claims = claims_of(&key().service_token("pem", now()));
    claims["ServiceID"] = "".into();
    assert_eq!(key().verify(&signed(&hs256(), &claims), now()), Err(Refusal::Nobody));
    claims["Scopes"] = "admin".into();
    assert_eq!(key().verify(&signed(&hs256(), &claims), now()), Err(Refusal::Nobody));
    claims["Scopes"] = "cluster".into();
    claims["ClusterID"] = "not one".into();
    assert_eq!(key().verify(&signed(&hs256(), &claims), now()), Err(Refusal::Nobody));
}

#[test]
fn a_huge_token_is_refused_unread() {
    let token = key().service_token(&"x".repeat(2 * TOKEN_BYTES_MAX), now());
    assert_eq!(key().verify(&token, now()), Err(Refusal::TooLong { bytes: token.len() }));
}

#[test]
fn times_at_the_ends_of_what_can_be_told_do_no_harm() {
    let mut claims = claims_of(&key().service_token("pem", now()));
    for (exp, nbf) in [(i64::MAX, i64::MIN), (i64::MIN, i64::MAX), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN)] {
        claims["exp"] = exp.into();
        claims["nbf"] = nbf.into();
        let verified = key().verify(&signed(&hs256(), &claims), now());
        assert_eq!(verified.is_ok(), exp == i64::MAX && nbf == i64::MIN, "{verified:?}");
    }
}

#[test]
fn the_key_is_not_shown() {
    assert!(!format!("{:?}", key()).contains(KEY));
}

proptest! {
    #[test]
    fn no_text_panics_and_none_is_taken(text in ".*") {
        prop_assert!(key().verify(&text, now()).is_err());
    }

    #[test]
    fn no_parts_panic_and_none_are_taken(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..5)) {
        let token: Vec<_> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
        prop_assert!(key().verify(&token.join("."), now()).is_err());
    }

    #[test]
    fn signed_claims_of_any_shape_do_not_panic(exp: i64, nbf: i64, scopes in ".*", id in ".*") {
        let claims = json!({"aud": "vizier", "exp": exp, "nbf": nbf, "Scopes": scopes, "ServiceID": id});
        let _any = key().verify(&signed(&hs256(), &claims), now());
    }

    #[test]
    fn only_what_was_minted_verifies(position in 0_usize..4096, byte in any::<u8>(), name in "[a-z]{1,20}") {
        let token = key().service_token(&name, now());
        prop_assert_eq!(key().verify(&token, now()), Ok(service(&name)));
        let mut changed = token.clone().into_bytes();
        let position = position % changed.len();
        changed[position] = byte;
        if let Ok(changed) = String::from_utf8(changed)
            && changed != token
        {
            prop_assert!(key().verify(&changed, now()).is_err(), "{}", changed);
        }
    }
}
