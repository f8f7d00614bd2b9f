use ids::{ClusterId, OrgId, ScriptId, UnixNs};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Store, failed, id_bytes, new_id, now};
use crate::Error;

/// A script that runs again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) id: ScriptId,
    /// PxL.
    pub(crate) text: String,
    pub(crate) cron_expression: String,
    /// YAML.
    pub(crate) configs: String,
    pub(crate) frequency_s: i64,
    /// Where it runs; None: everywhere.
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) changed: UnixNs,
    pub(crate) deleted: bool,
}

/// That a cluster knows a change of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) script: ScriptId,
    pub(crate) changed: UnixNs,
}

impl Store {
    pub(crate) async fn create_script(&self, org: OrgId, script: Script) -> Result<Script, Error> {
        let script = Script { id: ScriptId::from_bytes(new_id()), changed: now(), ..script };
        sqlx::query(
            "INSERT INTO cron_scripts (id, org_id, script, cron_expression, configs, frequency_s, cluster_id, changed_ns)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(script.id.to_bytes().to_vec())
        .bind(org.to_bytes().to_vec())
        .bind(&script.text)
        .bind(&script.cron_expression)
        .bind(&script.configs)
        .bind(script.frequency_s)
        .bind(script.cluster.map(|cluster| cluster.to_bytes().to_vec()))
        .bind(script.changed.0)
        .execute(&self.pool)
        .await
        .map_err(failed("keep a script"))?;
        Ok(script)
    }

    /// Another text for a script. Whether there was one.
    pub(crate) async fn update_script(&self, org: OrgId, id: ScriptId, text: &str) -> Result<bool, Error> {
        let update = sqlx::query("UPDATE cron_scripts SET script = ?, changed_ns = ? WHERE id = ? AND org_id = ? AND deleted = 0");
        let update = update.bind(text).bind(now().0).bind(id.to_bytes().to_vec()).bind(org.to_bytes().to_vec());
        Ok(update.execute(&self.pool).await.map_err(failed("change a script"))?.rows_affected() > 0)
    }

    /// Whether there was one.
    pub(crate) async fn delete_script(&self, org: OrgId, id: ScriptId) -> Result<bool, Error> {
        let update = sqlx::query("UPDATE cron_scripts SET deleted = 1, changed_ns = ? WHERE id = ? AND org_id = ? AND deleted = 0");
        let update = update.bind(now().0).bind(id.to_bytes().to_vec()).bind(org.to_bytes().to_vec());
        Ok(update.execute(&self.pool).await.map_err(failed("delete a script"))?.rows_affected() > 0)
    }

    /// All of an organisation, those that are gone included.
    pub(crate) async fn scripts(&self, org: OrgId) -> Result<Vec<Script>, Error> {
        let select = sqlx::query("SELECT * FROM cron_scripts WHERE org_id = ? ORDER BY changed_ns, id").bind(org.to_bytes().to_vec());
        select.fetch_all(&self.pool).await.map_err(failed("list scripts"))?.iter().map(script).collect()
    }

    /// What a cluster knows.
    pub(crate) async fn deliveries(&self, cluster: ClusterId) -> Result<Vec<Change>, Error> {
        let select = sqlx::query("SELECT script_id, changed_ns FROM cron_deliveries WHERE cluster_id = ?");
        let rows = select.bind(cluster.to_bytes().to_vec()).fetch_all(&self.pool).await;
        rows.map_err(failed("list what a cluster knows"))?.iter().map(change).collect()
    }

    /// A cluster knows these changes.
    pub(crate) async fn deliver(&self, cluster: ClusterId, changes: &[Change]) -> Result<(), Error> {
        let failed = failed("note what a cluster knows");
        let mut transaction = self.pool.begin().await.map_err(&failed)?;
        for change in changes {
            sqlx::query(
                "INSERT INTO cron_deliveries (cluster_id, script_id, changed_ns) VALUES (?, ?, ?)
                 ON CONFLICT (cluster_id, script_id) DO UPDATE SET changed_ns = max(changed_ns, excluded.changed_ns)",
            )
            .bind(cluster.to_bytes().to_vec())
            .bind(change.script.to_bytes().to_vec())
            .bind(change.changed.0)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        }
        transaction.commit().await.map_err(failed)
    }
}

fn change(row: &SqliteRow) -> Result<Change, Error> {
    let failed = failed("read what a cluster knows");
    let script: Vec<u8> = row.try_get("script_id").map_err(&failed)?;
    Ok(Change { script: ScriptId::from_bytes(id_bytes(&script)?), changed: UnixNs(row.try_get("changed_ns").map_err(&failed)?) })
}

fn script(row: &SqliteRow) -> Result<Script, Error> {
    let failed = failed("read a script");
    let text = |column: &str| row.try_get::<String, _>(column).map_err(&failed);
    let id: Vec<u8> = row.try_get("id").map_err(&failed)?;
    let cluster: Option<Vec<u8>> = row.try_get("cluster_id").map_err(&failed)?;
    Ok(Script {
        id: ScriptId::from_bytes(id_bytes(&id)?),
        text: text("script")?,
        cron_expression: text("cron_expression")?,
        configs: text("configs")?,
        frequency_s: row.try_get("frequency_s").map_err(&failed)?,
        cluster: cluster.map(|bytes| id_bytes(&bytes).map(ClusterId::from_bytes)).transpose()?,
        changed: UnixNs(row.try_get("changed_ns").map_err(&failed)?),
        deleted: row.try_get("deleted").map_err(&failed)?,
    })
}
