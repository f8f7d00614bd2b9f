//! `px get viziers` and `px update vizier`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use api::cloudapi::ClusterInfo;
use ids::ClusterId;
use serde_json::json;

use crate::args::{Args, ListFormat, UpdateCommand};
use crate::session::{Session, id, status};
use crate::table_output::columns;
use crate::{Error, Terminal};

/// Columns of the table. Reference: cli-ui.md, section 1.2.
const HEADER: [&str; 8] =
    ["CLUSTER NAME", "ID", "K8S VERSION", "OPERATOR VERSION", "VIZIER VERSION", "LAST HEARTBEAT", "STATUS", "STATUS MESSAGE"];

pub(crate) async fn list(args: &Args, format: ListFormat, terminal: &mut Terminal) -> Result<ExitCode, Error> {
    let session = Session::open(args).await?;
    let clusters = session.cloud.clusters(None).await.map_err(|source| session.failed(source))?;
    match format {
        ListFormat::Table => {
            let header = HEADER.iter().map(|name| (*name).to_owned()).collect();
            let rows: Vec<Vec<String>> = std::iter::once(header).chain(clusters.iter().map(row)).collect();
            terminal.stdout.write_all(columns(&rows).as_bytes()).map_err(Error::output)?;
        }
        ListFormat::Json => {
            for cluster in &clusters {
                writeln!(terminal.stdout, "{}", object(cluster)).map_err(Error::output)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(cluster: &ClusterInfo) -> Vec<String> {
    let shown = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    vec![
        shown(&cluster.cluster_name),
        id(cluster),
        shown(&cluster.cluster_version),
        shown(&cluster.operator_version),
        shown(&cluster.vizier_version),
        ago(cluster.last_heartbeat_ns),
        status(cluster).to_owned(),
        shown(&cluster.status_message),
    ]
}

fn object(cluster: &ClusterInfo) -> serde_json::Value {
    json!({
        "clusterName": cluster.cluster_name,
        "id": id(cluster),
        "k8sVersion": cluster.cluster_version,
        "operatorVersion": cluster.operator_version,
        "vizierVersion": cluster.vizier_version,
        "lastHeartbeatNs": cluster.last_heartbeat_ns,
        "status": status(cluster),
        "statusMessage": cluster.status_message,
        "numNodes": cluster.num_nodes,
        "numInstrumentedNodes": cluster.num_instrumented_nodes,
    })
}

/// Time since the last heartbeat, in its two largest units; below zero: there was none.
fn ago(ns: i64) -> String {
    let Ok(ns) = u64::try_from(ns) else { return "never".to_owned() };
    let seconds = Duration::from_nanos(ns).as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s ago"),
        (0, 0, minutes) => format!("{minutes} min {} s ago", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min ago"),
        (days, hours, _) => format!("{days} d {hours} h ago"),
    }
}

pub(crate) async fn update(args: &Args, command: &UpdateCommand, terminal: &mut Terminal) -> Result<ExitCode, Error> {
    let UpdateCommand::Vizier { vizier_version, cluster, redeploy_etcd } = command;
    let session = Session::open(args).await?;
    let cluster = session.cluster(cluster.as_deref()).await?;
    let bits = cluster.id.unwrap_or_default();
    let cluster_id = ClusterId::from_halves(bits.high_bits, bits.low_bits);
    let begun = session.cloud.update_cluster(cluster_id, vizier_version, *redeploy_etcd).await.map_err(|source| session.failed(source))?;
    if !begun {
        return Err(Error::NotUpdated { cluster: cluster.cluster_name });
    }
    writeln!(terminal.stdout, "Cluster {} changes to version {vizier_version}.", cluster.cluster_name).map_err(Error::output)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_its_two_largest_units() {
        let told = |seconds: i64| ago(seconds * 1_000_000_000);
        assert_eq!(
            [told(0), told(59), told(61), told(3661), told(90_061)],
            ["0 s ago", "59 s ago", "1 min 1 s ago", "1 h 1 min ago", "1 d 1 h ago"]
        );
        assert_eq!(ago(-1), "never");
    }
}
