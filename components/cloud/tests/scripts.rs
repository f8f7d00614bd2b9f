//! Scripts that clusters run again and again, and changes of version.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use api::cloudapi::UpdateOrInstallClusterRequest;
use api::cloudapi::vizier_cluster_info_client::VizierClusterInfoClient;
use api::cvmsgspb::cron_script_update::Msg as Update;
use api::cvmsgspb::{
    CronScriptUpdate, GetCronScriptsChecksumRequest, GetCronScriptsChecksumResponse, GetCronScriptsRequest, GetCronScriptsResponse,
    RegisterOrUpdateCronScriptResponse, UpdateOrInstallVizierRequest, UpdateOrInstallVizierResponse,
};
use support::{Plane, Vizier, pack, unpack, with};

/// The next message on this topic; others are left aside.
async fn on(vizier: &mut Vizier, topic: &str) -> api::services::C2vBridgeMessage {
    loop {
        let message = vizier.next().await;
        if message.topic == topic {
            return message;
        }
    }
}

async fn checksum(vizier: &mut Vizier) -> Vec<u8> {
    let request = GetCronScriptsChecksumRequest { topic: "t".to_owned() };
    vizier.say("GetCronScriptsCheckSumRequest", pack("GetCronScriptsChecksumRequest", &request)).await;
    unpack::<GetCronScriptsChecksumResponse>(&on(vizier, "GetCronScriptsCheckSumResponse:t").await).checksum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_gets_its_scripts_and_is_told_of_changes_until_it_says_that_it_knows() {
    let plane = Plane::start(false).await;
    let (deploy, api) = (plane.key("deploy", "default"), plane.key("api", "default"));
    let mut vizier = Vizier::healthy(&plane, &deploy, &api).await;
    let empty = checksum(&mut vizier).await;
    assert_eq!(empty.len(), 32);

    let file = plane.state.path().join("script.pxl");
    std::fs::write(&file, "import px").unwrap();
    let made = plane.command(&["script", "create", file.to_str().unwrap(), "--frequency-s", "30"]).unwrap();
    let id = made.trim().strip_prefix("ID: ").unwrap().to_owned();
    let first: CronScriptUpdate = unpack(&on(&mut vizier, "CronScriptsUpdates").await);
    let Some(Update::UpsertReq(upsert)) = &first.msg else { panic!("{first:?}") };
    assert_eq!(upsert.script.as_ref().unwrap().frequency_s, 30);
    // Nothing was answered: it is said again, and is the same.
    let again: CronScriptUpdate = unpack(&on(&mut vizier, "CronScriptsUpdates").await);
    assert_eq!(again, first);
    let known = format!("CronScriptsUpdatesResponse:{}", first.request_id);
    vizier.say(&known, pack("RegisterOrUpdateCronScriptResponse", &RegisterOrUpdateCronScriptResponse {})).await;

    vizier.say("GetCronScriptsRequest", pack("GetCronScriptsRequest", &GetCronScriptsRequest { topic: "t".to_owned() })).await;
    let all: GetCronScriptsResponse = unpack(&on(&mut vizier, "GetCronScriptsResponse:t").await);
    assert_eq!(all.scripts.keys().collect::<Vec<_>>(), [&id]);
    assert_eq!(all.scripts[&id].script, "import px");
    assert_ne!(checksum(&mut vizier).await, empty);

    plane.command(&["script", "delete", &id]).unwrap();
    let deleted = loop {
        let update: CronScriptUpdate = unpack(&on(&mut vizier, "CronScriptsUpdates").await);
        if let Some(Update::DeleteReq(deleted)) = update.msg {
            break deleted;
        }
    };
    assert!(deleted.script_id.is_some());
    assert_eq!(checksum(&mut vizier).await, empty);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whether_a_version_changes_is_what_the_cluster_says() {
    let plane = Plane::start(false).await;
    let (deploy, api) = (plane.key("deploy", "default"), plane.key("api", "default"));
    let mut vizier = Vizier::healthy(&plane, &deploy, &api).await;
    for started in [true, false] {
        let request = UpdateOrInstallClusterRequest { cluster_id: Some(vizier.id), version: "9.9".to_owned(), redeploy_etcd: false };
        let request = with("pixie-api-key", &api, request);
        let mut client = VizierClusterInfoClient::new(plane.channel());
        let asked = tokio::spawn(async move { client.update_or_install_cluster(request).await });
        let update: UpdateOrInstallVizierRequest = unpack(&on(&mut vizier, "VizierUpdate").await);
        assert_eq!(update.version, "9.9");
        let answer = UpdateOrInstallVizierResponse { update_started: started };
        vizier.say("VizierUpdateResponse", pack("UpdateOrInstallVizierResponse", &answer)).await;
        assert_eq!(asked.await.unwrap().unwrap().into_inner().update_started, started);
    }
}
