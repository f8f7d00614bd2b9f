//! Records as they are kept: JSON.

use serde::{Deserialize, Serialize};

use crate::Error;

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Numbers, texts and lists: nothing that JSON could not say.
    serde_json::to_vec(value).unwrap_or_default()
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(key: &str, bytes: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Record { key: key.to_owned(), reason: error.to_string() })
}
