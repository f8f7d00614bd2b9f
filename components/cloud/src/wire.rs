//! Our values as the wire's, and back.

use api::cloudapi::{self, ClusterInfo, ClusterStatus, VizierConfig};
use api::cvmsgspb::{self, VizierHeartbeat, VizierStatus};
use api::uuidpb;
use ids::{ClusterId, KeyId, OrgId, ScriptId, UnixNs};
use prost::Message;
use prost_types::{Any, Timestamp};

use crate::life::{Said, Standing};
use crate::store::{Cluster, Script};

const NS_PER_S: i64 = 1_000_000_000;

/// What precedes the name of a message in an `Any`.
const TYPE_PREFIX: &str = "type.googleapis.com/px.cvmsgspb.";

/// A message and its name within `px.cvmsgspb`.
pub(crate) fn pack(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("{TYPE_PREFIX}{name}"), value: message.encode_to_vec() }
}

/// The message, if it is that one.
pub(crate) fn unpack<M: Message + Default>(name: &str, any: Option<&Any>) -> Result<M, String> {
    let any = any.ok_or("there is no message")?;
    // The prefix differs between senders; the name does not.
    let full = any.type_url.rsplit('/').next().unwrap_or_default();
    if full.strip_prefix("px.cvmsgspb.") != Some(name) {
        return Err(format!("a message of type `{full}` where `px.cvmsgspb.{name}` belongs"));
    }
    M::decode(any.value.as_slice()).map_err(|error| error.to_string())
}

/// Either half of an id on the wire.
pub(crate) trait Halves {
    fn halves(self) -> (u64, u64);
}

macro_rules! halves {
    ($($id:ty),*) => {
        $(impl Halves for $id {
            fn halves(self) -> (u64, u64) {
                self.to_halves()
            }
        })*
    };
}

halves!(ClusterId, KeyId, OrgId, ScriptId);

pub(crate) fn id(id: impl Halves) -> uuidpb::Uuid {
    let (high_bits, low_bits) = id.halves();
    uuidpb::Uuid { high_bits, low_bits }
}

pub(crate) fn cluster_id(id: uuidpb::Uuid) -> ClusterId {
    ClusterId::from_halves(id.high_bits, id.low_bits)
}

pub(crate) fn timestamp(time: UnixNs) -> Timestamp {
    // The remainder is below a thousand million.
    Timestamp { seconds: time.0.div_euclid(NS_PER_S), nanos: time.0.rem_euclid(NS_PER_S) as i32 }
}

/// As `px.cvmsgspb.VizierStatus` numbers it; `px.cloudapi.ClusterStatus` does the same.
pub(crate) fn standing_number(standing: Standing) -> i32 {
    let status = match standing {
        Standing::Unknown => VizierStatus::VzStUnknown,
        Standing::Healthy => VizierStatus::VzStHealthy,
        Standing::Unhealthy => VizierStatus::VzStUnhealthy,
        Standing::Disconnected => VizierStatus::VzStDisconnected,
        Standing::Updating => VizierStatus::VzStUpdating,
        Standing::Connected => VizierStatus::VzStConnected,
        Standing::UpdateFailed => VizierStatus::VzStUpdateFailed,
        Standing::Degraded => VizierStatus::VzStDegraded,
    };
    status as i32
}

/// A number that does not exist says nothing.
pub(crate) fn standing(number: i32) -> Standing {
    match VizierStatus::try_from(number).unwrap_or_default() {
        VizierStatus::VzStUnknown => Standing::Unknown,
        VizierStatus::VzStHealthy => Standing::Healthy,
        VizierStatus::VzStUnhealthy => Standing::Unhealthy,
        VizierStatus::VzStDisconnected => Standing::Disconnected,
        VizierStatus::VzStUpdating => Standing::Updating,
        VizierStatus::VzStConnected => Standing::Connected,
        VizierStatus::VzStUpdateFailed => Standing::UpdateFailed,
        VizierStatus::VzStDegraded => Standing::Degraded,
    }
}

fn cluster_status(standing: Standing) -> i32 {
    let status = match standing {
        Standing::Unknown => ClusterStatus::CsUnknown,
        Standing::Healthy => ClusterStatus::CsHealthy,
        Standing::Unhealthy => ClusterStatus::CsUnhealthy,
        Standing::Disconnected => ClusterStatus::CsDisconnected,
        Standing::Updating => ClusterStatus::CsUpdating,
        Standing::Connected => ClusterStatus::CsConnected,
        Standing::UpdateFailed => ClusterStatus::CsUpdateFailed,
        Standing::Degraded => ClusterStatus::CsDegraded,
    };
    status as i32
}

pub(crate) fn said(heartbeat: &VizierHeartbeat) -> Said {
    Said {
        standing: standing(heartbeat.status),
        message: heartbeat.status_message.clone(),
        nodes: heartbeat.num_nodes,
        instrumented_nodes: heartbeat.num_instrumented_nodes,
    }
}

pub(crate) fn cluster_info(cluster: &Cluster, now: UnixNs) -> ClusterInfo {
    let life = &cluster.life;
    let previous = life.previous(now);
    // Only what we encoded ourselves is decoded here.
    let pods = VizierHeartbeat::decode(cluster.facts.pods.as_slice()).unwrap_or_default();
    ClusterInfo {
        id: Some(id(cluster.id)),
        status: cluster_status(life.standing(now)),
        // Time since then, or -1. Reference: `GetVizierInfo`, src/cloud/vzmgr/controllers/server.go.
        last_heartbeat_ns: life.heard().map_or(-1, |heard| now.0.saturating_sub(heard.0).max(0)),
        config: Some(VizierConfig { passthrough_enabled: true }),
        cluster_uid: cluster.uid.clone(),
        cluster_name: cluster.name.clone(),
        pretty_cluster_name: cluster.name.clone(),
        cluster_version: cluster.facts.cluster_version.clone(),
        operator_version: cluster.facts.operator_version.clone(),
        vizier_version: cluster.facts.vizier_version.clone(),
        control_plane_pod_statuses: pods.pod_statuses.into_iter().map(|(name, pod)| (name, pod_status(pod))).collect(),
        unhealthy_data_plane_pod_statuses: pods
            .unhealthy_data_plane_pod_statuses
            .into_iter()
            .map(|(name, pod)| (name, pod_status(pod)))
            .collect(),
        num_nodes: life.said().nodes,
        num_instrumented_nodes: life.said().instrumented_nodes,
        status_message: life.message(now).to_owned(),
        previous_status: previous.map(|(standing, _)| cluster_status(standing)).unwrap_or_default(),
        previous_status_time: previous.map(|(_, until)| timestamp(until)),
    }
}

/// The numbers of phases and states are the same in both messages.
fn pod_status(pod: cvmsgspb::PodStatus) -> cloudapi::PodStatus {
    let event =
        |event: cvmsgspb::K8sEvent| cloudapi::K8sEvent { message: event.message, first_time: event.first_time, last_time: event.last_time };
    let container = |container: cvmsgspb::ContainerStatus| cloudapi::ContainerStatus {
        name: container.name,
        state: container.state,
        message: container.message,
        reason: container.reason,
        created_at: container.created_at,
        restart_count: container.restart_count,
    };
    cloudapi::PodStatus {
        name: pod.name,
        status: pod.status,
        status_message: pod.status_message,
        reason: pod.reason,
        containers: pod.containers.into_iter().map(container).collect(),
        created_at: pod.created_at,
        events: pod.events.into_iter().map(event).collect(),
        restart_count: pod.restart_count,
    }
}

pub(crate) fn cron_script(script: &Script) -> cvmsgspb::CronScript {
    cvmsgspb::CronScript {
        id: Some(id(script.id)),
        script: script.text.clone(),
        cron_expression: script.cron_expression.clone(),
        configs: script.configs.clone(),
        frequency_s: script.frequency_s,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standings_have_the_same_numbers_everywhere() {
        for number in 0..8 {
            assert_eq!(standing_number(standing(number)), number);
            assert_eq!(cluster_status(standing(number)), number);
        }
        assert_eq!(standing(99), Standing::Unknown);
    }

    #[test]
    fn a_message_of_another_type_is_not_taken_for_the_one_that_belongs_there() {
        let packed = pack("VizierHeartbeat", &VizierHeartbeat { sequence_number: 7, ..Default::default() });
        assert_eq!(unpack::<VizierHeartbeat>("VizierHeartbeat", Some(&packed)).unwrap().sequence_number, 7);
        let error = unpack::<VizierHeartbeat>("RegisterVizierRequest", Some(&packed)).unwrap_err();
        assert_eq!(error, "a message of type `px.cvmsgspb.VizierHeartbeat` where `px.cvmsgspb.RegisterVizierRequest` belongs");
        assert!(unpack::<VizierHeartbeat>("VizierHeartbeat", None).is_err());
    }

    #[test]
    fn a_time_before_1970_is_a_time() {
        assert_eq!(timestamp(UnixNs(-1)), Timestamp { seconds: -1, nanos: 999_999_999 });
    }
}
