use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use crate::Error;

/// Where clients of the control plane's API, and of a Vizier that serves it, show their key.
pub const API_KEY_HEADER: &str = "pixie-api-key";
/// Where clients show it that call a Vizier directly.
pub const DIRECT_KEY_HEADER: &str = "x-direct-vizier-key";

const KEY_PREFIX: &str = "px-api-";
const HASH_PREFIX: &str = "sha256:";

type Hash = [u8; SHA256_OUTPUT_LEN];

/// A new API key: `px-api-` and a UUID of 122 random bits.
pub fn new_api_key() -> String {
    format!("{KEY_PREFIX}{}", Uuid::new_v4())
}

/// The API keys that a file lists: a line has a key, or `sha256:` and its hash in hexadecimal; `#` begins a comment. Clones are the same.
///
/// The file is read again when it has changed. One that is gone or wrong then admits nobody, and the log says so.
#[derive(Clone)]
pub struct ApiKeys {
    path: Arc<Path>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    hashes: Vec<Hash>,
    version: Option<Version>,
}

/// What changes when a file does: device, file, size, time of change in seconds and nanoseconds.
type Version = (u64, u64, u64, i64, i64);

/// The keys are not shown.
impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ApiKeys {
    /// Those of a file.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let known = read(path)?;
        Ok(Self { path: path.into(), known: Arc::new(Mutex::new(known)) })
    }

    /// Whether a key is among them.
    pub fn admit(&self, key: &str) -> bool {
        let shown = hash(key);
        let mut known = self.known.lock();
        self.refresh(&mut known);
        // Every one is looked at, so that the time tells nothing.
        known.hashes.iter().fold(false, |found, known| found | equal(known, &shown))
    }

    /// Whether a call shows one of them, in either of the two headers.
    pub fn admit_call(&self, headers: &MetadataMap) -> bool {
        [API_KEY_HEADER, DIRECT_KEY_HEADER]
            .iter()
            .any(|name| headers.get(*name).and_then(|value| value.to_str().ok()).is_some_and(|key| self.admit(key)))
    }

    fn refresh(&self, known: &mut Known) {
        let seen = std::fs::metadata(&self.path).ok().map(|metadata| version(&metadata));
        if seen.is_some() && seen == known.version {
            return;
        }
        let had_any = known.version.is_some();
        *known = match read(&self.path) {
            Ok(read) => {
                tracing::info!(path = %self.path.display(), keys = read.hashes.len(), "the API keys were read again");
                read
            }
            Err(error) => {
                // Once, and not with each call.
                if had_any {
                    tracing::error!(%error, "the API keys cannot be read again: nobody is admitted by one");
                }
                Known::default()
            }
        };
    }
}

fn read(path: &Path) -> Result<Known, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    // The version first: what changes while we read is read again.
    let version = version(&std::fs::metadata(path).map_err(failed)?);
    let text = std::fs::read_to_string(path).map_err(failed)?;
    Ok(Known { hashes: parse(&text).map_err(|line| Error::ApiKey { path: PathBuf::from(path), line })?, version: Some(version) })
}

fn version(metadata: &Metadata) -> Version {
    (metadata.dev(), metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec())
}

/// The hashes, or the number of the line that is none.
fn parse(text: &str) -> Result<Vec<Hash>, usize> {
    let meant = |line: &'_ str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let lines = text.lines().map(meant).enumerate().filter(|(_, line)| !line.is_empty());
    lines
        .map(|(index, line)| {
            let found = match line.strip_prefix(HASH_PREFIX) {
                Some(digits) => unhex(digits),
                None => line.starts_with(KEY_PREFIX).then(|| hash(&line)),
            };
            found.ok_or(index + 1)
        })
        .collect()
}

fn hash(key: &str) -> Hash {
    let mut bytes = [0; SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    bytes
}

fn unhex(digits: &str) -> Option<Hash> {
    let mut bytes = [0; SHA256_OUTPUT_LEN];
    if digits.len() != 2 * bytes.len() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// In a time that does not depend on where they differ.
fn equal(one: &Hash, other: &Hash) -> bool {
    one.iter().zip(other).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_hashes_are_read_and_everything_else_is_named_by_its_line() {
        let hex = hash("px-api-1").iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let read = parse(&format!("# people\npx-api-1 # ann\n\nsha256:{hex}\n")).unwrap();
        assert_eq!(read, vec![hash("px-api-1"), hash("px-api-1")]);
        assert_eq!(parse("px-api-1\nhunter2\n"), Err(2));
        assert_eq!(parse("sha256:00\n"), Err(1));
        assert_eq!(parse(&format!("sha256:{}\n", "+1".repeat(32))), Err(1));
    }
}
