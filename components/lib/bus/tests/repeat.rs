//! What is said again until it is answered, in paused time.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::time::Duration;

use api::vizier::messages::{HeartbeatAck, HeartbeatNack, RegisterAgentRequest, RegisterAgentResponse, VizierMessage, vizier_message::Msg};
use bus::subject::{agent, update_agent};
use bus::{Bus, Error, Fate, Hub, Pace, Received, Subscription};
use ids::AgentId;
use tokio::time::Instant;

const PACE: Pace = Pace { first: Duration::from_secs(1), max: Duration::from_secs(30), seed: 7 };

fn id() -> AgentId {
    AgentId::from_halves(1, 2)
}

fn question() -> VizierMessage {
    VizierMessage { msg: Some(Msg::RegisterAgentRequest(RegisterAgentRequest::default())) }
}

fn answer(asid: u32) -> VizierMessage {
    VizierMessage { msg: Some(Msg::RegisterAgentResponse(RegisterAgentResponse { asid, ..RegisterAgentResponse::default() })) }
}

fn asid(received: Received<VizierMessage>) -> Option<u32> {
    match received.message.msg {
        Some(Msg::RegisterAgentResponse(response)) => Some(response.asid),
        _ => None,
    }
}

/// An agent that registers, and the metadata service's end.
async fn both(hub: &Hub) -> (Bus, Subscription<VizierMessage>, Bus, Subscription<VizierMessage>) {
    let (pem, metadata) = (hub.connect("pem").unwrap(), hub.connect("metadata").unwrap());
    let answers = pem.subscribe(agent(id())).await.unwrap();
    let questions = metadata.subscribe(update_agent()).await.unwrap();
    (pem, answers, metadata, questions)
}

#[tokio::test(start_paused = true)]
async fn it_is_said_again_with_growing_pauses_until_the_answer_comes() {
    let hub = Hub::new();
    let (pem, mut answers, metadata, mut questions) = both(&hub).await;
    let began = Instant::now();
    let metadata_answers_the_fifth = async {
        let mut times = Vec::new();
        for _ in 0..5 {
            questions.next().await.unwrap();
            times.push(began.elapsed());
        }
        metadata.publish(&agent(id()), &answer(9)).await.unwrap();
        times
    };
    let (subject, question) = (update_agent(), question());
    let (times, answered) = tokio::join!(metadata_answers_the_fifth, pem.repeat(&subject, &question, PACE).until(&mut answers, asid));
    assert_eq!(answered.unwrap(), 9);
    for (attempt, pair) in times.windows(2).enumerate() {
        let (pause, whole) = (pair[1].saturating_sub(pair[0]), Duration::from_secs(1 << attempt));
        // Timers of tokio have milliseconds.
        assert!(pause >= whole / 2 && pause <= whole + Duration::from_millis(1), "{attempt}: {pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_seed_gets_its_answer_through_loss_and_duplication() {
    for seed in 0..50_u64 {
        let hub = Hub::new();
        let (pem, mut answers, metadata, mut questions) = both(&hub).await;
        let mut state = seed;
        hub.set_fates(move |_| {
            // Knuth's linear congruential generator; its upper bits are the good ones.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match state >> 62 {
                0 | 1 => Fate::Lose,
                2 => Fate::Twice,
                _ => Fate::Late(Duration::from_millis((state >> 40) % 3000)),
            }
        });
        let serve = async {
            while questions.next().await.is_some() {
                metadata.publish(&agent(id()), &answer(3)).await.unwrap();
            }
        };
        let (subject, question) = (update_agent(), question());
        tokio::select! {
            () = serve => panic!("the questions ended"),
            answered = pem.repeat(&subject, &question, PACE).until(&mut answers, asid) => assert_eq!(answered.unwrap(), 3, "seed {seed}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn other_messages_are_handed_over_and_none_is_lost() {
    let hub = Hub::new();
    let (pem, mut answers, metadata, _questions) = both(&hub).await;
    let others = [Msg::HeartbeatAck(HeartbeatAck::default()), Msg::HeartbeatNack(HeartbeatNack::default())];
    for other in &others {
        metadata.publish(&agent(id()), &VizierMessage { msg: Some(other.clone()) }).await.unwrap();
    }
    metadata.publish(&agent(id()), &answer(1)).await.unwrap();
    metadata.publish(&agent(id()), &answer(2)).await.unwrap();
    let (mut kept, subject, question) = (Vec::new(), update_agent(), question());
    let accept = |received: Received<VizierMessage>| {
        let message = received.message.clone();
        asid(received).or_else(|| {
            kept.extend(message.msg);
            None
        })
    };
    assert_eq!(pem.repeat(&subject, &question, PACE).until(&mut answers, accept).await.unwrap(), 1);
    assert_eq!(kept, others);
    assert_eq!(answers.next().await.map(|received| received.message), Some(answer(2)));
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_it_waits_and_with_one_it_speaks_at_once() {
    let hub = Hub::new();
    let (pem, mut answers, metadata, mut questions) = both(&hub).await;
    hub.stop();
    let (subject, question) = (update_agent(), question());
    let asks = pem.repeat(&subject, &question, PACE).until(&mut answers, asid);
    let server_comes_back = async {
        tokio::time::sleep(Duration::from_hours(1)).await;
        hub.start();
        let back = Instant::now();
        questions.next().await.unwrap();
        assert_eq!(back.elapsed(), Duration::ZERO);
        metadata.publish(&agent(id()), &answer(4)).await.unwrap();
    };
    let (answered, ()) = tokio::join!(asks, server_comes_back);
    assert_eq!(answered.unwrap(), 4);
    // An hour without a connection: it was said once.
    assert_eq!(pem.counts().sent_messages, 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_it_ends_it_and_the_end_of_the_bus_is_an_error() {
    let hub = Hub::new();
    let (pem, mut answers, _metadata, mut questions) = both(&hub).await;
    let (subject, question) = (update_agent(), question());
    let asks = pem.repeat(&subject, &question, PACE).until(&mut answers, asid);
    assert!(tokio::time::timeout(Duration::from_secs(10), asks).await.is_err());
    let said = pem.counts().sent_messages;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(pem.counts().sent_messages, said);
    for _ in 0..said {
        questions.next().await.unwrap();
    }
    let asks = pem.repeat(&subject, &question, PACE).until(&mut answers, asid);
    let end = async { drop(hub) };
    let (answered, ()) = tokio::join!(asks, end);
    assert!(matches!(answered, Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn what_no_repetition_heals_is_an_error() {
    let hub = Hub::with_payload_bytes_max(1);
    let (pem, mut answers, _metadata, _questions) = both(&hub).await;
    let (subject, question) = (update_agent(), question());
    let answered = pem.repeat(&subject, &question, PACE).until(&mut answers, asid).await;
    assert!(matches!(answered, Err(Error::TooLarge { .. })));
}
