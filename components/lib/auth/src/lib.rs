//! Who calls: signed tokens between the parts of a Vizier, and keys of its clients.
//!
//! ```text
//! Bearer ── mints a token for each call ──► authorization: bearer … ──► Guard ── verifies, once each ──► Identity in the request
//! client ── pixie-api-key: px-api-… ──────────────────────────────────► ApiKeys ── a file of them, read again when it changes
//! ```
//!
//! Tokens are JWTs with the one algorithm HS256. Time is an argument, but for the two interceptors.

mod api_keys;
mod args;
mod bearer;
mod claims;
mod error;
mod guard;
mod key;
mod refusal;
mod replays;
mod secret;

pub use api_keys::{API_KEY_HEADER, ApiKeys, DIRECT_KEY_HEADER, new_api_key};
pub use args::SigningKeyArgs;
pub use bearer::Bearer;
pub use claims::{Identity, User, Verified};
pub use error::Error;
pub use guard::{Callers, Guard, UNAUTHENTICATED};
pub use key::{SigningKey, TOKEN_BYTES_MAX, VIZIER_AUDIENCE, new_signing_key};
pub use refusal::Refusal;
pub use replays::{REPLAYS_REMEMBERED_MAX, Replays};
pub use secret::Secret;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
