use ids::{OrgId, UnixNs};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Store, failed, id_bytes, new_id, now};
use crate::Error;

/// The organisation that is always there.
pub(crate) const DEFAULT_ORG: &str = "default";

/// Whom clusters and keys belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Org {
    pub(crate) id: OrgId,
    pub(crate) name: String,
    pub(crate) created: UnixNs,
}

impl Store {
    pub(super) async fn ensure_default_org(&self) -> Result<(), Error> {
        let insert = sqlx::query("INSERT INTO orgs (id, name, created_ns) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING");
        let done = insert.bind(&new_id()[..]).bind(DEFAULT_ORG).bind(now().0).execute(&self.pool).await;
        done.map(drop).map_err(failed("make the organisation that is always there"))
    }

    pub(crate) async fn create_org(&self, name: &str) -> Result<Org, Error> {
        let org = Org { id: OrgId::from_bytes(new_id()), name: name.to_owned(), created: now() };
        let insert = sqlx::query("INSERT INTO orgs (id, name, created_ns) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING");
        let done = insert.bind(&org.id.to_bytes()[..]).bind(name).bind(org.created.0).execute(&self.pool).await;
        match done.map_err(failed("make an organisation"))?.rows_affected() {
            0 => Err(Error::OrgExists { name: name.to_owned() }),
            _ => Ok(org),
        }
    }

    pub(crate) async fn orgs(&self) -> Result<Vec<Org>, Error> {
        let rows = sqlx::query("SELECT id, name, created_ns FROM orgs ORDER BY created_ns, name").fetch_all(&self.pool).await;
        rows.map_err(failed("list organisations"))?.iter().map(org).collect()
    }

    pub(crate) async fn org(&self, id: OrgId) -> Result<Option<Org>, Error> {
        let select = sqlx::query("SELECT id, name, created_ns FROM orgs WHERE id = ?").bind(id.to_bytes().to_vec());
        select.fetch_optional(&self.pool).await.map_err(failed("find an organisation"))?.as_ref().map(org).transpose()
    }

    pub(crate) async fn org_named(&self, name: &str) -> Result<Org, Error> {
        let select = sqlx::query("SELECT id, name, created_ns FROM orgs WHERE name = ?").bind(name);
        let row = select.fetch_optional(&self.pool).await.map_err(failed("find an organisation"))?;
        row.as_ref().map(org).transpose()?.ok_or_else(|| Error::NoSuchOrg { name: name.to_owned() })
    }
}

fn org(row: &SqliteRow) -> Result<Org, Error> {
    let failed = failed("read an organisation");
    let id: Vec<u8> = row.try_get("id").map_err(&failed)?;
    Ok(Org {
        id: OrgId::from_bytes(id_bytes(&id)?),
        name: row.try_get("name").map_err(&failed)?,
        created: UnixNs(row.try_get("created_ns").map_err(&failed)?),
    })
}
