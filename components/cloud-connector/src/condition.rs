//! How this Vizier is, as its heartbeats tell it. Pure: time is an argument. Reference: vizier.md, section 3.2.

use std::time::Duration;

use api::cvmsgspb::{VizierHeartbeat, VizierStatus};
use api::uuidpb;
use ids::UnixNs;

use crate::identity::Identity;

/// An answer of the broker that is older says nothing about now.
pub const HEALTH_AGE_MAX: Duration = Duration::from_secs(10);

/// What the broker last said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Scripts are answered, and what is not captured all the same (empty: all is); or why they are not.
    pub result: Result<String, String>,
    /// When, from the process's start.
    pub at: Duration,
}

/// Agents that the metadata service knows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Agents {
    /// Nodes with an agent.
    pub nodes: i32,
    /// Nodes whose agent is heard.
    pub instrumented_nodes: i32,
}

/// All that heartbeats tell.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What the broker said last.
    pub broker: Option<Answered>,
    /// The agents, as they were when metadata was last asked.
    pub agents: Agents,
    /// The bus carries nothing, and why.
    pub bus_down: Option<String>,
}

/// Where this Vizier stands at `now`, and why.
///
/// Without Kubernetes there is no operator to miss: unlike the original, a Vizier whose scripts are answered is healthy then.
pub fn standing(condition: &Condition, now: Duration) -> (VizierStatus, String) {
    if let Some(reason) = &condition.bus_down {
        return (VizierStatus::VzStUnhealthy, format!("the cloud connector is not connected to the bus: {reason}"));
    }
    match &condition.broker {
        Some(answered) if now.saturating_sub(answered.at) > HEALTH_AGE_MAX => {
            (VizierStatus::VzStUnknown, "the query broker does not say how it is".to_owned())
        }
        None => (VizierStatus::VzStUnknown, "the query broker has not said yet how it is".to_owned()),
        Some(Answered { result: Ok(why), .. }) if why.is_empty() => (VizierStatus::VzStHealthy, String::new()),
        // Without an agent that captures it takes scripts as before.
        Some(Answered { result: Ok(why), .. }) => (VizierStatus::VzStDegraded, why.clone()),
        Some(Answered { result: Err(reason), .. }) => (VizierStatus::VzStUnhealthy, reason.clone()),
    }
}

/// The next heartbeat.
pub(crate) fn heartbeat(identity: &Identity, condition: &Condition, sequence: i64, (now, wall): (Duration, UnixNs)) -> VizierHeartbeat {
    let (status, status_message) = standing(condition, now);
    VizierHeartbeat {
        vizier_id: Some(wire_id(identity)),
        time: wall.0,
        sequence_number: sequence,
        status: status as i32,
        status_message,
        num_nodes: condition.agents.nodes,
        num_instrumented_nodes: condition.agents.instrumented_nodes,
        // Nobody here could change the version.
        disable_auto_update: true,
        ..Default::default()
    }
}

pub(crate) fn wire_id(identity: &Identity) -> uuidpb::Uuid {
    let (high_bits, low_bits) = identity.id.to_halves();
    uuidpb::Uuid { high_bits, low_bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn a_vizier_is_as_its_broker_said_within_ten_seconds() {
        let mut condition = Condition::default();
        assert_eq!(standing(&condition, at(0)).0, VizierStatus::VzStUnknown);
        condition.broker = Some(Answered { result: Ok(String::new()), at: at(5) });
        assert_eq!(standing(&condition, at(15)), (VizierStatus::VzStHealthy, String::new()));
        let off = "no agent captures anything: every collector is off";
        condition.broker = Some(Answered { result: Ok(off.to_owned()), at: at(5) });
        assert_eq!(standing(&condition, at(15)), (VizierStatus::VzStDegraded, off.to_owned()));
        assert_eq!(standing(&condition, at(16)).0, VizierStatus::VzStUnknown);
        condition.broker = Some(Answered { result: Err("no agents".to_owned()), at: at(16) });
        assert_eq!(standing(&condition, at(17)), (VizierStatus::VzStUnhealthy, "no agents".to_owned()));
    }

    #[test]
    fn without_a_bus_no_script_arrives_whatever_the_broker_says() {
        let broker = Some(Answered { result: Ok(String::new()), at: at(0) });
        let condition = Condition { broker, bus_down: Some("gone".to_owned()), ..Condition::default() };
        assert_eq!(standing(&condition, at(1)).0, VizierStatus::VzStUnhealthy);
    }
}
