//! The bus in memory, held against a model of it; and subjects, against themselves.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::vizier::messages::MetricsMessage;
use bus::{Address, Bus, Hub, Pattern, QueueLimits, Selector, Subject, Subscription, Topic};
use futures::FutureExt as _;
use ids::AgentId;
use proptest::prelude::*;

const SUBJECTS: [&str; 5] = ["a", "a.b", "a.c", "a.b.c", "b"];
const PATTERNS: [&str; 6] = ["a", "a.b", "a.*", "a.>", "*.b", ">"];
/// Which of [`SUBJECTS`] each of [`PATTERNS`] covers, by the rules in NATS' documentation, written down by hand.
const COVERED: [&[usize]; 6] = [&[0], &[1], &[1, 2], &[1, 2, 3], &[1], &[0, 1, 2, 3, 4]];
const QUEUE_MESSAGES_MAX: usize = 5;

#[derive(Debug, Clone)]
enum Step {
    Subscribe { bus: usize, pattern: usize },
    Drop { nth: usize },
    Publish { bus: usize, subject: usize },
    Read { nth: usize },
    Cut { bus: usize },
    Mend { bus: usize },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..2_usize, 0..PATTERNS.len()).prop_map(|(bus, pattern)| Step::Subscribe { bus, pattern }),
        1 => any::<usize>().prop_map(|nth| Step::Drop { nth }),
        8 => (0..2_usize, 0..SUBJECTS.len()).prop_map(|(bus, subject)| Step::Publish { bus, subject }),
        4 => any::<usize>().prop_map(|nth| Step::Read { nth }),
        1 => (0..2_usize).prop_map(|bus| Step::Cut { bus }),
        2 => (0..2_usize).prop_map(|bus| Step::Mend { bus }),
    ]
}

/// What a subscription must be like.
#[derive(Default)]
struct Model {
    bus: usize,
    pattern: usize,
    waiting: Vec<u64>,
    dropped: u64,
}

fn now<R>(future: impl Future<Output = R>) -> R {
    future.now_or_never().expect("nothing in memory waits")
}

proptest! {
    #[test]
    fn any_sequence_of_steps_on_the_bus_in_memory_equals_the_model(steps in proptest::collection::vec(any_step(), 1..120)) {
        let hub = Hub::new();
        let limits = QueueLimits { messages_max: QUEUE_MESSAGES_MAX, ..QueueLimits::default() };
        let buses: [Bus; 2] = [hub.connect_with("0", limits).unwrap(), hub.connect_with("1", limits).unwrap()];
        let mut cut = [false; 2];
        let mut real: BTreeMap<usize, Subscription<MetricsMessage>> = BTreeMap::new();
        let mut model: BTreeMap<usize, Model> = BTreeMap::new();
        let mut number = 0_u64;
        for (at, step) in steps.into_iter().enumerate() {
            let pick = |nth: usize| real.keys().nth(nth % real.len().max(1)).copied();
            match step {
                Step::Subscribe { bus, pattern } => {
                    let subscription = now(buses[bus].subscribe(Pattern::named(PATTERNS[pattern]).unwrap())).unwrap();
                    real.insert(at, subscription);
                    model.insert(at, Model { bus, pattern, ..Model::default() });
                }
                Step::Drop { nth } => if let Some(key) = pick(nth) {
                    real.remove(&key);
                    model.remove(&key);
                },
                Step::Publish { bus, subject } => {
                    number += 1;
                    let message = MetricsMessage { prom_metrics_text: number.to_string(), pod_name: String::new() };
                    let sent = now(buses[bus].publish(&Subject::named(SUBJECTS[subject]).unwrap(), &message));
                    prop_assert_eq!(sent.is_ok(), !cut[bus]);
                    for listener in model.values_mut().filter(|l| !cut[bus] && !cut[l.bus] && COVERED[l.pattern].contains(&subject)) {
                        listener.waiting.push(number);
                        if listener.waiting.len() > QUEUE_MESSAGES_MAX {
                            listener.waiting.remove(0);
                            listener.dropped += 1;
                        }
                    }
                }
                Step::Read { nth } => if let Some(key) = pick(nth) {
                    let read = real.get_mut(&key).unwrap().next().now_or_never().flatten();
                    let waiting = &mut model.get_mut(&key).unwrap().waiting;
                    let expected = (!waiting.is_empty()).then(|| waiting.remove(0).to_string());
                    prop_assert_eq!(read.map(|received| received.message.prom_metrics_text), expected);
                },
                Step::Cut { bus } => {
                    cut[bus] = true;
                    hub.cut(buses[bus].name(), bus::Reason::Lost);
                }
                Step::Mend { bus } => {
                    cut[bus] = false;
                    hub.mend(buses[bus].name());
                }
            }
            for (key, subscription) in &real {
                prop_assert_eq!(subscription.dropped(), model[key].dropped);
            }
        }
        drop(hub);
        // What waits can be read after the end; then the end is told.
        for (key, mut subscription) in real {
            let rest: Vec<String> = std::iter::from_fn(|| now(subscription.next())).map(|r| r.message.prom_metrics_text).collect();
            prop_assert_eq!(rest, model[&key].waiting.iter().map(u64::to_string).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_address_reads_back_from_its_text(address in any_address()) {
        prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
    }

    #[test]
    fn no_text_panics_and_what_is_an_address_is_a_subject(text in "\\PC{0,40}|(v2c|c2v)[.\\PC]{0,20}|(Agent|K8sUpdates)/[0-9a-f.:/-]{0,40}") {
        if let Ok(address) = text.parse::<Address>() {
            prop_assert!(Subject::<MetricsMessage>::named(&address.to_string()).is_ok());
        }
    }
}

fn any_address() -> impl Strategy<Value = Address> {
    let topic = || "[A-Za-z0-9:_-]{1,20}(\\.[A-Za-z0-9:_-]{1,20}){0,3}".prop_map(|text| Topic::new(&text).unwrap());
    prop_oneof![
        Just(Address::UpdateAgent),
        Just(Address::MissingMetadataRequests),
        Just(Address::Metrics),
        any::<[u8; 16]>().prop_map(|bytes| Address::Agent(AgentId::from_bytes(bytes))),
        Just(Address::K8sUpdates(Selector::All)),
        any::<IpAddr>().prop_map(|address| Address::K8sUpdates(Selector::Host(address))),
        topic().prop_map(Address::V2c),
        topic().prop_map(Address::C2v),
    ]
}
