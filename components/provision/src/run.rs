use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use rpc::Part;
use service::Shell;

use crate::{Args, Error};

/// The key of the tokens: `--jwt-signing-key-file` of every part.
pub const SIGNING_KEY_FILE: &str = "jwt-signing-key";
/// Keys of clients: `--direct-keys-file` of the query broker.
pub const API_KEYS_FILE: &str = "api-keys";

/// Makes what is missing, and says what there is: a line for each file or pair.
///
/// # Errors
/// See [`Error`].
pub async fn run(args: Args, _shell: Shell) -> Result<(), Error> {
    let more = args.namespace.as_deref().map(rpc::kubernetes_names).unwrap_or_default();
    let parts: Vec<_> =
        args.parts.into_iter().map(|part| Part { names: part.names.into_iter().chain(more.iter().cloned()).collect(), ..part }).collect();
    let mut lines = String::new();
    let mut tell = |what: &str, path: &Path, made: bool| {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{} {what} {}", if made { "made" } else { "kept" }, path.display());
    };
    for (part, files) in parts.iter().zip(rpc::provision(&args.dir, &parts, SystemTime::now())?) {
        tell(&part.name, &files.certificate, files.made);
    }
    let signing_key = args.dir.join(SIGNING_KEY_FILE);
    let made = secret(&signing_key, || Ok(auth::new_signing_key()?.expose().to_owned()))?;
    tell("signing-key", &signing_key, made);
    let api_keys = args.dir.join(API_KEYS_FILE);
    let made = secret(&api_keys, || Ok(auth::new_api_key()))?;
    tell("api-keys", &api_keys, made);
    std::io::stdout().write_all(lines.as_bytes()).map_err(Error::Output)
}

/// True if the file was made.
fn secret(path: &Path, new: impl FnOnce() -> Result<String, Error>) -> Result<bool, Error> {
    if path.exists() {
        return Ok(false);
    }
    rpc::write_secret(path, &format!("{}\n", new()?))?;
    Ok(true)
}
