//! Scripts that run again and again: which a cluster has, what their checksum is, what it must be told. Pure.

use ids::ClusterId;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::store::{Change, Script};

/// SHA-256.
const SUM_BYTES: usize = 32;

/// Those that a cluster runs.
pub(crate) fn of_cluster(scripts: &[Script], cluster: ClusterId) -> impl Iterator<Item = &Script> {
    scripts.iter().filter(move |script| !script.deleted && script.cluster.is_none_or(|only| only == cluster))
}

/// The same for the same scripts in any order. Reference: vizier.md, section 7.3.
pub(crate) fn checksum<'a>(scripts: impl Iterator<Item = &'a Script>) -> [u8; SUM_BYTES] {
    let mut sum: [u8; SUM_BYTES] = Sha256::digest(b"").into();
    for script in scripts {
        let one: [u8; SUM_BYTES] = Sha256::digest(json(script).as_bytes()).into();
        sum.iter_mut().zip(one).for_each(|(sum, one)| *sum ^= one);
    }
    sum
}

/// What is hashed: members in the order of the message's fields, empty ones left out.
fn json(script: &Script) -> String {
    let mut object = Map::new();
    object.insert("id".to_owned(), Value::from(script.id.to_string()));
    for (name, text) in [("script", &script.text), ("cron_expression", &script.cron_expression), ("configs", &script.configs)] {
        if !text.is_empty() {
            object.insert(name.to_owned(), Value::from(text.as_str()));
        }
    }
    if script.frequency_s != 0 {
        object.insert("frequency_s".to_owned(), Value::from(script.frequency_s));
    }
    Value::Object(object).to_string()
}

/// The changes that a cluster does not know, oldest first. Applying them to what it knows leaves none.
pub(crate) fn unknown<'a>(scripts: &'a [Script], known: &[Change], cluster: ClusterId) -> Vec<&'a Script> {
    let knows = |script: &Script| known.iter().any(|change| change.script == script.id && change.changed >= script.changed);
    let told = |script: &Script| known.iter().any(|change| change.script == script.id);
    let concerns = |script: &Script| script.cluster.is_none_or(|only| only == cluster) && (!script.deleted || told(script));
    scripts.iter().filter(|script| concerns(script) && !knows(script)).collect()
}

#[cfg(test)]
mod tests {
    use ids::{ScriptId, UnixNs};

    use super::*;

    fn here() -> ClusterId {
        ClusterId::from_halves(0, 1)
    }

    fn script(number: u64, changed: i64) -> Script {
        Script {
            id: ScriptId::from_halves(0, number),
            text: "import px".to_owned(),
            cron_expression: String::new(),
            configs: String::new(),
            frequency_s: 10,
            cluster: None,
            changed: UnixNs(changed),
            deleted: false,
        }
    }

    fn changes(scripts: &[&Script]) -> Vec<Change> {
        scripts.iter().map(|script| Change { script: script.id, changed: script.changed }).collect()
    }

    #[test]
    fn the_checksum_is_that_of_a_set() {
        let (one, two) = (script(1, 0), script(2, 0));
        assert_eq!(checksum([&one, &two].into_iter()), checksum([&two, &one].into_iter()));
        assert_ne!(checksum([&one].into_iter()), checksum([&two].into_iter()));
        assert_eq!(checksum([].into_iter()), <[u8; SUM_BYTES]>::from(Sha256::digest(b"")));
        assert_eq!(json(&one), r#"{"id":"00000000-0000-0000-0000-000000000001","script":"import px","frequency_s":10}"#);
    }

    #[test]
    fn a_cluster_is_told_what_it_does_not_know_and_nothing_after_that() {
        let scripts = [script(1, 10), script(2, 20), Script { cluster: Some(ClusterId::from_halves(0, 9)), ..script(3, 30) }];
        let unknown_first = unknown(&scripts, &[], here());
        assert_eq!(unknown_first, [&scripts[0], &scripts[1]]);
        let known = changes(&unknown_first);
        assert!(unknown(&scripts, &known, here()).is_empty());
        let changed = [script(1, 40), Script { deleted: true, ..script(2, 50) }, Script { deleted: true, ..script(4, 60) }];
        // It never knew of the fourth.
        assert_eq!(unknown(&changed, &known, here()), [&changed[0], &changed[1]]);
        assert_eq!(of_cluster(&changed, here()).count(), 1);
    }
}
