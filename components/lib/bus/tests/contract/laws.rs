use std::time::Duration;

use api::vizier::messages::{HeartbeatNack, MetricsMessage, VizierMessage, vizier_message::Msg};
use bus::subject::{agent, all_v2c, metrics, update_agent, v2c};
use bus::{Address, Bus, Error, QueueLimits, Reason, Subject, Subscription, Topic};
use ids::AgentId;

use crate::world::{PATIENCE, PAYLOAD_BYTES_MAX, World, eventually, lost, soon};

fn numbered(number: usize) -> MetricsMessage {
    MetricsMessage { prom_metrics_text: number.to_string(), pod_name: String::new() }
}

fn nack(reason: &str) -> VizierMessage {
    VizierMessage { msg: Some(Msg::HeartbeatNack(HeartbeatNack { reregister: true, reason: reason.to_owned(), ..Default::default() })) }
}

async fn publish_numbers(bus: &Bus, count: usize) {
    for number in 0..count {
        bus.publish(&metrics(), &numbered(number)).await.unwrap();
    }
}

async fn number(subscription: &mut Subscription<MetricsMessage>) -> usize {
    soon(subscription.next()).await.unwrap().message.prom_metrics_text.parse().unwrap()
}

async fn numbers(subscription: &mut Subscription<MetricsMessage>, count: usize) -> Vec<usize> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(number(subscription).await);
    }
    numbers
}

pub(crate) async fn messages_of_one_sender_arrive_in_their_order(world: &mut World) {
    let (reader, one, two) = (world.bus("reader").await, world.bus("one").await, world.bus("two").await);
    let mut subscription = reader.subscribe(metrics()).await.unwrap();
    tokio::join!(publish_numbers(&one, 500), publish_numbers(&two, 500));
    let mut next = std::collections::BTreeMap::from([("one".to_owned(), 0), ("two".to_owned(), 0)]);
    for _ in 0..1000 {
        let received = soon(subscription.next()).await.unwrap();
        let expected = next.get_mut(received.sender.as_deref().unwrap()).unwrap();
        assert_eq!(received.message.prom_metrics_text, expected.to_string());
        *expected += 1;
    }
    assert_eq!((subscription.dropped(), subscription.undecodable()), (0, 0));
    assert_eq!((reader.counts().received_messages, one.counts().sent_messages), (1000, 500));
}

pub(crate) async fn every_subscription_gets_every_message(world: &mut World) {
    let (one, two) = (world.bus("one").await, world.bus("two").await);
    let mut subscriptions =
        [one.subscribe(metrics()).await.unwrap(), one.clone().subscribe(metrics()).await.unwrap(), two.subscribe(metrics()).await.unwrap()];
    publish_numbers(&world.bus("sender").await, 50).await;
    for subscription in &mut subscriptions {
        assert_eq!(numbers(subscription, 50).await, (0..50).collect::<Vec<_>>());
    }
}

pub(crate) async fn a_group_gets_each_message_once(world: &mut World) {
    let (one, two) = (world.bus("one").await, world.bus("two").await);
    let mut members =
        [one.subscribe_in_group(metrics(), "workers").await.unwrap(), two.subscribe_in_group(metrics(), "workers").await.unwrap()];
    let mut outside = one.subscribe(metrics()).await.unwrap();
    publish_numbers(&two, 200).await;
    let mut seen = Vec::new();
    for _ in 0..200 {
        let [first, second] = &mut members;
        seen.push(
            soon(async {
                tokio::select! { number = number(first) => number, number = number(second) => number }
            })
            .await,
        );
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
    assert_eq!(numbers(&mut outside, 200).await, (0..200).collect::<Vec<_>>());
    assert!(matches!(one.subscribe_in_group(metrics(), "a group").await, Err(Error::Name { .. })));
}

pub(crate) async fn a_pattern_hears_what_it_covers_and_says_where_it_was_sent(world: &mut World) {
    let bus = world.bus("bus").await;
    let mut subscription = bus.subscribe(all_v2c()).await.unwrap();
    bus.publish(&metrics(), &numbered(0)).await.unwrap();
    for topic in ["heartbeat", "MetadataResponse:a.b", "reply-7"] {
        bus.publish(&v2c(Topic::new(topic).unwrap()), &api::cvmsgspb::V2cMessage::default()).await.unwrap();
        let received = soon(subscription.next()).await.unwrap();
        assert_eq!(received.subject.parse::<Address>().unwrap(), Address::V2c(Topic::new(topic).unwrap()));
    }
}

pub(crate) async fn a_sender_hears_itself(world: &mut World) {
    let bus = world.bus("bus").await;
    let mut subscription = bus.subscribe(metrics()).await.unwrap();
    publish_numbers(&bus, 1).await;
    assert_eq!(numbers(&mut subscription, 1).await, [0]);
}

pub(crate) async fn a_question_gets_its_answer(world: &mut World) {
    let (asker, answerer) = (world.bus("asker").await, world.bus("answerer").await);
    let mut questions = answerer.subscribe(update_agent()).await.unwrap();
    let answers = async {
        for _ in 0..20 {
            let question = soon(questions.next()).await.unwrap();
            assert!(question.asks());
            answerer.answer(&question, &question.message).await.unwrap();
        }
    };
    let asks = async {
        for number in 0..20 {
            let answer: VizierMessage = asker.request(&update_agent(), &nack(&number.to_string()), PATIENCE).await.unwrap();
            assert_eq!(answer, nack(&number.to_string()));
        }
    };
    tokio::join!(answers, asks);
}

pub(crate) async fn a_question_to_nobody_fails_at_once(world: &mut World) {
    let bus = world.bus("bus").await;
    let _elsewhere = bus.subscribe(metrics()).await.unwrap();
    // Longer than the test waits for anything: it is not the deadline that ends it.
    let error = soon(bus.request::<_, VizierMessage>(&update_agent(), &nack("?"), PATIENCE * 10)).await.unwrap_err();
    assert_eq!(error.to_string(), "nobody answers at `UpdateAgent`");
}

pub(crate) async fn a_question_without_an_answer_fails_at_its_deadline(world: &mut World) {
    let bus = world.bus("bus").await;
    let mut silent = bus.subscribe(update_agent()).await.unwrap();
    let error = bus.request::<_, VizierMessage>(&update_agent(), &nack("?"), Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert!(soon(silent.next()).await.unwrap().asks());
}

pub(crate) async fn an_answer_that_is_none_is_an_error_of_the_question(world: &mut World) {
    let bus = world.bus("bus").await;
    let mut questions = bus.subscribe(update_agent()).await.unwrap();
    let answers = async {
        let question = soon(questions.next()).await.unwrap();
        bus.answer(&question, &vec![0xff_u8; 20]).await.unwrap();
    };
    let asks = async {
        let error = bus.request::<_, VizierMessage>(&update_agent(), &nack("?"), PATIENCE).await.unwrap_err();
        assert_eq!(error.to_string(), "the answer from `UpdateAgent` is not understood");
    };
    tokio::join!(answers, asks);
}

pub(crate) async fn what_asks_for_no_answer_gets_none(world: &mut World) {
    let bus = world.bus("bus").await;
    let mut subscription = bus.subscribe(update_agent()).await.unwrap();
    bus.publish(&update_agent(), &nack("")).await.unwrap();
    let received = soon(subscription.next()).await.unwrap();
    assert!(!received.asks());
    assert!(matches!(bus.answer(&received, &nack("")).await, Err(Error::NotAsked { .. })));
}

pub(crate) async fn a_dropped_subscription_hears_nothing_and_counts_as_nobody(world: &mut World) {
    let (reader, sender) = (world.bus("reader").await, world.bus("sender").await);
    let subscription = reader.subscribe(update_agent()).await.unwrap();
    sender.publish(&update_agent(), &nack("")).await.unwrap();
    eventually(async || reader.counts().received_messages == 1).await;
    drop(subscription);
    eventually(async || {
        let asked = sender.request::<_, VizierMessage>(&update_agent(), &nack("?"), Duration::from_millis(10)).await;
        matches!(asked, Err(Error::NoResponder { .. }))
    })
    .await;
    let before = reader.counts();
    sender.publish(&update_agent(), &nack("")).await.unwrap();
    // Between two connections there is no order: it has to be there before the other begins to listen.
    sender.flush().await.unwrap();
    let mut after = reader.subscribe(update_agent()).await.unwrap();
    sender.publish(&update_agent(), &nack("last")).await.unwrap();
    assert_eq!(soon(after.next()).await.unwrap().message, nack("last"));
    assert_eq!(reader.counts().received_messages, before.received_messages + 1);
}

pub(crate) async fn a_slow_reader_loses_the_oldest_and_is_told_how_many(world: &mut World) {
    let slow = world.bus_with("slow", QueueLimits { messages_max: 10, ..QueueLimits::default() }).await;
    let (fast, sender) = (world.bus("fast").await, world.bus("sender").await);
    let (mut slow_reads, mut fast_reads) = (slow.subscribe(metrics()).await.unwrap(), fast.subscribe(metrics()).await.unwrap());
    publish_numbers(&sender, 100).await;
    eventually(async || slow.counts().received_messages == 100).await;
    assert_eq!(numbers(&mut slow_reads, 10).await, (90..100).collect::<Vec<_>>());
    assert_eq!((slow_reads.dropped(), slow.counts().dropped_messages), (90, 90));
    assert_eq!(numbers(&mut fast_reads, 100).await, (0..100).collect::<Vec<_>>());
    // It goes on as before.
    publish_numbers(&sender, 1).await;
    assert_eq!(number(&mut slow_reads).await, 0);
}

pub(crate) async fn a_message_too_large_is_refused_and_nothing_else_suffers(world: &mut World) {
    let bus = world.bus("bus").await;
    let mut subscription = bus.subscribe(metrics()).await.unwrap();
    assert_eq!(bus.payload_bytes_max(), PAYLOAD_BYTES_MAX);
    let large = MetricsMessage { prom_metrics_text: "x".repeat(PAYLOAD_BYTES_MAX), pod_name: String::new() };
    let error = bus.publish(&metrics(), &large).await.unwrap_err();
    let Error::TooLarge { subject, bytes, bytes_max } = &error else { panic!("{error}") };
    assert_eq!((&**subject, *bytes_max), ("Metrics", PAYLOAD_BYTES_MAX));
    assert!(bytes > bytes_max);
    let error = bus.request::<_, VizierMessage>(&metrics(), &large, PATIENCE).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    publish_numbers(&bus, 1).await;
    assert_eq!(number(&mut subscription).await, 0);
    assert_eq!(bus.counts().disconnects, 0);
}

pub(crate) async fn garbage_is_counted_and_skipped(world: &mut World) {
    let (reader, sender) = (world.bus("reader").await, world.bus("sender").await);
    let id = AgentId::from_halves(1, 2);
    let mut subscription = reader.subscribe(agent(id)).await.unwrap();
    let same_place = Subject::<Vec<u8>>::named(agent(id).as_str()).unwrap();
    for _ in 0..3 {
        sender.publish(&same_place, &vec![0xff; 30]).await.unwrap();
    }
    sender.publish(&agent(id), &nack("good")).await.unwrap();
    let received = soon(subscription.next()).await.unwrap();
    assert_eq!((received.message, received.sender.as_deref()), (nack("good"), Some("sender")));
    assert_eq!((subscription.undecodable(), reader.counts().undecodable_messages), (3, 3));
}

pub(crate) async fn while_there_is_no_server_nothing_is_sent_and_the_reason_is_known(world: &mut World) {
    let bus = world.bus("bus").await;
    world.stop();
    lost(&bus).await;
    let disconnected = |error: Error| matches!(error, Error::Disconnected { reason: Reason::Lost | Reason::Unreachable(_) });
    assert!(disconnected(bus.publish(&metrics(), &numbered(0)).await.unwrap_err()));
    assert!(disconnected(bus.request::<_, VizierMessage>(&metrics(), &numbered(0), PATIENCE).await.unwrap_err()));
    assert!(disconnected(bus.flush().await.unwrap_err()));
    assert!(disconnected(bus.connected(Duration::from_millis(50)).await.unwrap_err()));
    assert_eq!(bus.counts().disconnects, 1);
    let late = world.unconnected("late", QueueLimits::default()).await;
    assert!(matches!(late.publish(&metrics(), &numbered(0)).await, Err(Error::Disconnected { .. })));
    world.start();
    bus.connected(PATIENCE).await.unwrap();
    late.connected(PATIENCE).await.unwrap();
    assert_eq!((bus.counts().disconnects, late.counts().disconnects), (1, 0));
}

pub(crate) async fn subscriptions_come_back_with_the_server(world: &mut World) {
    let (reader, sender) = (world.bus("reader").await, world.bus("sender").await);
    let mut subscription = reader.subscribe(metrics()).await.unwrap();
    let mut group = reader.subscribe_in_group(metrics(), "workers").await.unwrap();
    let dropped = reader.subscribe(update_agent()).await.unwrap();
    for round in 0..3 {
        world.stop();
        tokio::join!(lost(&reader), lost(&sender));
        world.start();
        reader.connected(PATIENCE).await.unwrap();
        sender.connected(PATIENCE).await.unwrap();
        sender.publish(&metrics(), &numbered(round)).await.unwrap();
        assert_eq!((number(&mut subscription).await, number(&mut group).await), (round, round));
    }
    drop(dropped);
    world.stop();
    tokio::join!(lost(&reader), lost(&sender));
    world.start();
    reader.connected(PATIENCE).await.unwrap();
    sender.connected(PATIENCE).await.unwrap();
    // What was dropped does not come back.
    let asked = sender.request::<_, VizierMessage>(&update_agent(), &nack("?"), PATIENCE).await;
    assert!(matches!(asked, Err(Error::NoResponder { .. })));
}

pub(crate) async fn a_subscription_made_without_a_server_begins_with_it(world: &mut World) {
    let (reader, sender) = (world.bus("reader").await, world.bus("sender").await);
    world.stop();
    tokio::join!(lost(&reader), lost(&sender));
    let mut subscription = reader.subscribe(metrics()).await.unwrap();
    world.start();
    reader.connected(PATIENCE).await.unwrap();
    sender.connected(PATIENCE).await.unwrap();
    publish_numbers(&sender, 3).await;
    assert_eq!(numbers(&mut subscription, 3).await, [0, 1, 2]);
}

pub(crate) async fn a_question_ends_with_the_connection(world: &mut World) {
    let (asker, silent) = (world.bus("asker").await, world.bus("silent").await);
    let mut questions = silent.subscribe(update_agent()).await.unwrap();
    let question = nack("?");
    let subject = update_agent();
    let mut asked = Box::pin(asker.request::<_, VizierMessage>(&subject, &question, PATIENCE * 10));
    tokio::select! {
        answered = &mut asked => panic!("{answered:?}"),
        heard = soon(questions.next()) => assert!(heard.unwrap().asks()),
    }
    world.stop();
    let error = soon(asked).await.unwrap_err();
    assert!(matches!(error, Error::Disconnected { .. }), "{error}");
    world.start();
}
