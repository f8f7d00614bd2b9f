//! What the connector does next, by the laws that it keeps.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::time::Duration;

use cloud_connector::{ACK_MAX, Effect, Event, HEARTBEAT_EVERY, Identity, Machine, RETRY_FIRST, RETRY_MAX, Refusal, WATCHDOG_MAX};
use ids::ClusterId;
use proptest::prelude::*;

fn one() -> Identity {
    Identity { id: ClusterId::from_halves(0, 1), name: "one".to_owned() }
}

fn acknowledged() -> Event {
    Event::Acknowledged { name: "one".to_owned() }
}

fn at(second: u64) -> Duration {
    Duration::from_secs(second)
}

#[test]
fn a_new_cluster_registers_keeps_what_it_is_given_and_beats_at_once_and_every_five_seconds() {
    let mut machine = Machine::new(1);
    assert_eq!(machine.handle(Event::Started(None), at(0)), [Effect::Register]);
    assert_eq!(machine.reason(), Some("CloudConnectorRegistering"));
    assert_eq!(machine.handle(Event::Registered(one()), at(1)), [Effect::Keep(one()), Effect::Open(one())]);
    assert_eq!(machine.handle(Event::Greeted, at(2)), []);
    assert_eq!(machine.handle(acknowledged(), at(3)), [Effect::Beat(1)]);
    assert_eq!((machine.reason(), machine.is_up(), machine.deadline()), (None, true, Some(at(3) + HEARTBEAT_EVERY)));
    machine.handle(Event::Beaten, at(3));
    assert_eq!(machine.handle(Event::Time, at(7)), []);
    assert_eq!(machine.handle(Event::Time, at(8)), [Effect::Beat(2)]);
    // After a pause there is one, not all that were missed.
    assert_eq!(machine.handle(Event::Time, at(100)), [Effect::Beat(3)]);
    assert_eq!(machine.handle(Event::Time, at(100)), [Effect::Beat(4)]);
    assert_eq!(machine.handle(Event::Time, at(101)), []);
}

#[test]
fn a_known_cluster_goes_straight_to_the_bridge_and_takes_a_new_name() {
    let mut machine = Machine::new(1);
    assert_eq!(machine.handle(Event::Started(Some(one())), at(0)), [Effect::Open(one())]);
    machine.handle(Event::Greeted, at(0));
    let renamed = Identity { name: "two".to_owned(), ..one() };
    let effects = machine.handle(Event::Acknowledged { name: "two".to_owned() }, at(0));
    assert_eq!(effects, [Effect::Keep(renamed), Effect::Beat(1)]);
}

#[test]
fn what_fails_is_tried_again_after_growing_pauses_and_its_reason_is_told() {
    let mut machine = Machine::new(1);
    machine.handle(Event::Started(Some(one())), at(0));
    let mut now = at(0);
    for attempt in 0..12_u32 {
        assert_eq!(machine.handle(Event::Failed(Refusal::Key), now), []);
        assert_eq!(machine.reason(), Some("InvalidDeployKey"));
        let deadline = machine.deadline().unwrap();
        let whole = RETRY_FIRST.saturating_mul(2_u32.saturating_pow(attempt)).min(RETRY_MAX);
        assert!(deadline >= now + whole / 2 && deadline <= now + whole, "{attempt}");
        assert_eq!(machine.handle(Event::Time, deadline), [Effect::Open(one())]);
        now = deadline;
    }
    machine.handle(Event::Greeted, now);
    machine.handle(acknowledged(), now);
    assert_eq!(machine.reason(), None);
    // A bridge that stood begins anew with short pauses.
    machine.handle(Event::Failed(Refusal::Unreached), now);
    assert!(machine.deadline().unwrap() <= now + RETRY_FIRST);
    assert_eq!(machine.reason(), Some("CloudConnectFailed"));
}

#[test]
fn a_control_plane_that_does_not_say_whether_it_knows_us_is_left() {
    let mut machine = Machine::new(1);
    machine.handle(Event::Started(Some(one())), at(0));
    machine.handle(Event::Greeted, at(10));
    assert_eq!(machine.handle(Event::Time, at(10) + ACK_MAX), [Effect::Close]);
    assert_eq!(machine.reason(), Some("CloudConnectFailed"));
}

#[test]
fn heartbeats_that_are_not_handed_over_for_ten_minutes_end_the_process() {
    let mut machine = Machine::new(1);
    machine.handle(Event::Started(Some(one())), at(0));
    machine.handle(Event::Greeted, at(0));
    machine.handle(acknowledged(), at(0));
    machine.handle(Event::Beaten, at(1));
    assert_eq!(machine.handle(Event::Time, at(1) + WATCHDOG_MAX), [Effect::Leave]);
    assert_eq!((machine.handle(Event::Time, at(2000)), machine.deadline()), (vec![], None));
}

fn event() -> impl Strategy<Value = Event> {
    let refusal = prop_oneof![Just(Refusal::Unreached), Just(Refusal::Key), Just(Refusal::Unknown), Just(Refusal::Active)];
    prop_oneof![
        Just(Event::Started(None)),
        Just(Event::Registered(Identity { id: ClusterId::from_halves(0, 2), name: "other".to_owned() })),
        Just(Event::Greeted),
        Just(acknowledged()),
        Just(Event::Beaten),
        refusal.prop_map(Event::Failed),
        Just(Event::Time),
    ]
}

proptest! {
    /// Whatever happens: who knows who they are never asks again, and is never somebody else.
    #[test]
    fn an_identity_is_never_given_up(events in prop::collection::vec((event(), 0_u64..40), 0..60)) {
        let mut machine = Machine::new(1);
        machine.handle(Event::Started(Some(one())), at(0));
        let mut now = at(0);
        for (event, seconds) in events {
            now += at(seconds);
            for effect in machine.handle(event, now) {
                match effect {
                    Effect::Register => prop_assert!(false, "registered again"),
                    Effect::Keep(identity) | Effect::Open(identity) => prop_assert_eq!(identity.id, one().id),
                    Effect::Beat(_) | Effect::Close | Effect::Leave => {}
                }
            }
            prop_assert!(machine.identity().is_none_or(|identity| identity.id == one().id));
        }
    }

    /// It never stands still: there is always a deadline, or something is under way.
    #[test]
    fn time_alone_brings_it_to_another_try(refusals in 1_usize..20, pause in 0_u64..40) {
        let mut machine = Machine::new(7);
        machine.handle(Event::Started(None), at(0));
        let mut now = at(0);
        for _ in 0..refusals {
            now += at(pause);
            machine.handle(Event::Failed(Refusal::Unreached), now);
            let deadline = machine.deadline();
            prop_assert!(deadline.is_some_and(|deadline| deadline > now && deadline <= now + RETRY_MAX));
            now = deadline.unwrap();
            prop_assert_eq!(machine.handle(Event::Time, now), vec![Effect::Register]);
        }
    }
}
