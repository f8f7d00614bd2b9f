use std::io;
use std::path::PathBuf;

/// Why there is no key to sign with, or no list of keys. That somebody is refused is a [`crate::Refusal`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a file nor a key was given.
    #[error("no key to sign tokens with: --jwt-signing-key-file names one")]
    NoKey,
    /// Too short to be safe.
    #[error("the key to sign tokens with has {bytes} bytes, and at least {bytes_min} are needed")]
    ShortKey {
        /// Its length.
        bytes: usize,
        /// The least.
        bytes_min: usize,
    },
    /// The system gives no random bytes for a key.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of keys holds something else.
    #[error("{}:{line}: neither a key (px-api-…) nor the hash of one (sha256:…)", path.display())]
    ApiKey {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
    },
}
