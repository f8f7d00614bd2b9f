//! Figures as the tables of `docs/performance.md` have them.
#![allow(clippy::print_stdout, reason = "the figures are the benchmarks' output")]

use std::time::Duration;

/// What a figure shall be, and whether it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goal {
    text: String,
    met: Option<bool>,
}

impl Goal {
    /// There is none.
    pub fn none() -> Goal {
        Goal { text: "–".to_owned(), met: None }
    }

    /// A time that shall not be longer.
    pub fn within(limit: Duration, seen: Duration) -> Goal {
        let text =
            if limit.as_millis().is_multiple_of(1000) { format!("{} s", limit.as_secs()) } else { format!("{} ms", limit.as_millis()) };
        Goal { text: format!("≤ {text}"), met: Some(seen <= limit) }
    }

    /// Whatever the text says.
    pub fn of(text: &str, met: bool) -> Goal {
        Goal { text: text.to_owned(), met: Some(met) }
    }
}

/// The table's first lines.
pub fn head() {
    println!("| measure | goal | seen | met | how |");
    println!("|---|---|---|---|---|");
}

/// A figure.
pub fn line(measure: &str, goal: &Goal, seen: &str, how: &str) {
    let met = match goal.met {
        None => "–",
        Some(true) => "yes",
        Some(false) => "**no**",
    };
    println!("| {measure} | {} | {seen} | {met} | {how} |", goal.text);
}

/// The time that this share of all does not exceed; sorts them.
pub fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let at = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}

/// In milliseconds.
pub fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// In megabytes.
pub fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_times_that_were_seen() {
        let mut times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile(&mut times, 0.5), Duration::from_millis(50));
        assert_eq!(quantile(&mut times, 0.99), Duration::from_millis(99));
        assert_eq!(quantile(&mut times, 1.0), Duration::from_millis(100));
        assert_eq!(quantile(&mut [], 0.99), Duration::ZERO);
    }

    #[test]
    fn a_goal_is_told_in_the_unit_that_one_thinks_in() {
        let goal = Goal::within(Duration::from_millis(300), Duration::from_millis(301));
        assert_eq!((goal.text.as_str(), goal.met), ("≤ 300 ms", Some(false)));
        assert_eq!(Goal::within(Duration::from_secs(2), Duration::from_secs(2)), Goal::of("≤ 2 s", true));
    }
}
