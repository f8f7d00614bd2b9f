//! "Did you mean": the nearest of the names there are.

/// Most names in one suggestion: more is a list, not a hint.
const SUGGESTIONS_MAX: usize = 3;
/// Jaro-Winkler similarity below which a name is not what was meant.
const SIMILARITY_MIN: f64 = 0.75;

/// The existing names nearest to `name`, as a sentence; None if none is near.
pub(crate) fn did_you_mean<'a>(name: &str, existing: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut near: Vec<(f64, &str)> = existing
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    near.dedup_by(|a, b| a.1 == b.1);
    near.truncate(SUGGESTIONS_MAX);
    let (last, others) = near.split_last()?;
    let mut text = String::from("did you mean ");
    for (i, (_, other)) in others.iter().enumerate() {
        if i > 0 {
            text.push_str(", ");
        }
        text.extend(["'", other, "'"]);
    }
    if !others.is_empty() {
        text.push_str(" or ");
    }
    text.extend(["'", last.1, "'?"]);
    Some(text)
}

/// A list of names for a message: `'a', 'b'`; past [`LISTED_MAX`] only how many more.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    /// A message stays readable.
    const LISTED_MAX: usize = 30;
    let names: Vec<&str> = names.into_iter().collect();
    let mut text = names.iter().take(LISTED_MAX).map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED_MAX {
        text.extend([" and ".to_owned(), (names.len() - LISTED_MAX).to_string(), " more".to_owned()]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first_and_far_ones_not_at_all() {
        assert_eq!(did_you_mean("http_event", ["conn_stats", "http_events"]).as_deref(), Some("did you mean 'http_events'?"));
        assert_eq!(did_you_mean("latncy", ["latency", "latency_ms", "pid"]).as_deref(), Some("did you mean 'latency' or 'latency_ms'?"));
        assert_eq!(did_you_mean("zzz", ["conn_stats"]), None);
    }
}
