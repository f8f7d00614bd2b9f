//! What only the bus in memory can do: fates, cuts, its end.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::time::Duration;

use api::vizier::messages::MetricsMessage;
use bus::subject::metrics;
use bus::{Bus, Error, Fate, Hub, Link, Reason, Subscription};
use futures::FutureExt as _;
use tokio::time::Instant;

async fn say(bus: &Bus, word: &str) {
    let message = MetricsMessage { pod_name: word.to_owned(), ..MetricsMessage::default() };
    bus.publish(&metrics(), &message).await.unwrap();
}

async fn hear(subscription: &mut Subscription<MetricsMessage>) -> String {
    subscription.next().await.unwrap().message.pod_name
}

#[tokio::test(start_paused = true)]
async fn the_fate_of_a_message_is_decided_for_each_receiver() {
    let hub = Hub::new();
    let (sender, one, two) = (hub.connect("sender").unwrap(), hub.connect("one").unwrap(), hub.connect("two").unwrap());
    let mut one_hears = one.subscribe(metrics()).await.unwrap();
    let mut two_hears = two.subscribe(metrics()).await.unwrap();
    let mut fates = [Fate::Lose, Fate::Twice, Fate::Late(Duration::from_secs(5)), Fate::Deliver].into_iter();
    hub.set_fates(move |delivery| {
        assert_eq!((delivery.from, delivery.subject), ("sender", "Metrics"));
        if delivery.to == "one" { fates.next().unwrap() } else { Fate::Deliver }
    });
    let began = Instant::now();
    for word in ["lost", "twice", "late", "prompt"] {
        say(&sender, word).await;
    }
    assert_eq!([hear(&mut one_hears).await, hear(&mut one_hears).await, hear(&mut one_hears).await], ["twice", "twice", "prompt"]);
    assert_eq!(hear(&mut one_hears).await, "late");
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    for word in ["lost", "twice", "late", "prompt"] {
        assert_eq!(hear(&mut two_hears).await, word);
    }
    hub.clear_fates();
    say(&sender, "again").await;
    assert_eq!(hear(&mut one_hears).await, "again");
}

#[tokio::test]
async fn who_is_cut_off_neither_sends_nor_hears_and_the_others_do() {
    let hub = Hub::new();
    let (one, two) = (hub.connect("one").unwrap(), hub.connect("two").unwrap());
    let mut one_hears = one.subscribe(metrics()).await.unwrap();
    let mut two_hears = two.subscribe(metrics()).await.unwrap();
    hub.cut("one", Reason::Refused("no such user".to_owned()));
    let error = one.publish(&metrics(), &MetricsMessage::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the bus is not connected: the server does not take our credentials: no such user");
    say(&two, "unheard").await;
    assert_eq!(hear(&mut two_hears).await, "unheard");
    // A server that starts again does not undo the cut.
    hub.stop();
    hub.start();
    assert!(!one.link().borrow().is_connected());
    hub.mend("one");
    assert_eq!(*one.link().borrow(), Link::Connected);
    say(&two, "heard").await;
    assert_eq!(hear(&mut one_hears).await, "heard");
}

#[tokio::test]
async fn the_end_of_the_hub_ends_its_buses() {
    let hub = Hub::new();
    let bus = hub.connect("bus").unwrap();
    let mut subscription = bus.subscribe(metrics()).await.unwrap();
    say(&bus, "last").await;
    drop(hub);
    assert_eq!(hear(&mut subscription).await, "last");
    assert!(subscription.next().await.is_none());
    assert!(matches!(bus.publish(&metrics(), &MetricsMessage::default()).await, Err(Error::Closed)));
    assert!(matches!(bus.subscribe(metrics()).await, Err(Error::Closed)));
    assert!(matches!(bus.connected(Duration::from_secs(1)).await, Err(Error::Closed)));
}

#[tokio::test]
async fn groups_that_have_gone_leave_nothing_behind() {
    let hub = Hub::new();
    let bus = hub.connect("bus").unwrap();
    for _ in 0..3 {
        let mut member = bus.subscribe_in_group(metrics(), "workers").await.unwrap();
        say(&bus, "word").await;
        assert_eq!(hear(&mut member).await, "word");
        assert!(member.next().now_or_never().is_none());
    }
}
