//! Row batches as JWE in compact serialisation (RFC 7516): RSA-OAEP-256, A256GCM, and DEF where asked for.

use std::io::Write as _;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use api::vizierpb::execute_script_request::EncryptionOptions;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use rand::RngCore as _;
use rand::rngs::OsRng;
use rsa::sha2::Sha256;
use rsa::{Oaep, RsaPublicKey};

use crate::jwk;

const KEY_ALGORITHM: &str = "RSA-OAEP-256";
const CONTENT_ALGORITHM: &str = "A256GCM";
const COMPRESSION_ALGORITHM: &str = "DEF";
const CONTENT_KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// What encrypts the rows of one query.
pub(crate) struct Sealer {
    key: RsaPublicKey,
    compress: bool,
    /// The protected header, base64url: the same for every batch.
    header: String,
}

impl Sealer {
    /// The error says which option is wrong.
    pub(crate) fn new(options: &EncryptionOptions) -> Result<Sealer, String> {
        let wrong = |what: &str, found: &str, wanted: &str| format!("{what} `{found}` is not supported, only {wanted} is");
        if options.key_alg != KEY_ALGORITHM {
            return Err(wrong("key_alg", &options.key_alg, KEY_ALGORITHM));
        }
        if options.content_alg != CONTENT_ALGORITHM {
            return Err(wrong("content_alg", &options.content_alg, CONTENT_ALGORITHM));
        }
        let compress = match options.compression_alg.as_str() {
            "" => false,
            COMPRESSION_ALGORITHM => true,
            other => return Err(wrong("compression_alg", other, COMPRESSION_ALGORITHM)),
        };
        let zip = if compress { r#","zip":"DEF""# } else { "" };
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{KEY_ALGORITHM}","enc":"{CONTENT_ALGORITHM}"{zip}}}"#));
        Ok(Sealer { key: jwk::parse(&options.jwk_key)?, compress, header })
    }

    /// `plain` in five parts: header, encrypted key, nonce, ciphertext, tag.
    pub(crate) fn seal(&self, plain: Vec<u8>) -> Result<Vec<u8>, String> {
        let plain = if self.compress { deflate(&plain)? } else { plain };
        let mut content_key = [0; CONTENT_KEY_BYTES];
        let mut nonce = [0; NONCE_BYTES];
        OsRng.fill_bytes(&mut content_key);
        OsRng.fill_bytes(&mut nonce);
        let sealed_key =
            self.key.encrypt(&mut OsRng, Oaep::new::<Sha256>(), &content_key).map_err(|e| format!("cannot encrypt a key: {e}"))?;
        let cipher = Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(&content_key));
        let payload = Payload { msg: &plain, aad: self.header.as_bytes() };
        let sealed = cipher.encrypt(Nonce::from_slice(&nonce), payload).map_err(|_| "cannot encrypt rows".to_owned())?;
        let (text, tag) = sealed.split_at(sealed.len() - TAG_BYTES);
        let parts = [&sealed_key[..], &nonce, text, tag].map(|part| URL_SAFE_NO_PAD.encode(part));
        Ok(format!("{}.{}", self.header, parts.join(".")).into_bytes())
    }
}

fn deflate(plain: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain).and_then(|()| encoder.finish()).map_err(|error| format!("cannot compress rows: {error}"))
}
