//! Keys and tokens: what they open, and for how long.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::time::{Duration, SystemTime};

use api::cloudapi::auth_service_client::AuthServiceClient;
use api::cloudapi::vizier_cluster_info_client::VizierClusterInfoClient;
use api::cloudapi::vizier_deployment_key_manager_client::VizierDeploymentKeyManagerClient;
use api::cloudapi::{
    CreateDeploymentKeyRequest, GetClusterInfoRequest, GetDeploymentKeyRequest, ListDeploymentKeyRequest, LoginRequest,
    LookupDeploymentKeyRequest,
};
use auth::{SigningKey, UNAUTHENTICATED, User};
use support::{Plane, register, with};
use tonic::{Code, Status};

async fn by_token(plane: &Plane, token: &str) -> Result<usize, Status> {
    let request = with("authorization", &format!("bearer {token}"), GetClusterInfoRequest::default());
    Ok(VizierClusterInfoClient::new(plane.channel()).get_cluster_info(request).await?.into_inner().clusters.len())
}

async fn token(plane: &Plane, api_key: &str) -> String {
    let request = LoginRequest { access_token: api_key.to_owned() };
    AuthServiceClient::new(plane.channel()).login(request).await.unwrap().into_inner().token
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_key_opens_what_its_organisation_has_and_nothing_else() {
    let plane = Plane::start(false).await;
    plane.command(&["org", "create", "other"]).unwrap();
    register(&plane, &plane.key("deploy", "default"), "uid-1", "one").await.unwrap();
    assert_eq!(plane.clusters(&plane.key("api", "default")).await.unwrap().len(), 1);
    assert_eq!(plane.clusters(&plane.key("api", "other")).await.unwrap().len(), 0);
    let deploy = plane.key("deploy", "default");
    for wrong in ["", "px-api-00000000-0000-4000-8000-000000000000", deploy.as_str()] {
        let refused = plane.clusters(wrong).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, UNAUTHENTICATED), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_good_for_as_long_as_its_key_is_there() {
    let plane = Plane::start(false).await;
    let key = plane.key("api", "default");
    let token = token(&plane, &key).await;
    assert_eq!(by_token(&plane, &token).await.unwrap(), 0);
    let listed = plane.command(&["key", "list", "--kind", "api"]).unwrap();
    let id = listed.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    plane.command(&["key", "delete", &id]).unwrap();
    assert_eq!(by_token(&plane, &token).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_expired_and_foreign_tokens_are_refused_with_one_text() {
    let plane = Plane::start(false).await;
    let key = plane.key("api", "default");
    let real = token(&plane, &key).await;
    let listed = plane.command(&["key", "list"]).unwrap();
    let id = listed.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let user = User { id, org: "of no matter".to_owned(), email: String::new(), is_api_user: true };
    let now = SystemTime::now();
    let ours = SigningKey::for_audience(std::fs::read_to_string(plane.state.path().join("jwt.key")).unwrap(), "cloud");
    let hour = Duration::from_hours(1);
    assert!(by_token(&plane, &ours.user_token(&user, hour, now)).await.is_ok());
    let refused = [
        ("another key", SigningKey::for_audience([7; 64], "cloud").user_token(&user, hour, now)),
        ("expired", ours.user_token(&user, hour, now - 2 * hour)),
        ("a service's", ours.service_token("metadata", now)),
        ("changed", format!("{real}x")),
        ("none", String::new()),
    ];
    for (what, token) in refused {
        let status = by_token(&plane, &token).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, UNAUTHENTICATED), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_told_once_and_its_secret_is_nowhere_on_the_disk() {
    let plane = Plane::start(false).await;
    let api = plane.key("api", "default");
    let mut keys = VizierDeploymentKeyManagerClient::new(plane.channel());
    let made = keys.create(with("pixie-api-key", &api, CreateDeploymentKeyRequest { desc: "ci".to_owned() })).await.unwrap().into_inner();
    assert!(made.key.starts_with("px-dep-") && made.desc == "ci");
    let got = keys.get(with("pixie-api-key", &api, GetDeploymentKeyRequest { id: made.id })).await.unwrap().into_inner().key.unwrap();
    assert_eq!((got.key.as_str(), got.id, got.desc.as_str()), ("", made.id, "ci"));
    let found = keys.lookup_deployment_key(with("pixie-api-key", &api, LookupDeploymentKeyRequest { key: made.key.clone() }));
    assert_eq!(found.await.unwrap().into_inner().key.unwrap().id, made.id);
    let listed = keys.list(with("pixie-api-key", &api, ListDeploymentKeyRequest {})).await.unwrap().into_inner().keys;
    assert_eq!(listed.len(), 1);
    for file in std::fs::read_dir(plane.state.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        for secret in [&made.key, &api] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", path.display());
        }
    }
    plane.command(&["org", "create", "other"]).unwrap();
    let stranger = plane.key("api", "other");
    let refused = keys.delete(with("pixie-api-key", &stranger, made.id.unwrap())).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    keys.delete(with("pixie-api-key", &api, made.id.unwrap())).await.unwrap();
    assert_eq!(register(&plane, &made.key, "u", "n").await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_say_what_is_wrong() {
    let plane = Plane::start(false).await;
    plane.command(&["org", "create", "other"]).unwrap();
    assert_eq!(plane.command(&["org", "create", "other"]).unwrap_err(), "error: there is an organisation `other` already\n");
    assert_eq!(
        plane.command(&["key", "create", "--kind", "api", "--org", "none"]).unwrap_err(),
        "error: there is no organisation `none`; `cloud org list` names them all\n"
    );
    let listed = plane.command(&["org", "list"]).unwrap();
    assert_eq!(listed.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect::<Vec<_>>(), ["NAME", "default", "other"]);
}
