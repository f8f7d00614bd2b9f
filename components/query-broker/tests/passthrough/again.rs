//! What is said again, on both ways, so that a call runs once and its answers come once.

use std::sync::Arc;
use std::time::Duration;

use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answered;
use api::cvmsgspb::{C2vapiStreamRequest, V2cMessage, V2capiStreamResponse};
use api::vizierpb::HealthCheckRequest;
use bus::subject::Topic;
use bus::{Fate, Subscription, subject};

use crate::support::request;
use crate::world::{World, all, endless, next, one_row, packed, token, world};

impl World {
    async fn answers(&self, id: &str) -> Subscription<V2cMessage> {
        self.connector.subscribe(subject::v2c(Topic::new(&format!("reply-{id}")).unwrap())).await.unwrap()
    }

    /// The call itself, as the control plane says it each time.
    async fn say_call(&self, id: &str, window: u32, ask: Ask) {
        let request = C2vapiStreamRequest { request_id: id.to_owned(), token: token(), window, msg: Some(ask), ..Default::default() };
        self.say(&packed(&request)).await;
    }

    async fn acknowledge(&self, id: &str, acknowledged: u64, again: bool) {
        self.say(&packed(&C2vapiStreamRequest { request_id: id.to_owned(), acknowledged, again, ..Default::default() })).await;
    }

    fn lose_all_answers(&self) {
        self.hub.set_fates(|delivery| if delivery.subject.contains("reply-") { Fate::Lose } else { Fate::Deliver });
    }

    /// Until there is nothing left to do.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn numbers(answers: &mut Subscription<V2cMessage>, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        numbers.push(next(answers).await.sequence);
    }
    numbers
}

fn end(answer: &V2capiStreamResponse) -> (u64, i32, &str) {
    let Some(Answered::Status(status)) = &answer.msg else { panic!("{answer:?}") };
    (answer.sequence, status.code, &status.message)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_said_twice_runs_once_and_what_is_not_acknowledged_is_said_again() {
    let alive = Arc::default();
    let world = world(endless(&alive)).await;
    let mut answers = world.call("r", 4, Ask::ExecReq(request("endless"))).await;
    assert_eq!(numbers(&mut answers, 4).await, [1, 2, 3, 4]);
    world.say_call("r", 4, Ask::ExecReq(request("endless"))).await;
    assert_eq!(numbers(&mut answers, 4).await, [1, 2, 3, 4]);
    world.acknowledge("r", 2, true).await;
    assert_eq!(numbers(&mut answers, 4).await, [3, 4, 5, 6]);
    let counts = world.broker.counters().snapshot();
    assert_eq!((counts.queries_started, counts.passthrough_requests, counts.passthrough_repeated), (1, 1, 2));
    world.cancel("r").await;
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_that_was_lost_is_said_again_after_its_end() {
    let world = world(one_row()).await;
    world.lose_all_answers();
    let mut answers = world.answers("r").await;
    world.say_call("r", 32, Ask::ExecReq(request("one"))).await;
    world.settle().await;
    world.hub.clear_fates();
    world.say_call("r", 32, Ask::ExecReq(request("one"))).await;
    assert_eq!(all(&mut answers).await, ["table a", "1 rows", "0 rows, end", "statistics", "end 0"]);
    // The first two are handed over, and the end never came.
    world.acknowledge("r", 2, true).await;
    assert_eq!(numbers(&mut answers, 3).await, [3, 4, 5]);
    assert_eq!(world.broker.counters().snapshot().queries_started, 1);
    // Everything is there: nobody asks again, and nothing is kept.
    world.cancel("r").await;
    world.settle().await;
    world.acknowledge("r", 2, true).await;
    let unknown = next(&mut answers).await;
    assert_eq!((end(&unknown).0, end(&unknown).1), (3, 14));
}

#[tokio::test(start_paused = true)]
async fn every_seed_gets_every_answer_once_through_loss_and_duplication() {
    for seed in 0..50_u64 {
        let world = world(one_row()).await;
        let mut state = seed;
        world.hub.set_fates(move |_| {
            // Knuth's linear congruential generator; its upper bits are the good ones.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match state >> 62 {
                0 => Fate::Lose,
                1 => Fate::Twice,
                _ => Fate::Deliver,
            }
        });
        let mut answers = world.answers("r").await;
        let (mut received, mut ended) = (0, false);
        // As the control plane does it: what is next is taken, and said again is what does not come within two seconds.
        for _ in 0..100 {
            if received == 0 {
                world.say_call("r", 2, Ask::ExecReq(request("one"))).await;
            } else {
                world.acknowledge("r", received, true).await;
            }
            while let Ok(answer) = tokio::time::timeout(Duration::from_secs(2), next(&mut answers)).await {
                if answer.sequence == received + 1 {
                    received += 1;
                    ended |= matches!(answer.msg, Some(Answered::Status(_)));
                    world.acknowledge("r", received, false).await;
                }
            }
            if ended {
                break;
            }
        }
        assert_eq!((received, ended), (5, true), "seed {seed}");
        assert_eq!(world.broker.counters().snapshot().queries_started, 1, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_bus_comes_back_what_was_under_way_is_said_again_unasked() {
    let alive = Arc::default();
    let world = world(endless(&alive)).await;
    let mut answers = world.call("r", 4, Ask::ExecReq(request("endless"))).await;
    assert_eq!(numbers(&mut answers, 4).await, [1, 2, 3, 4]);
    // There is room for more when the bus goes.
    world.lose_all_answers();
    world.acknowledge("r", 2, false).await;
    world.settle().await;
    world.hub.clear_fates();
    world.acknowledge("r", 3, false).await;
    world.hub.stop();
    world.settle().await;
    world.hub.start();
    assert_eq!(numbers(&mut answers, 4).await, [4, 5, 6, 7]);
    world.cancel("r").await;
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_missing_of_a_call_that_nobody_knows_end_it_at_once() {
    let world = world(one_row()).await;
    let mut answers = world.answers("r").await;
    world.acknowledge("r", 7, true).await;
    let answer = next(&mut answers).await;
    let (sequence, code, message) = end(&answer);
    assert_eq!((sequence, code), (8, 14));
    assert!(message.contains("it was restarted while the call ran"), "{message}");
    assert_eq!(world.broker.counters().snapshot().passthrough_unknown, 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_call_can_be_asked_for_during_a_minute() {
    let world = world(one_row()).await;
    let mut answers = world.call("r", 32, Ask::ExecReq(request("one"))).await;
    all(&mut answers).await;
    tokio::time::sleep(Duration::from_secs(59)).await;
    world.acknowledge("r", 4, true).await;
    let last = next(&mut answers).await;
    assert_eq!((end(&last).0, end(&last).1), (5, 0));
    tokio::time::sleep(Duration::from_secs(61)).await;
    world.acknowledge("r", 4, true).await;
    let gone = next(&mut answers).await;
    assert_eq!((end(&gone).0, end(&gone).1), (5, 14));
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_while_there_is_nothing_new_hears_that_the_call_runs() {
    let world = world(one_row()).await;
    let mut answers = world.call("h", 32, Ask::HcReq(HealthCheckRequest::default())).await;
    assert_eq!(next(&mut answers).await.sequence, 1);
    world.acknowledge("h", 1, true).await;
    let runs = next(&mut answers).await;
    assert_eq!((runs.request_id.as_str(), runs.sequence, runs.msg), ("h", 0, None));
    world.cancel("h").await;
    let cancelled = next(&mut answers).await;
    assert_eq!((end(&cancelled).0, end(&cancelled).1), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_of_which_nothing_is_acknowledged_for_three_minutes_ends_and_so_does_its_query() {
    let alive = Arc::default();
    let world = world(endless(&alive)).await;
    let mut answers = world.call("r", 4, Ask::ExecReq(request("endless"))).await;
    numbers(&mut answers, 4).await;
    tokio::time::sleep(Duration::from_secs(170)).await;
    world.acknowledge("r", 1, false).await;
    assert_eq!(numbers(&mut answers, 1).await, [5]);
    // From then on it is asked for what comes, and nothing is taken.
    for _ in 0..17 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        world.acknowledge("r", 1, true).await;
        assert_eq!(numbers(&mut answers, 4).await, [2, 3, 4, 5]);
    }
    assert_eq!(world.broker.queries_running(), 1);
    tokio::time::sleep(Duration::from_secs(11)).await;
    let ended = next(&mut answers).await;
    assert_eq!(end(&ended), (6, 4, "no answer was acknowledged for 180 s"));
    assert_eq!(world.broker.queries_running(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_query_does_not_outlive_a_bus_that_is_away_for_three_minutes() {
    let alive = Arc::default();
    let world = world(endless(&alive)).await;
    let mut answers = world.call("r", 0, Ask::ExecReq(request("endless"))).await;
    next(&mut answers).await;
    world.hub.stop();
    tokio::time::sleep(Duration::from_secs(179)).await;
    assert_eq!(world.broker.queries_running(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.broker.queries_running(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_acknowledges_nothing_hears_everything_once() {
    let world = world(one_row()).await;
    let mut answers = world.call("r", 0, Ask::ExecReq(request("one"))).await;
    world.say_call("r", 0, Ask::ExecReq(request("one"))).await;
    assert_eq!(all(&mut answers).await.len(), 5);
    assert!(tokio::time::timeout(Duration::from_mins(2), answers.next()).await.is_err());
}
