use ids::{ClusterId, OrgId, UnixNs};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Store, failed, id_bytes};
use crate::life::{Life, Said, Standing};
use crate::{Error, wire};

/// What a cluster says of itself beside how it is.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) vizier_version: String,
    /// Of Kubernetes.
    pub(crate) cluster_version: String,
    pub(crate) operator_version: String,
    /// An encoded heartbeat with the pods alone.
    pub(crate) pods: Vec<u8>,
}

/// A registered cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub(crate) id: ClusterId,
    pub(crate) org: OrgId,
    /// UID of the Kubernetes cluster, or what stands for it.
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) facts: Facts,
    pub(crate) life: Life,
}

impl Store {
    /// A new cluster, or new facts about one that is known.
    pub(crate) async fn put_cluster(&self, cluster: &Cluster) -> Result<(), Error> {
        let Cluster { id, org, uid, name, facts, life } = cluster;
        let said = life.said();
        let previous = life.stored_previous();
        sqlx::query(
            "INSERT INTO clusters (id, org_id, uid, name, vizier_version, cluster_version, operator_version, standing, message, heard_ns,
                previous_standing, previous_until_ns, nodes, instrumented_nodes, pods)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, vizier_version = excluded.vizier_version,
                cluster_version = excluded.cluster_version, operator_version = excluded.operator_version, standing = excluded.standing,
                message = excluded.message, heard_ns = excluded.heard_ns, previous_standing = excluded.previous_standing,
                previous_until_ns = excluded.previous_until_ns, nodes = excluded.nodes,
                instrumented_nodes = excluded.instrumented_nodes, pods = excluded.pods",
        )
        .bind(id.to_bytes().to_vec())
        .bind(org.to_bytes().to_vec())
        .bind(uid)
        .bind(name)
        .bind(&facts.vizier_version)
        .bind(&facts.cluster_version)
        .bind(&facts.operator_version)
        .bind(wire::standing_number(said.standing))
        .bind(&said.message)
        .bind(life.heard().map(|heard| heard.0))
        .bind(previous.map(|(standing, _)| wire::standing_number(standing)))
        .bind(previous.map(|(_, until)| until.0))
        .bind(said.nodes)
        .bind(said.instrumented_nodes)
        .bind(&facts.pods)
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(failed("keep a cluster"))
    }

    pub(crate) async fn cluster(&self, org: OrgId, id: ClusterId) -> Result<Option<Cluster>, Error> {
        let select = sqlx::query("SELECT * FROM clusters WHERE id = ? AND org_id = ?");
        let row = select.bind(id.to_bytes().to_vec()).bind(org.to_bytes().to_vec()).fetch_optional(&self.pool).await;
        row.map_err(failed("find a cluster"))?.as_ref().map(cluster).transpose()
    }

    pub(crate) async fn cluster_with_uid(&self, org: OrgId, uid: &str) -> Result<Option<Cluster>, Error> {
        let select = sqlx::query("SELECT * FROM clusters WHERE org_id = ? AND uid = ?");
        let row = select.bind(org.to_bytes().to_vec()).bind(uid).fetch_optional(&self.pool).await;
        row.map_err(failed("find a cluster"))?.as_ref().map(cluster).transpose()
    }

    pub(crate) async fn clusters(&self, org: OrgId) -> Result<Vec<Cluster>, Error> {
        let select = sqlx::query("SELECT * FROM clusters WHERE org_id = ? ORDER BY name").bind(org.to_bytes().to_vec());
        select.fetch_all(&self.pool).await.map_err(failed("list clusters"))?.iter().map(cluster).collect()
    }
}

fn cluster(row: &SqliteRow) -> Result<Cluster, Error> {
    let failed = failed("read a cluster");
    let text = |column: &str| row.try_get::<String, _>(column).map_err(&failed);
    let number = |column: &str| row.try_get::<i32, _>(column).map_err(&failed);
    let (id, org): (Vec<u8>, Vec<u8>) = (row.try_get("id").map_err(&failed)?, row.try_get("org_id").map_err(&failed)?);
    let heard: Option<i64> = row.try_get("heard_ns").map_err(&failed)?;
    let previous: (Option<i32>, Option<i64>) =
        (row.try_get("previous_standing").map_err(&failed)?, row.try_get("previous_until_ns").map_err(&failed)?);
    let said = Said {
        standing: wire::standing(number("standing")?),
        message: text("message")?,
        nodes: number("nodes")?,
        instrumented_nodes: number("instrumented_nodes")?,
    };
    let previous: Option<(Standing, UnixNs)> = previous.0.map(wire::standing).zip(previous.1.map(UnixNs));
    Ok(Cluster {
        id: ClusterId::from_bytes(id_bytes(&id)?),
        org: OrgId::from_bytes(id_bytes(&org)?),
        uid: text("uid")?,
        name: text("name")?,
        facts: Facts {
            vizier_version: text("vizier_version")?,
            cluster_version: text("cluster_version")?,
            operator_version: text("operator_version")?,
            pods: row.try_get("pods").map_err(&failed)?,
        },
        life: Life::restored(said, heard.map(UnixNs), previous),
    })
}
