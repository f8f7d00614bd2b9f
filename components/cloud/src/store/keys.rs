use std::fmt;

use auth::Secret;
use ids::{KeyId, OrgId, UnixNs};
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::{Store, failed, id_bytes, new_id, now};
use crate::Error;

/// What a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyKind {
    /// The public API.
    Api,
    /// Registration of clusters.
    Deploy,
}

impl KeyKind {
    /// What such a key begins with. Reference: api.md, section 8.1.
    fn prefix(self) -> &'static str {
        match self {
            KeyKind::Api => "px-api-",
            KeyKind::Deploy => "px-dep-",
        }
    }

    fn text(self) -> &'static str {
        match self {
            KeyKind::Api => "api",
            KeyKind::Deploy => "deploy",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A key without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) id: KeyId,
    pub(crate) org: OrgId,
    pub(crate) kind: KeyKind,
    pub(crate) description: String,
    pub(crate) created: UnixNs,
}

impl Store {
    /// A new key, with its secret: nobody can have that again.
    pub(crate) async fn create_key(&self, org: OrgId, kind: KeyKind, description: &str) -> Result<(Key, Secret), Error> {
        let secret = Secret::new(format!("{}{}", kind.prefix(), Uuid::new_v4()));
        let key = Key { id: KeyId::from_bytes(new_id()), org, kind, description: description.to_owned(), created: now() };
        sqlx::query("INSERT INTO keys (id, org_id, kind, sha256, description, created_ns) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(key.id.to_bytes().to_vec())
            .bind(org.to_bytes().to_vec())
            .bind(kind.text())
            .bind(hash(secret.expose()))
            .bind(description)
            .bind(key.created.0)
            .execute(&self.pool)
            .await
            .map_err(failed("keep a key"))?;
        Ok((key, secret))
    }

    /// Whose key it is, if it is one of that kind.
    pub(crate) async fn key_of_secret(&self, kind: KeyKind, secret: &str) -> Result<Option<Key>, Error> {
        if !secret.starts_with(kind.prefix()) {
            return Ok(None);
        }
        let select = sqlx::query("SELECT id, org_id, kind, description, created_ns FROM keys WHERE sha256 = ? AND kind = ?");
        let row = select.bind(hash(secret)).bind(kind.text()).fetch_optional(&self.pool).await;
        row.map_err(failed("find a key"))?.as_ref().map(key).transpose()
    }

    /// That key of any organisation: whoever asks for one of theirs compares.
    pub(crate) async fn key(&self, id: KeyId) -> Result<Option<Key>, Error> {
        let select = sqlx::query("SELECT id, org_id, kind, description, created_ns FROM keys WHERE id = ?");
        let row = select.bind(id.to_bytes().to_vec()).fetch_optional(&self.pool).await;
        row.map_err(failed("find a key"))?.as_ref().map(key).transpose()
    }

    pub(crate) async fn keys(&self, org: OrgId, kind: Option<KeyKind>) -> Result<Vec<Key>, Error> {
        let select = sqlx::query(
            "SELECT id, org_id, kind, description, created_ns FROM keys WHERE org_id = ?1 AND (?2 IS NULL OR kind = ?2) ORDER BY created_ns",
        );
        let rows = select.bind(org.to_bytes().to_vec()).bind(kind.map(KeyKind::text)).fetch_all(&self.pool).await;
        rows.map_err(failed("list keys"))?.iter().map(key).collect()
    }

    /// Whether there was one.
    pub(crate) async fn delete_key(&self, org: OrgId, kind: Option<KeyKind>, id: KeyId) -> Result<bool, Error> {
        let delete = sqlx::query("DELETE FROM keys WHERE id = ?1 AND org_id = ?2 AND (?3 IS NULL OR kind = ?3)");
        let delete = delete.bind(id.to_bytes().to_vec()).bind(org.to_bytes().to_vec()).bind(kind.map(KeyKind::text));
        Ok(delete.execute(&self.pool).await.map_err(failed("delete a key"))?.rows_affected() > 0)
    }
}

/// Keys are looked up by this. What they are made of has 122 random bits, so a slow hash would protect nothing.
fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

fn key(row: &SqliteRow) -> Result<Key, Error> {
    let failed = failed("read a key");
    let (id, org): (Vec<u8>, Vec<u8>) = (row.try_get("id").map_err(&failed)?, row.try_get("org_id").map_err(&failed)?);
    let kind: String = row.try_get("kind").map_err(&failed)?;
    Ok(Key {
        id: KeyId::from_bytes(id_bytes(&id)?),
        org: OrgId::from_bytes(id_bytes(&org)?),
        kind: if kind == KeyKind::Api.text() { KeyKind::Api } else { KeyKind::Deploy },
        description: row.try_get("description").map_err(&failed)?,
        created: UnixNs(row.try_get("created_ns").map_err(&failed)?),
    })
}
