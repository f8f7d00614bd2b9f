//! `px deploy-key` and `px api-key`.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use client::{Key, KeyKind};
use ids::KeyId;
use jiff::Timestamp;
use serde_json::json;

use crate::args::{Args, KeyCommand, ListFormat};
use crate::session::Session;
use crate::table_output::columns;
use crate::{Error, Terminal};

/// What stands for a key that the server does not tell.
const HIDDEN: &str = "<hidden>";

/// Bytes that a key may have on standard input; ours have 43.
const KEY_BYTES_MAX: u64 = 1024;

pub(crate) async fn run(args: &Args, kind: KeyKind, command: &KeyCommand, terminal: &mut Terminal) -> Result<ExitCode, Error> {
    let session = Session::open(args).await?;
    let failed = |source| session.failed(source);
    let text = match command {
        KeyCommand::Create { desc, short } => {
            let key = session.cloud.create_key(kind, desc).await.map_err(failed)?;
            let secret = key.secret.as_deref().unwrap_or(HIDDEN);
            if *short { format!("{secret}\n") } else { format!("Generated {} key:\nID: {}\nKey: {secret}\n", word(kind), key.id) }
        }
        KeyCommand::List { output } => list(&session.cloud.keys(kind).await.map_err(failed)?, *output),
        KeyCommand::Get { id } => list(&[session.cloud.key(kind, parse(id)?).await.map_err(failed)?], ListFormat::Table),
        KeyCommand::Lookup { key } => {
            let mut given = key.clone().unwrap_or_default();
            if given.is_empty() {
                let stdin = |source| Error::File { action: "read", path: "<stdin>".into(), source };
                (&mut *terminal.stdin).take(KEY_BYTES_MAX).read_to_string(&mut given).map_err(stdin)?;
            }
            list(&[session.cloud.lookup_key(kind, given.trim()).await.map_err(failed)?], ListFormat::Table)
        }
        KeyCommand::Delete { id } => {
            session.cloud.delete_key(kind, parse(id)?).await.map_err(failed)?;
            format!("Successfully deleted {} key\n", word(kind))
        }
    };
    terminal.stdout.write_all(text.as_bytes()).map_err(Error::output)?;
    Ok(ExitCode::SUCCESS)
}

fn word(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Api => "API",
        KeyKind::Deploy => "deployment",
    }
}

fn parse(text: &str) -> Result<KeyId, Error> {
    text.parse().map_err(|_| Error::KeyId { text: text.to_owned() })
}

fn list(keys: &[Key], format: ListFormat) -> String {
    let created = |key: &Key| Timestamp::from_second(key.created_s).map(|time| time.to_string()).unwrap_or_default();
    match format {
        ListFormat::Table => {
            let header = ["ID", "KEY", "CREATED AT", "DESCRIPTION"].map(str::to_owned).to_vec();
            let row = |key: &Key| {
                let secret = key.secret.clone().unwrap_or_else(|| HIDDEN.to_owned());
                let description = key.description.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                vec![key.id.to_string(), secret, created(key), description]
            };
            columns(&std::iter::once(header).chain(keys.iter().map(row)).collect::<Vec<_>>())
        }
        ListFormat::Json => {
            let line = |key: &Key| {
                let object = json!({ "id": key.id.to_string(), "createdAt": created(key), "description": key.description });
                format!("{object}\n")
            };
            keys.iter().map(line).collect()
        }
    }
}
