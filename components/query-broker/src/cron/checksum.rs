//! The checksum by which broker and control plane see whether they have the same scripts. Reference: vizier.md §7.3.

use api::cvmsgspb::CronScript;
use ids::ScriptId;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

pub(crate) const SUM_BYTES: usize = 32;

/// The same for the same scripts in any order.
pub(crate) fn checksum<'a>(scripts: impl Iterator<Item = &'a CronScript>) -> [u8; SUM_BYTES] {
    let mut sum: [u8; SUM_BYTES] = Sha256::digest(b"").into();
    for script in scripts {
        let one: [u8; SUM_BYTES] = Sha256::digest(json(script).as_bytes()).into();
        sum.iter_mut().zip(one).for_each(|(sum, one)| *sum ^= one);
    }
    sum
}

pub(crate) fn script_id(script: &CronScript) -> ScriptId {
    let id = script.id.unwrap_or_default();
    ScriptId::from_halves(id.high_bits, id.low_bits)
}

/// What is hashed: members in the order of the message's fields, empty ones left out.
fn json(script: &CronScript) -> String {
    let mut object = Map::new();
    object.insert("id".to_owned(), Value::from(script_id(script).to_string()));
    for (name, text) in [("script", &script.script), ("cron_expression", &script.cron_expression), ("configs", &script.configs)] {
        if !text.is_empty() {
            object.insert(name.to_owned(), Value::from(text.as_str()));
        }
    }
    if script.frequency_s != 0 {
        object.insert("frequency_s".to_owned(), Value::from(script.frequency_s));
    }
    Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use api::uuidpb::Uuid;

    use super::*;

    fn script(number: u64) -> CronScript {
        let id = Some(Uuid { high_bits: 0, low_bits: number });
        CronScript { id, script: "import px".to_owned(), frequency_s: 10, ..Default::default() }
    }

    #[test]
    fn the_checksum_is_that_of_a_set_and_of_the_text_that_the_control_plane_hashes() {
        assert_eq!(checksum([&script(1), &script(2)].into_iter()), checksum([&script(2), &script(1)].into_iter()));
        assert_ne!(checksum([&script(1)].into_iter()), checksum([&script(2)].into_iter()));
        assert_eq!(checksum([].into_iter()), <[u8; SUM_BYTES]>::from(Sha256::digest(b"")));
        assert_eq!(json(&script(1)), r#"{"id":"00000000-0000-0000-0000-000000000001","script":"import px","frequency_s":10}"#);
    }
}
