use std::time::Duration;

use api::statuspb::{Code, Status};
use api::uuidpb::Uuid;
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{ConfigUpdateMessage, ConfigUpdateRequest, ConfigUpdateResponse, config_update_message};
use api::vizier::services::metadata::UpdateConfigRequest;

use super::world::{Peer, World};

fn request(pod: &str) -> UpdateConfigRequest {
    UpdateConfigRequest { key: "gprof".to_owned(), value: "true".to_owned(), agent_pod_name: pod.to_owned() }
}

async fn hear(peer: &mut Peer) -> ConfigUpdateRequest {
    peer.hear(|msg| {
        let Msg::ConfigUpdateMessage(ConfigUpdateMessage { msg: Some(msg) }) = msg else { return None };
        if let config_update_message::Msg::ConfigUpdateRequest(request) = msg { Some(request.clone()) } else { None }
    })
    .await
}

fn answer(peer: &Peer, request_id: Option<Uuid>) -> Msg {
    let status = Some(Status { err_code: Code::Ok.into(), msg: "set".to_owned(), context: None });
    let response = ConfigUpdateResponse { request_id, agent_id: peer.info.agent_id, status };
    Msg::ConfigUpdateMessage(ConfigUpdateMessage { msg: Some(config_update_message::Msg::ConfigUpdateResponse(response)) })
}

#[tokio::test(start_paused = true)]
async fn a_setting_is_said_to_the_agent_in_the_pod_until_it_answers() {
    let world = World::new().await;
    let (mut one, mut two) = (world.pem(1).await, world.pem(2).await);
    one.join().await;
    two.join().await;
    let mut settings = world.settings();
    let (told, ()) = tokio::join!(settings.update_config(request("pl/vizier-pem-2")), async {
        let first = hear(&mut two).await;
        // The answer is lost.
        let second = hear(&mut two).await;
        assert_eq!(first, second);
        assert_eq!((second.key.as_str(), second.value.as_str()), ("gprof", "true"));
        two.say(answer(&two, second.request_id)).await;
    });
    assert_eq!(told.unwrap().into_inner().status.unwrap().msg, "set");
    assert!(one.hears_nothing_for(Duration::from_secs(5)).await);
    assert!(two.hears_nothing_for(Duration::from_secs(5)).await, "it is not said again");
}

#[tokio::test(start_paused = true)]
async fn no_such_pod_and_no_answer_are_told_apart() {
    let world = World::new().await;
    let mut pem = world.pem(1).await;
    pem.join().await;
    let told = world.settings().update_config(request("pl/nobody")).await.unwrap().into_inner().status.unwrap();
    assert_eq!((told.err_code(), told.msg.as_str()), (Code::NotFound, "there is no agent in a pod `pl/nobody`"));
    let told = world.settings().update_config(request("pl/vizier-pem-1")).await.unwrap().into_inner().status.unwrap();
    assert_eq!(told.err_code(), Code::DeadlineExceeded);
}
