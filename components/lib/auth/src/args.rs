use std::path::PathBuf;

use clap::Args;

use crate::{Error, Secret, SigningKey};

/// Fewer bytes could be guessed. Provisioned keys have 128: 64 random bytes in hexadecimal.
const KEY_BYTES_MIN: usize = 32;

/// The key that all parts of one Vizier share, to tell each other from strangers.
#[derive(Debug, Clone, Args)]
pub struct SigningKeyArgs {
    /// File with the key that signs the tokens between the parts of this Vizier; the same for all of them.
    #[arg(long, env = "PX_JWT_SIGNING_KEY_FILE", value_name = "FILE")]
    pub jwt_signing_key_file: Option<PathBuf>,

    /// The key itself, where there is no file. Whoever may list processes sees flags: use the variable.
    #[arg(long, env = "PX_JWT_SIGNING_KEY", value_name = "KEY", hide_env_values = true, hide_default_value = true)]
    pub jwt_signing_key: Option<Secret>,
}

impl SigningKeyArgs {
    /// The key; white space at the end of the file is none of it.
    ///
    /// # Errors
    /// None was given, it cannot be read, or it is too short.
    pub fn key(&self) -> Result<SigningKey, Error> {
        self.text().map(|text| SigningKey::new(text.expose()))
    }

    /// The key as text: what the control plane is told at registration.
    ///
    /// # Errors
    /// As [`Self::key`].
    pub fn text(&self) -> Result<Secret, Error> {
        let text = match (&self.jwt_signing_key_file, &self.jwt_signing_key) {
            (Some(path), _) => std::fs::read_to_string(path).map_err(|source| Error::File { path: path.clone(), source })?,
            (None, Some(key)) => key.expose().to_owned(),
            (None, None) => return Err(Error::NoKey),
        };
        let text = text.trim_end();
        match text.len() {
            0 => Err(Error::NoKey),
            bytes if bytes < KEY_BYTES_MIN => Err(Error::ShortKey { bytes, bytes_min: KEY_BYTES_MIN }),
            _ => Ok(Secret::new(text)),
        }
    }
}
