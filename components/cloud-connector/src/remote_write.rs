//! Metrics in Prometheus' text as a remote-write message. Pure. Reference: vizier.md, section 3.1; the text format's own description.

use std::collections::BTreeMap;

use api::prometheus::{Label, Sample, TimeSeries, WriteRequest};

/// Series of one text; further ones are left out.
pub(crate) const SERIES_MAX: usize = 10_000;

/// Label under which a series has its name.
const NAME: &str = "__name__";

/// The series of a text, each with these labels too, at this time in milliseconds where the text says none. A line that is none is left out.
pub fn write_request(text: &str, labels: &[(&str, &str)], now_ms: i64) -> WriteRequest {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    WriteRequest { timeseries: lines.filter_map(|line| series(line, labels, now_ms)).take(SERIES_MAX).collect() }
}

/// `name{label="value",…} value [time]`. An exemplar of OpenMetrics behind ` # ` is left out.
fn series(line: &str, extra: &[(&str, &str)], now_ms: i64) -> Option<TimeSeries> {
    let end = line.find(['{', ' ', '\t'])?;
    let (name, rest) = line.split_at(end);
    let mut labels = BTreeMap::from([(NAME.to_owned(), name.to_owned())]);
    let rest = match rest.strip_prefix('{') {
        Some(inside) => own_labels(inside, &mut labels)?,
        None => rest,
    };
    // Ours win: which cluster it is, nobody inside decides.
    labels.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let mut words = rest.split_whitespace();
    let value = number(words.next()?)?;
    let timestamp = match words.next() {
        None | Some("#") => now_ms,
        Some(time) => milliseconds(time)?,
    };
    let labels = labels.into_iter().map(|(name, value)| Label { name, value }).collect();
    Some(TimeSeries { labels, samples: vec![Sample { value, timestamp }] })
}

/// Reads up to the closing brace; what follows it.
fn own_labels<'a>(mut text: &'a str, labels: &mut BTreeMap<String, String>) -> Option<&'a str> {
    loop {
        text = text.trim_start_matches([' ', ',']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some(rest);
        }
        let (name, rest) = text.split_once('=')?;
        let (value, rest) = quoted(rest.trim_start().strip_prefix('"')?)?;
        labels.insert(name.trim().to_owned(), value);
        text = rest;
    }
}

/// Reads up to the closing quotation mark; what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        text => text.parse().ok(),
    }
}

/// Prometheus' text has milliseconds, OpenMetrics' seconds with a fraction.
fn milliseconds(text: &str) -> Option<i64> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole);
    }
    text.parse::<f64>().ok().filter(|seconds| seconds.is_finite()).map(|seconds| (seconds * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(text: &str) -> Vec<String> {
        let tell = |series: TimeSeries| {
            let labels: Vec<String> = series.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
            format!("{} {} {}", labels.join(","), series.samples[0].value, series.samples[0].timestamp)
        };
        write_request(text, &[("cluster_id", "c")], 5).timeseries.into_iter().map(tell).collect()
    }

    #[test]
    fn series_keep_their_labels_and_get_ours() {
        let text = "# HELP a b\na 1\nb{x=\"1\",y=\"q\\\"\\n\"} +Inf 77\n c{cluster_id=\"forged\"} 2.5 # {t=\"1\"} 1\nd{} 1 1.5\n";
        assert_eq!(
            told(text),
            [
                "__name__=a,cluster_id=c 1 5",
                "__name__=b,cluster_id=c,x=1,y=q\"\n inf 77",
                "__name__=c,cluster_id=c 2.5 5",
                "__name__=d,cluster_id=c 1 1500"
            ]
        );
    }

    #[test]
    fn lines_that_are_none_are_left_out() {
        assert_eq!(told("a\nb{x=1} 1\nc{x=\"1 1\nd x\n{} \n"), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_labels_are_sorted(text in "[a-z{}=\"\\\\ ,#0-9\n]{0,200}") {
            for series in write_request(&text, &[("pod_name", "p")], 1).timeseries {
                prop_assert!(series.labels.is_sorted_by(|a, b| a.name < b.name));
            }
        }
    }
}
