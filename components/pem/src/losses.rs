//! What was lost since the last look, in words.

use collectors::{Counter, Losses};
use conntrack::Metrics;
use std::fmt::Write as _;

/// Compares counters with those of the last look.
#[derive(Debug, Default)]
pub(crate) struct LossReport {
    losses: Losses,
    metrics: Metrics,
}

/// Something was lost.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// For people: how much of what.
    pub(crate) text: String,
    /// JSON object of all counters that grew, with how much.
    pub(crate) context: String,
}

/// Counters that mean that rows are missing or wrong; the others tell what is never captured.
const ROWS_ARE_LOST: [(Counter, &str); 3] = [
    (Counter::RingLostRecords, "events lost because the ring was full"),
    (Counter::MapFull, "sockets or processes that did not fit a map lost"),
    (Counter::MessagesUnplaced, "messages of sendmmsg or recvmmsg lost"),
];

impl LossReport {
    /// What was lost since the last call; `None` if nothing was.
    pub(crate) fn update(&mut self, losses: &Losses, metrics: &Metrics) -> Option<Loss> {
        let before = std::mem::replace(&mut self.losses, *losses);
        let metrics_before = std::mem::replace(&mut self.metrics, *metrics);
        let mut text = String::new();
        for (counter, words) in ROWS_ARE_LOST {
            push(&mut text, losses.get(counter).saturating_sub(before.get(counter)), words);
        }
        push(
            &mut text,
            metrics.connections_evicted.saturating_sub(metrics_before.connections_evicted),
            "connections lost because there were too many",
        );
        push(
            &mut text,
            metrics.buffers_evicted.saturating_sub(metrics_before.buffers_evicted),
            "unfinished messages lost because there was too much",
        );
        if text.is_empty() {
            return None;
        }
        let mut context = serde_json::Map::new();
        for ((counter, now), (_, before)) in losses.iter().zip(before.iter()) {
            if now > before {
                context.insert(format!("{counter:?}"), (now - before).into());
            }
        }
        for ((name, now), (_, before)) in metrics.iter().zip(metrics_before.iter()) {
            if now > before {
                context.insert(name.to_owned(), (now - before).into());
            }
        }
        Some(Loss { text, context: serde_json::Value::Object(context).to_string() })
    }
}

fn push(text: &mut String, count: u64, words: &str) {
    if count > 0 {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{count} {words}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_grew_is_told() {
        let mut report = LossReport::default();
        assert_eq!(report.update(&Losses::default(), &Metrics::default()), None);
        let metrics = Metrics { buffers_evicted: 2, events: 9, ..Metrics::default() };
        let loss = report.update(&Losses::default(), &metrics).unwrap();
        insta::assert_snapshot!(loss.text, @"2 unfinished messages lost because there was too much");
        insta::assert_snapshot!(loss.context, @r#"{"events":9,"buffers_evicted":2}"#);
        assert_eq!(report.update(&Losses::default(), &metrics), None);
    }
}
