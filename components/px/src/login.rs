//! `px auth`, and what it keeps. Reference: cli-ui.md, sections 1.1 and 1.2.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::{Access, Address, CLOUD_PORT, Cloud, Credentials};
use ids::OrgId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::session::authority;
use crate::{Error, Terminal};

/// Within the config folder.
const FILE: &str = "auth.json";

/// What is kept from one command to the next.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) token: String,
    /// Seconds since the Unix epoch.
    #[serde(rename = "expiresAt", default)]
    expires_at: i64,
    #[serde(rename = "orgName", default)]
    org_name: String,
    #[serde(rename = "orgID", default)]
    org_id: String,
    /// Who gave the token. Ours: the original has one control plane.
    #[serde(rename = "cloudAddr", default)]
    pub(crate) cloud_addr: Option<String>,
}

/// Of a token's claims, the one that is read.
#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "OrgID")]
    org: String,
}

pub(crate) async fn login(args: &Args, terminal: &mut Terminal) -> Result<ExitCode, Error> {
    let text = args.cloud_addr.clone().ok_or(Error::NoCloud)?;
    let key = args.api_key.as_deref().ok_or(Error::NoApiKey)?;
    let address = Address::parse(&text, CLOUD_PORT)?;
    let failed = |source| Error::Cloud { address: address.to_string(), source };
    let access = |credentials| Ok::<_, Error>(Access { authority: authority(args, &address)?, credentials });
    let cloud = Cloud::connect(&address, &access(Credentials::None)?).await.map_err(failed)?;
    let answer = cloud.login(key).await.map_err(failed)?;
    let org = org(&answer.token).ok_or_else(|| Error::Token { address: address.to_string() })?;
    let cloud = Cloud::connect(&address, &access(Credentials::Token(answer.token.clone()))?).await.map_err(failed)?;
    let org_name = cloud.org(org).await.map_err(failed)?.org_name;
    let kept = Kept {
        token: answer.token,
        expires_at: answer.expires_at,
        org_name: org_name.clone(),
        org_id: org.to_string(),
        cloud_addr: Some(text),
    };
    let path = keep(&folder(args).ok_or(Error::NoHome)?, &kept)?;
    writeln!(terminal.stdout, "Logged in at {address} for organisation {org_name}. The token is in {}.", path.display())
        .map_err(Error::output)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn logout(args: &Args, terminal: &mut Terminal) -> Result<ExitCode, Error> {
    let path = folder(args).ok_or(Error::NoHome)?.join(FILE);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(Error::File { action: "remove", path, source }),
        Ok(()) | Err(_) => {
            writeln!(terminal.stdout, "Logged out.").map_err(Error::output)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What an earlier login has kept, while its token is valid.
pub(crate) fn kept(args: &Args) -> Result<Option<Kept>, Error> {
    let Some(path) = folder(args).map(|folder| folder.join(FILE)) else { return Ok(None) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::File { action: "read", path, source }),
    };
    let kept: Kept = serde_json::from_str(&text).map_err(|source| Error::File { action: "understand", path, source: source.into() })?;
    Ok(Some(kept).filter(|kept| kept.expires_at == 0 || kept.expires_at > Timestamp::now().as_second()))
}

fn folder(args: &Args) -> Option<PathBuf> {
    args.config_dir.clone().or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".pixie")))
}

/// The token is its owner's alone.
fn keep(folder: &Path, kept: &Kept) -> Result<PathBuf, Error> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { action, path, source }
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("make the folder", folder))?;
    let (path, fresh) = (folder.join(FILE), folder.join("auth.json.new"));
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh).map_err(failed("create", &fresh))?;
    let text = serde_json::to_string_pretty(kept).unwrap_or_default();
    writeln!(file, "{text}").map_err(failed("write", &fresh))?;
    std::fs::rename(&fresh, &path).map_err(failed("replace", &path))?;
    Ok(path)
}

/// Whose token it is. Only who gave it can verify it.
fn org(token: &str) -> Option<OrgId> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok()?.org.parse().ok()
}
