//! What the interceptors take, and what a file of keys admits.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::path::Path;
use std::time::{Duration, SystemTime};

use auth::{ApiKeys, Bearer, Callers, Guard, Identity, Refusal, SigningKey, SigningKeyArgs, UNAUTHENTICATED, new_api_key};
use clap::Parser;
use tonic::service::Interceptor as _;
use tonic::{Code, Request};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn key() -> SigningKey {
    SigningKey::new(KEY)
}

fn request(authorization: &str) -> Request<()> {
    let mut request = Request::new(());
    request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    request
}

#[test]
fn a_service_calls_a_service_and_is_known_by_its_name() {
    let (mut bearer, mut guard) = (Bearer::new(key(), "query-broker"), Guard::new(key()));
    for _ in 0..3 {
        let called = guard.call(bearer.call(Request::new(())).unwrap()).unwrap();
        assert_eq!(called.extensions().get::<Identity>(), Some(&Identity::Service { id: "query-broker".to_owned() }));
    }
}

#[test]
fn whatever_is_wrong_the_caller_hears_one_text() {
    let forged = SigningKey::new("another").service_token("pem", SystemTime::now());
    let expired = key().service_token("pem", SystemTime::now() - Duration::from_hours(1));
    let cluster = key().cluster_token("00000000-0000-0000-0000-000000000001".parse().unwrap(), SystemTime::now());
    let mut guard = Guard::new(key());
    let refused = [Request::new(()), request("Bearer"), request("Basic eDp5")];
    for call in refused.into_iter().chain([&forged, &expired, &cluster].map(|token| request(&format!("bearer {token}")))) {
        let status = guard.call(call).unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, UNAUTHENTICATED));
    }
    // The control plane's token is taken where it is wanted, and more than once.
    let guard = guard.callers(Callers::ServicesAndCluster);
    for _ in 0..2 {
        assert!(guard.identify(request(&format!("bearer {cluster}")).metadata()).is_ok());
    }
}

#[test]
fn a_token_of_a_service_is_good_for_one_call_to_all_clones_of_a_guard() {
    let guard = Guard::new(key());
    let token = request(&format!("BEARER {}", key().service_token("pem", SystemTime::now())));
    assert!(guard.identify(token.metadata()).is_ok());
    assert_eq!(guard.clone().identify(token.metadata()), Err(Refusal::Replayed));
}

#[test]
fn a_file_of_keys_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let replace = |text: &str| {
        std::fs::write(path.with_extension("new"), text).unwrap();
        std::fs::rename(path.with_extension("new"), &path).unwrap();
    };
    let (first, second) = (new_api_key(), new_api_key());
    replace(&format!("{first}\n"));
    let keys = ApiKeys::open(&path).unwrap();
    assert!(keys.admit(&first) && !keys.admit(&second) && !keys.admit(""));
    replace(&format!("{second} # instead\n"));
    assert!(!keys.admit(&first) && keys.admit(&second));
    // A file that is wrong, or gone, admits nobody; one that is right again does.
    replace("hunter2\n");
    assert!(!keys.admit(&second));
    std::fs::remove_file(&path).unwrap();
    assert!(!keys.admit(&second));
    replace(&format!("{second}\n"));
    assert!(keys.admit(&second));
    for header in ["pixie-api-key", "x-direct-vizier-key"] {
        let mut request = Request::new(());
        request.metadata_mut().insert(header, second.parse().unwrap());
        assert!(keys.admit_call(request.metadata()));
    }
    assert!(!keys.admit_call(Request::new(()).metadata()));
    assert!(!format!("{keys:?}").contains(&second));
}

#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    key: SigningKeyArgs,
}

#[test]
fn the_key_comes_from_a_file_or_from_the_variable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let args = |words: &[&str]| Arguments::parse_from([&["x"], words].concat()).key;
    let of_file = |path: &Path| args(&["--jwt-signing-key-file", path.to_str().unwrap()]).key();
    let token = key().service_token("pem", SystemTime::now());
    std::fs::write(&path, format!("{KEY}\n")).unwrap();
    assert!(of_file(&path).unwrap().verify(&token, SystemTime::now()).is_ok());
    assert!(args(&["--jwt-signing-key", KEY]).key().unwrap().verify(&token, SystemTime::now()).is_ok());
    assert!(!format!("{:?}", args(&["--jwt-signing-key", KEY])).contains(KEY));
    std::fs::write(&path, "short\n").unwrap();
    assert_eq!(of_file(&path).unwrap_err().to_string(), "the key to sign tokens with has 5 bytes, and at least 32 are needed");
    assert_eq!(of_file(&folder.path().join("none")).unwrap_err().to_string(), format!("cannot read {}/none", folder.path().display()));
    assert_eq!(args(&[]).key().unwrap_err().to_string(), "no key to sign tokens with: --jwt-signing-key-file names one");
}
