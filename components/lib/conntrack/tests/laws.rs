//! What holds for every input.

use conntrack::{ConnTracker, Counters, Event, Limits, Opened, Output, Transfer};
use ids::{Direction, MonoNs, Role, Transport, Upid};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use protocols::{Record, Start};
use strategies::cuts::{Cuts, Delays, Losses, cut_calls, cut_chunks};
use strategies::http::{Conversation, markers, noise};
use strategies::kernel::{OwnedEvent, events, socket};
use strategies::traffic::{Action, Script, read};

/// Hands the events to a tracker, each when it happened or, if that is over, at once; then lets all waits end.
fn track(events: &[(MonoNs, OwnedEvent)]) -> (Vec<Record>, ConnTracker) {
    let (mut tracker, mut now) = (ConnTracker::new(Limits::default()), MonoNs(0));
    for (at, event) in events {
        now = now.max(*at);
        tracker.handle(&event.as_event(), now);
    }
    for _ in 0..4 {
        now = MonoNs(now.0 + 1_000_000_000);
        tracker.tick(now);
    }
    let mut records = Vec::new();
    while let Some(output) = tracker.poll() {
        if let Output::Record { record, .. } = output {
            records.push(record);
        }
    }
    (records, tracker)
}

proptest! {
    #[test]
    fn cuts_and_reordering_are_invisible(
        conversation in Conversation::any(), calls in Cuts::any(), chunks in Cuts::any(), delays in Delays::any(), at in any::<(u32, u32)>()
    ) {
        let script = conversation.script();
        let expected = read(&script).records;
        let events = events(&cut_calls(&script, &calls), socket(1), at.0, at.1);
        let events = delays.apply(&cut_chunks(&events, &chunks));
        let (records, tracker) = track(&events);
        prop_assert_eq!(records, expected);
        prop_assert_eq!((tracker.buffered_bytes(), tracker.open_sockets().count(), tracker.metrics().bytes_lost), (0, 0, 0));
    }

    #[test]
    fn a_loss_never_mixes_two_exchanges(conversation in Conversation::any(), cuts in Cuts::any(), losses in Losses::any(), lost in prop::collection::vec(0..8_u8, 1..40)) {
        let script = losses.apply(&cut_calls(&conversation.script(), &cuts));
        let events = events(&script, socket(1), 7, 9);
        // Any event may be lost, the opening and the close too.
        let events: Vec<_> = events.into_iter().enumerate().filter(|(at, _)| lost[at % lost.len()] > 0).map(|(_, event)| event).collect();
        for Record::Http(exchange) in track(&events).0 {
            prop_assert_eq!(markers(&exchange).len(), 1, "{:?}", exchange);
        }
    }

    #[test]
    fn counters_never_go_back_and_memory_stays_under_its_limits(
        steps in prop::collection::vec((0..6_u64, 0..24_u8, any::<bool>(), noise(), any::<(u8, u8, u32)>(), 0..30_000_000_u64), 0..150)
    ) {
        let limits = Limits { connections_max: 4, buffered_bytes_max: 2_000, aggregates_max: 100 };
        let (mut tracker, mut now) = (ConnTracker::new(limits), MonoNs(1));
        let mut before: Vec<(Upid, u64, u64)> = Vec::new();
        for (address, action, sent, bytes, (generation, small, wild), pause) in &steps {
            now = MonoNs(now.0 + pause);
            let socket = ids::SocketId { address: *address, opened: MonoNs(u64::from(generation % 3)), netns: 1 };
            let position = if small % 8 == 0 { *wild } else { u32::from(*small) };
            let counters = Counters { bytes_sent: u64::from(*wild), bytes_received: u64::from(*small) };
            let transfer = Transfer {
                socket,
                process: Upid::new(ids::Asid(1), 1 + *address as u32, 1),
                direction: if *sent { Direction::Sent } else { Direction::Received },
                at: now,
                call_position: position,
                call_bytes: if small % 3 == 0 { *wild } else { bytes.len() as u32 },
                offset: if small % 5 == 0 { *wild } else { 0 },
                bytes,
                last: *action % 2 == 0,
            };
            let opened = Opened {
                socket,
                endpoints: None,
                transport: if small % 16 == 1 { Transport::Udp } else { Transport::Tcp },
                role: [Role::Client, Role::Server, Role::Unknown][usize::from(generation % 3)],
                fresh: *sent,
                send_position: position,
                receive_position: *wild,
                process: None,
            };
            match action {
                0..=2 => tracker.handle(&Event::Opened(opened), now),
                3 => tracker.handle(&Event::Closed { socket, at: now, counters, process: None }, now),
                4 => tracker.handle(&Event::Counted { socket, counters }, now),
                5 => tracker.tick(now),
                6 => {
                    for row in tracker.conn_stats(now) {
                        let known = before.iter_mut().find(|known| known.0 == row.upid);
                        if let Some(known) = known {
                            prop_assert!(known.1 <= row.bytes_sent && known.2 <= row.bytes_received);
                            (known.1, known.2) = (row.bytes_sent, row.bytes_received);
                        } else {
                            before.push((row.upid, row.bytes_sent, row.bytes_received));
                        }
                        prop_assert_eq!(row.conn_active, row.conn_open - row.conn_close);
                    }
                }
                _ => tracker.handle(&Event::Transfer(transfer), now),
            }
            prop_assert!(tracker.buffered_bytes() <= limits.buffered_bytes_max);
            prop_assert!(tracker.open_sockets().count() <= limits.connections_max);
            while tracker.poll().is_some() {}
        }
        now = MonoNs(now.0 + 10_000_000_000);
        tracker.tick(now);
    }
}

#[test]
fn the_cases_of_the_parsers_give_the_same_records_as_socket_events_cut_and_reordered() {
    let runner = std::cell::RefCell::new(proptest::test_runner::TestRunner::deterministic());
    let arms = (Cuts::any(), Cuts::any(), Delays::any());
    golden::run("protocols/http", |case| {
        case.uses("records.txt");
        let script = Script::parse(&case.input("events.txt")?)?;
        // In the middle of a stream the first head is only looked for where a call begins; a tick says when a wait ends.
        if script.start == Start::Midstream || script.steps.iter().any(|step| step.action == Action::Tick) {
            return Ok(());
        }
        let expected = read(&script).records;
        for _ in 0..8 {
            let (calls, chunks, delays) = arms.new_tree(&mut runner.borrow_mut()).map_err(|reason| anyhow::anyhow!("{reason}"))?.current();
            let events = events(&cut_calls(&script, &calls), socket(1), u32::MAX - 40, 5);
            let events = cut_chunks(&events, &chunks);
            // What is lost shows by what follows it in time: an order of its own would tell another story.
            let lossless = script.steps.iter().all(|step| !matches!(step.action, Action::Gap { .. }));
            let events = if lossless { delays.apply(&events) } else { events };
            anyhow::ensure!(
                track(&events).0 == expected,
                "records differ with {calls:?} {chunks:?} {delays:?}:\n{:#?}\n{expected:#?}",
                track(&events).0
            );
        }
        Ok(())
    });
}
