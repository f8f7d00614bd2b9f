//! The commands that read or change the database, also while `cloud serve` runs on it. Each says what it prints.

use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use ids::UnixNs;
use jiff::Timestamp;

use crate::Error;
use crate::args::{ClusterCommand, KeyCommand, OrgCommand, Owner, ScriptCommand};
use crate::store::{self, Org, Script, Store};

/// Between two columns.
const GAP: &str = "  ";

/// `cloud key`, and what it prints.
///
/// # Errors
/// There is no such key or organisation, or the database cannot be used.
pub async fn key(command: KeyCommand) -> Result<String, Error> {
    match command {
        KeyCommand::Create { kind, desc, short, owner } => {
            let (store, org) = open(&owner).await?;
            let (key, secret) = store.create_key(org.id, kind, &desc).await?;
            store.close().await;
            let secret = secret.expose();
            Ok(if short { format!("{secret}\n") } else { format!("ID: {}\nKey: {secret}\n", key.id) })
        }
        KeyCommand::List { kind, owner } => {
            let (store, org) = open(&owner).await?;
            let keys = store.keys(org.id, kind).await?;
            store.close().await;
            let rows = keys.into_iter().map(|key| vec![key.id.to_string(), key.kind.to_string(), time(key.created), key.description]);
            Ok(table(&["ID", "KIND", "CREATED AT", "DESCRIPTION"], rows))
        }
        KeyCommand::Delete { id, owner } => {
            let (store, org) = open(&owner).await?;
            let deleted = store.delete_key(org.id, None, parse("key", &id)?).await?;
            store.close().await;
            done("key", &id, deleted)
        }
    }
}

pub(crate) async fn org(command: OrgCommand) -> Result<String, Error> {
    match command {
        OrgCommand::Create { name, base } => {
            let store = Store::open(&base.state_dir).await?;
            let org = store.create_org(&name).await?;
            store.close().await;
            Ok(format!("ID: {}\n", org.id))
        }
        OrgCommand::List { base } => {
            let store = Store::open(&base.state_dir).await?;
            let orgs = store.orgs().await?;
            store.close().await;
            Ok(table(&["ID", "NAME", "CREATED AT"], orgs.into_iter().map(|org| vec![org.id.to_string(), org.name, time(org.created)])))
        }
    }
}

pub(crate) async fn cluster(command: ClusterCommand) -> Result<String, Error> {
    let ClusterCommand::List { owner } = command;
    let (store, org) = open(&owner).await?;
    let clusters = store.clusters(org.id).await?;
    store.close().await;
    let now = store::now();
    let rows = clusters.into_iter().map(|cluster| {
        let standing = format!("{:?}", cluster.life.standing(now)).to_uppercase();
        let heard = cluster.life.heard().map(time).unwrap_or_default();
        let message = cluster.life.message(now).to_owned();
        vec![cluster.id.to_string(), cluster.name, standing, cluster.facts.vizier_version, heard, message]
    });
    Ok(table(&["ID", "NAME", "STATUS", "VIZIER VERSION", "LAST HEARTBEAT", "STATUS MESSAGE"], rows))
}

pub(crate) async fn script(command: ScriptCommand) -> Result<String, Error> {
    match command {
        ScriptCommand::Create { file, frequency_s, configs, cluster, owner } => {
            let script = Script {
                id: ids::ScriptId::from_halves(0, 0),
                text: read(&file)?,
                cron_expression: String::new(),
                configs: configs.as_deref().map(read).transpose()?.unwrap_or_default(),
                frequency_s: i64::from(frequency_s),
                cluster: cluster.as_deref().map(|id| parse("cluster", id)).transpose()?,
                changed: UnixNs::default(),
                deleted: false,
            };
            let (store, org) = open(&owner).await?;
            if let (Some(id), Some(text)) = (script.cluster, &cluster) {
                store.cluster(org.id, id).await?.ok_or_else(|| Error::NoSuch { what: "cluster", id: text.clone() })?;
            }
            let script = store.create_script(org.id, script).await?;
            store.close().await;
            Ok(format!("ID: {}\n", script.id))
        }
        ScriptCommand::Update { id, file, owner } => {
            let text = read(&file)?;
            let (store, org) = open(&owner).await?;
            let updated = store.update_script(org.id, parse("script", &id)?, &text).await?;
            store.close().await;
            done("script", &id, updated)
        }
        ScriptCommand::List { owner } => {
            let (store, org) = open(&owner).await?;
            let scripts = store.scripts(org.id).await?;
            store.close().await;
            let rows = scripts.into_iter().filter(|script| !script.deleted).map(|script| {
                let cluster = script.cluster.map_or_else(|| "all".to_owned(), |cluster| cluster.to_string());
                vec![script.id.to_string(), script.frequency_s.to_string(), cluster, time(script.changed)]
            });
            Ok(table(&["ID", "FREQUENCY S", "CLUSTER", "CHANGED AT"], rows))
        }
        ScriptCommand::Delete { id, owner } => {
            let (store, org) = open(&owner).await?;
            let deleted = store.delete_script(org.id, parse("script", &id)?).await?;
            store.close().await;
            done("script", &id, deleted)
        }
    }
}

async fn open(owner: &Owner) -> Result<(Store, Org), Error> {
    let store = Store::open(&owner.base.state_dir).await?;
    let org = store.org_named(&owner.org).await?;
    Ok((store, org))
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::File { action: "read", path: path.to_owned(), source })
}

fn parse<T: FromStr>(what: &'static str, id: &str) -> Result<T, Error> {
    id.parse().map_err(|_| Error::NoSuch { what, id: id.to_owned() })
}

fn done(what: &'static str, id: &str, done: bool) -> Result<String, Error> {
    if done { Ok(String::new()) } else { Err(Error::NoSuch { what, id: id.to_owned() }) }
}

fn time(time: UnixNs) -> String {
    Timestamp::from_nanosecond(i128::from(time.0)).map(|time| format!("{time:.0}")).unwrap_or_default()
}

/// Aligned columns below their names.
fn table(names: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut all = vec![names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()];
    all.extend(rows);
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // What a cluster says of itself goes to a terminal.
            let cell: String = cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:<width$}{GAP}");
        }
        text.extend([line.trim_end(), "\n"]);
    }
    text
}
