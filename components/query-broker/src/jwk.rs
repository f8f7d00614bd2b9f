//! The client's public key, as JSON Web Key (RFC 7517).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::{BigUint, RsaPublicKey};
use serde::Deserialize;

/// Smaller keys can be broken. RFC 7518 §4.3 wants at least this.
const KEY_BITS_MIN: usize = 2048;
/// Clients use 4096. Each batch costs one operation with it, so larger ones are refused.
const KEY_BITS_MAX: usize = 8192;
/// JSON text of a key. One of the largest size has 1.5 KiB.
const JWK_BYTES_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    n: Option<String>,
    e: Option<String>,
}

/// The key in that text; the error says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<RsaPublicKey, String> {
    if text.len() > JWK_BYTES_MAX {
        return Err(format!("jwk_key has {} bytes, more than {JWK_BYTES_MAX} are not accepted", text.len()));
    }
    let jwk: Jwk = serde_json::from_str(text).map_err(|error| format!("jwk_key is not a JSON web key: {error}"))?;
    if jwk.kty != "RSA" {
        return Err(format!("jwk_key is of type `{}`, only RSA is supported", jwk.kty));
    }
    let n = number("n", jwk.n.as_deref())?;
    let e = number("e", jwk.e.as_deref())?;
    let bits = n.bits();
    if !(KEY_BITS_MIN..=KEY_BITS_MAX).contains(&bits) {
        return Err(format!("jwk_key has {bits} bits, {KEY_BITS_MIN} to {KEY_BITS_MAX} are accepted"));
    }
    RsaPublicKey::new_with_max_size(n, e, KEY_BITS_MAX).map_err(|error| format!("jwk_key is not an RSA public key: {error}"))
}

fn number(name: &str, text: Option<&str>) -> Result<BigUint, String> {
    let text = text.ok_or_else(|| format!("jwk_key has no member `{name}`"))?;
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| format!("member `{name}` of jwk_key is not base64url"))?;
    Ok(BigUint::from_bytes_be(&bytes))
}
